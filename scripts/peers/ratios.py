#!/usr/bin/env python3
"""Paired ratios from the lines that compare-pytorch.sh wrote: ours over each peer of the same round, then the median."""
import json
import statistics
import sys

rounds = {}      # (config, dtype class, round) -> {implementation: record}
for line in open(sys.argv[1]):
    r = json.loads(line)
    if r.get("tokens_per_second"):
        rounds.setdefault((r["config"], r["precision"], r["round"]), {})[r["implementation"]] = r

table = {}
for (config, precision, _), records in rounds.items():
    for peer, record in records.items():
        if peer != "switchyard" and "switchyard" in records:
            table.setdefault((config, precision, peer), []).append((records["switchyard"], record))


def median(records, key):
    return statistics.median(r[key] for r in records)


print("| config | precision | peer | ours, tokens/s | peer, tokens/s | ratio (paired, min .. max) | resident, GiB: ours, peer |")
print("| --- | --- | --- | --- | --- | --- | --- |")
for (config, precision, peer), pairs in sorted(table.items()):
    ours, theirs = zip(*pairs)
    ratios = sorted(a["tokens_per_second"] / b["tokens_per_second"] for a, b in pairs)
    print(f"| {config} | {precision} | {peer} | {median(ours, 'tokens_per_second'):.0f} "
          f"| {median(theirs, 'tokens_per_second'):.0f} "
          f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} .. {ratios[-1]:.2f}) "
          f"| {median(ours, 'resident_mib') / 1024:.2f}, {median(theirs, 'resident_mib') / 1024:.2f} |")
