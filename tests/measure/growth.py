"""Cost of one more visitor and of one more engine: processor time of each process, for every picture of a visitor.

    python -m tests.measure.growth --size 512 --seconds 8

Engines are timed stand-ins (50 ms a frame, no processor). Visitors have no camera; each takes every picture at once. A
line for each number of engines and visitors: the rate of pictures, and milliseconds of processor a second.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import psutil

from tests.rigs.audience import Phone
from tests.rigs.daemon import Daemon, free_port, wait_for

SERVICE = 0.05  # seconds that a stand-in takes for a frame
CASES = ((1, 0), (1, 1), (1, 2), (4, 0), (4, 1), (4, 4), (4, 8))  # engines, visitors
PROCESSES = ("stage", "audience", "engines")


def spent(daemon: Daemon) -> dict[str, float]:
    """Seconds of processor that each kind of process has used, and MiB of the visitors' server."""
    status = daemon.status()
    desk, audience = (psutil.Process(int(status[f"{name}_pid"])) for name in ("desk", "audience"))
    stage = psutil.Process(daemon.process.pid)
    engines = [each for each in stage.children() if each.pid not in (desk.pid, audience.pid)]
    seconds = [sum(sum(each.cpu_times()[:2]) for each in group) for group in ([stage], [audience], engines)]
    return {**dict(zip(PROCESSES, seconds, strict=True)), "memory": audience.memory_info().rss / 2**20}


async def play(daemon: Daemon, port: int, visitors: int, seconds: float) -> tuple[float, dict[str, float]]:
    """Pictures a second of all visitors, and what each kind of process used a second."""
    phones = [Phone(port) for _ in range(visitors)]
    for phone in phones:
        await phone.arrive()
    for phone in phones:
        await phone.until(lambda each: each.pictures)
    before, had = spent(daemon), sum(len(phone.pictures) for phone in phones)
    await asyncio.sleep(seconds)
    after, has = spent(daemon), sum(len(phone.pictures) for phone in phones)
    used = {name: 1000 * (after[name] - before[name]) / seconds for name in PROCESSES} | {"memory": after["memory"]}
    for phone in phones:
        await phone.send(leave=True)
        await phone.drop()
    return (has - had) / seconds, used


def measure(engines: int, cases: list[int], size: int, seconds: float) -> None:
    """Print a line for each number of visitors."""
    port = free_port()
    show = {
        "recipe": {"base": "passthrough", "pipeline": "timed_copy", "schedule": {"service": SERVICE}},
        "output": {"size": [size, size], "fps": 30}, "sinks": [], "engine": {"spare": False},
        "engines": [{"device": "cpu"}] * engines,
        "audience": {"places": 8, "seconds": 600, "parameters": ["prompt"], "port": port},
    }
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder), show) as daemon:
        daemon.wait_rendering()
        wait_for(lambda: "serving visitors" in daemon.log(), 60, "the visitors' server")
        for visitors in cases:
            rate, used = asyncio.run(play(daemon, port, visitors, seconds))
            a_second = ", ".join(f"{name} {used[name]:.0f}" for name in PROCESSES)
            print(f"{engines} engines, {visitors} visitors: {rate:.1f} pictures/s; ms CPU a second: {a_second}; "
                  f"visitors' server {used['memory']:.0f} MiB; {daemon.status().get('fps')} rendered/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each line")
    options = parser.parse_args()
    for engines in sorted({engines for engines, _ in CASES}):
        measure(engines, [visitors for each, visitors in CASES if each == engines], options.size, options.seconds)


if __name__ == "__main__":
    main()
