#!/usr/bin/env python3
"""Paired ratios from the lines that compare-pytorch.sh wrote: ours over each peer of the same round, then the median."""
import json
import statistics
import sys

rounds = {}      # (config, dtype class, round) -> {implementation: tokens per second}
for line in open(sys.argv[1]):
    r = json.loads(line)
    if r.get("tokens_per_second"):
        rounds.setdefault((r["config"], r["precision"], r["round"]), {})[r["implementation"]] = r["tokens_per_second"]

table = {}
for (config, precision, _), rates in rounds.items():
    for peer, rate in rates.items():
        if peer != "switchyard" and "switchyard" in rates:
            table.setdefault((config, precision, peer), []).append((rates["switchyard"], rate))

print("| config | precision | peer | ours, tokens/s | peer, tokens/s | ratio (paired, min .. max) |")
print("| --- | --- | --- | --- | --- | --- |")
for (config, precision, peer), pairs in sorted(table.items()):
    ratios = sorted(a / b for a, b in pairs)
    print(f"| {config} | {precision} | {peer} | {statistics.median(a for a, _ in pairs):.0f} "
          f"| {statistics.median(b for _, b in pairs):.0f} "
          f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} .. {ratios[-1]:.2f}) |")
