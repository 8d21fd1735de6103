#!/usr/bin/env bash
# Makes the quickstart's corpus in data/: the source text of Debian's kernel documentation (about 3,200 documents,
# 24 MB), every tenth document by a hash of its name held out. A second call does nothing but print the version.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
package=linux-doc-6.1
data="$root/data"
prefix="$data/$package"
version_file="$prefix.version"

is_whole=true
for part in "$version_file" "$prefix"{,-valid}.{bin,idx}; do [ -s "$part" ] || is_whole=false; done
if ! $is_whole || [ ! -d "$prefix" ]; then
  mkdir -p "$data"
  work="$(mktemp -d "$data/unpack.XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  # Slim images install packages without their documentation, so the package is fetched and unpacked, not installed.
  # apt's own user must be able to write where it downloads.
  chmod 755 "$work"
  fetch() { (cd "$work" && apt-get -o APT::Sandbox::User=root download "$package") >"$work/log" 2>&1; }
  update() { if [ "$(id -u)" -eq 0 ]; then apt-get update; else sudo apt-get update; fi >>"$work/log" 2>&1; }
  if ! fetch && ! { update && fetch; }; then
    grep -E '^(E|W):|sudo:' "$work/log" >&2 || tail -n 5 "$work/log" >&2
    die 74 "cannot fetch Debian's package $package (apt-get's reasons above); the corpus needs it once"
  fi
  archive="$(echo "$work"/*.deb)"
  dpkg-deb -x "$archive" "$work/unpacked"
  sources="$work/unpacked/usr/share/doc/$package/html/_sources"
  [ -d "$sources" ] || die 65 "$package $(dpkg-deb -f "$archive" Version) holds no html/_sources"
  rm -rf "$prefix"
  mv "$sources" "$prefix"
  "$program" data tokenize "$prefix" --output "$prefix" --tokenizer byte --held-out 10 --force
  dpkg-deb -f "$archive" Version >"$version_file.new"
  mv "$version_file.new" "$version_file"
fi
echo "corpus: $package $(cat "$version_file"), $(find "$prefix" -type f | wc -l) documents, $(du -sh --apparent-size "$prefix" | cut -f 1) of text"
