"""Print results.jsonl as a table: failures first, then everything in the order of measurement."""

from __future__ import annotations

import json
import pathlib
import sys


def line(row: dict) -> str:
    rest = {k: v for k, v in row.items() if k not in ("stage", "name")}
    order = ["p50_ms", "p99_ms", "fps", "frames"]
    keys = [k for k in order if k in rest] + [k for k in rest if k not in order]
    return f"{row['stage']:9} {row['name']:62.62} " + "  ".join(f"{k}={rest[k]}" for k in keys)


file = pathlib.Path(sys.argv[1])
rows = [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []
bad = [row for row in rows if "FAILED" in row or row.get("REFUSED") or row.get("ok") is False or row.get("error")]
print(f"{len(rows)} results, {len(bad)} to look at")
for row in bad:
    print("!! " + line(row))
print()
for row in rows:
    if " kernel" not in row["name"] and " host in" not in row["name"]:
        print(line(row))
print()
for row in rows:
    if " kernel" in row["name"] or " host in" in row["name"]:
        print(line(row))
