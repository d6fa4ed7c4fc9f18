"""Engines on a Ray cluster of three nodes on this machine, beside local ones: rates, and what a hand-over costs.

    python -m tests.measure.ray_engines [--seconds 5] [--client] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lcm_daemon.commands.bench_engines import EngineFigures, run_engines
from tests.rigs.ray_cluster import TOKEN, RayNodes

SIZES = ((512, 512), (1920, 1080))


def measure(seconds: float, client: bool) -> dict[str, EngineFigures]:
    """Run everything, and print a line for each."""
    found: dict[str, EngineFigures] = {}

    def run(name: str, engines: int, size: tuple[int, int], place: dict[str, Any] | None = None) -> None:
        found[name] = run_engines(engines, size, seconds, place)
        print(f"{name:28} {found[name]}", flush=True)

    os.environ["RAY_AUTH_TOKEN"] = TOKEN
    with TemporaryDirectory() as homes, RayNodes(Path(homes), client=client) as cluster:
        for name in ("b", "c"):
            cluster.add(name, 4)
        ray = {"ray": cluster.address, "device": "cpu"}
        for engines in (1, 2, 4):
            run(f"local x{engines} 512", engines, SIZES[0])
            run(f"ray x{engines} 512", engines, SIZES[0], ray)
        ways = {"local": None, "ray raw": ray, "ray jpeg": {**ray, "wire": "jpeg"}}
        if client:
            way = {**ray, "ray": cluster.client_address}
            ways |= {"client raw": way, "client jpeg": {**way, "wire": "jpeg"}}
        for way, place in ways.items():
            for size in SIZES:
                run(f"{way} {size[1]}p", 1, size, place)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--client", action="store_true", help="also through the port of Ray's client")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.seconds, options.client)
    if options.json:
        options.json.write_text(json.dumps({name: vars(run) for name, run in figures.items()}, indent=2) + "\n")
