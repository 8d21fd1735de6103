#!/usr/bin/env python3
"""One line of compare-pytorch.sh's log from the JSON file of a measurement, ours or a peer's: note.py CONFIG PRECISION ROUND
IMPLEMENTATION FILE."""
import json
import sys

config, precision, number, implementation, path = sys.argv[1:]
try:
    record = json.loads(open(path).read())
except (OSError, ValueError):
    record = {}  # the run failed; its last lines are on the terminal
resident = record["peak_resident_bytes"] / 2**20 if "peak_resident_bytes" in record else record.get("peak_rss_mb")
print(json.dumps({"config": config, "precision": precision, "round": int(number), "implementation": implementation,
                  "tokens_per_second": record.get("tokens_per_second", record.get("tokens_per_s")),
                  "resident_mib": resident}))
