"""Rates of one, two and four engines on a Ray cluster of three nodes on this machine, beside engines of this machine.

    python -m tests.measure.ray_engines [--seconds 5] [--json FILE]

Each engine takes 50 ms a frame of 512x512 without using a processor. Prints a table in Markdown. What one frame costs
is measured by `tests.measure.ray_hand_over`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from lcm_daemon.commands.bench_engines import EngineFigures, run_engines
from tests.rigs.ray_cluster import TOKEN, RayNodes

SIZE = (512, 512)
COUNTS = (1, 2, 4)
COLUMNS = ("engines", "frames/s", "share of N times one", "spacing p95 / even", "order", "late",
           "CPU of the stage a frame, ms", "of all other processes, the cluster's included, ms")


def measure(seconds: float) -> Iterator[tuple[str, EngineFigures]]:
    """Run everything."""
    os.environ["RAY_AUTH_TOKEN"] = TOKEN
    with TemporaryDirectory() as homes, RayNodes(Path(homes)) as cluster:
        cluster.add_all({"b": 2, "c": 2})
        for name, place in (("local", {"device": "cpu"}), ("Ray", {"ray": cluster.address, "device": "cpu"})):
            for engines in COUNTS:
                yield f"{name}, {engines}", run_engines(engines, SIZE, seconds, place)


def row(name: str, run: EngineFigures, one: float) -> str:
    """A row of the table. one: Frames a second of one engine of the kind."""
    cells = (name, f"{run.rate:.1f}", f"{run.rate / (run.engines * one):.2f}", f"{run.spacing:.2f}",
             "kept" if run.is_ordered else "BROKEN", run.dropped, f"{1000 * run.stage_cpu:.1f}",
             f"{1000 * run.engine_cpu:.1f}")
    return f"| {' | '.join(map(str, cells))} |"


def main(seconds: float, file: Path | None) -> None:
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    found, one = {}, 1.0
    for name, run in measure(seconds):
        one = run.rate if run.engines == 1 else one
        found[name] = vars(run)
        print(row(name, run, one), flush=True)
    if file:
        file.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    main(options.seconds, options.json)
