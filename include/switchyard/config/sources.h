// The bytes that a config is made of: the file and everything it includes. Rank 0 reads them, all ranks parse the same
// bytes: pack() is what is broadcast. Files that cannot be read are recorded, so that all ranks fail with one message.
#pragma once

#include "switchyard/config/node.h"

namespace switchyard::config {

struct Sources {
  struct File {
    std::string path;  // as named by the user or the including file's folder
    std::string bytes;
    std::string error;  // why it could not be read; empty: it could
  };
  std::vector<File> files;  // the first is the config itself

  static Sources of_text(std::string name, std::string text) { return {{{std::move(name), std::move(text), {}}}}; }
  std::string pack() const;
  static Sources unpack(std::string_view bytes);
};

Sources::File read_source(const std::string& path);  // one file as it is; its error is recorded

// Reads `path` and its includes. Throws nothing on user errors: parsing reports them, on every rank alike.
Sources read_sources(const std::string& path);

// Merges includes, the file, then overrides ("train.steps=50"); throws Error(usage) naming file and line.
Node assemble(const Sources& sources, const std::vector<std::string>& overrides);

}  // namespace switchyard::config
