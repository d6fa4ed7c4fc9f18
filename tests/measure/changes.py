"""The output while recipe, LoRA and size change: its longest gap at a receiver, and what held up the stage.

    python -m tests.measure.changes --transport ndi --fps 30 --rounds 3

A daemon plays the built-in model on the CPU. Each round waits (the control), changes the recipe, the LoRAs, and the
size. The report has the longest gap between two frames at the receiver, by what was changed, and the longest of the
stage's own ticks. With --stacks, the stage's stack is shown where a tick was late by more than 10 ms.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_THREAD, getrusage
from typing import Any

from pythonosc.udp_client import SimpleUDPClient

from lcm_daemon.core.clock import Ticker
from lcm_daemon.core.thread_priority import TICK, inherited, keep_time, prepare_timing
from lcm_daemon.stage.guard import Guard
from tests.measure.output_watch import Watch
from tests.rigs.daemon import Daemon, wait_for
from tests.rigs.network import namespace

SETTLE = 1.5  # seconds after the change is done
PART = 0.003  # seconds of processor from which a part of a tick is shown
LATE = 0.010  # seconds from which a tick's stack is shown
LORA = {"name": "other", "model": str(Path("lcm_daemon/models/builtin/loras/ink.safetensors").resolve()), "weight": 1}


def show_of(transport: str, fps: float, spare: bool) -> dict[str, Any]:
    """The show that is measured."""
    device = {"device": "cpu", "accelerate": "none"}
    return {
        "name": "changes", "recipe": {"base": "builtin", **device}, "source": {"transport": "testcard"},
        "recipes": {"four": {"base": "builtin", "parameters": {"steps": 4}, **device},
                    "lora": {"base": "builtin", "loras": [LORA], **device}},
        "output": {"size": [512, 512], "fps": fps}, "sinks": [{"transport": transport, "name": "changes"}],
        "engine": {"spare": spare},
    }


@dataclass
class Tick:
    """A late tick, or a part of one that took long: when, by how many seconds, and what the stage did."""

    at: float
    late: float
    stack: str = ""
    part: str = ""
    spent: float = 0.0
    kernel: float = 0.0


class LateTicks:
    """Notes late ticks of the stage in this process, and what its thread did in that time, into a file."""

    def __init__(self, path: Path, stacks: bool) -> None:
        self._file, self._main = path.open("w"), threading.main_thread().ident
        self._due, self._stacks = float("inf"), collections.deque[str](maxlen=8)
        self._advance = Ticker.advance
        note = self._note

        def advance(ticker: Ticker) -> float:
            late = self._advance(ticker)
            note(ticker, late)
            return late

        Ticker.advance = advance  # type: ignore[method-assign]
        self._time_parts()
        if stacks:
            threading.Thread(target=self._sample, daemon=True).start()

    def _time_parts(self) -> None:
        """Note parts of a tick that compute for more than PART; time without a processor is not counted."""
        run, file = Guard.run, self._file

        def timed(guard: Guard, part: str, function: Any, *args: Any, **kwargs: Any) -> None:
            wall, before = time.perf_counter(), getrusage(RUSAGE_THREAD)
            run(guard, part, function, *args, **kwargs)
            after = getrusage(RUSAGE_THREAD)
            kernel = after.ru_stime - before.ru_stime
            if (spent := after.ru_utime - before.ru_utime + kernel) > PART:
                note = {"at": wall, "late": 0.0, "part": part, "spent": spent, "kernel": kernel}
                file.write(json.dumps(note) + "\n")

        Guard.run = timed  # type: ignore[method-assign, assignment]

    def _note(self, ticker: Ticker, late: float) -> None:
        self._due = ticker.due
        if late > LATE / 2:
            tick = {"at": time.perf_counter(), "late": late, "stack": " | ".join(self._stacks)}
            self._file.write(json.dumps(tick) + "\n")
            self._file.flush()
        self._stacks.clear()

    def _sample(self) -> None:
        prepare_timing(True)
        keep_time(TICK)
        while True:
            time.sleep(0.004)
            if time.perf_counter() - self._due > LATE / 2 and self._main is not None:
                frames = traceback.extract_stack(sys._current_frames()[self._main])[-7:]
                self._stacks.append(" > ".join(f"{Path(one.filename).stem}.{one.name}:{one.lineno}" for one in frames))


def change(daemon: Daemon, address: str, *values: object) -> Callable[[], None]:
    """Sends a message, and returns once the change that it asks for is done."""
    def act() -> None:
        done = _done(daemon)
        SimpleUDPClient("127.0.0.1", daemon.osc_port).send_message(address, list(values))
        wait_for(lambda: _done(daemon) > done, 90, f"{address} {values}")
    return act


def _done(daemon: Daemon) -> int:
    return daemon.log().count(": playing")


def play(options: argparse.Namespace) -> None:
    show = {**show_of(options.transport, options.fps, options.spare), "real_time": not options.ordinary}
    own = ("--late", options.folder, *(["--stacks"] if options.stacks else []))
    with Measured(Path(options.folder), show, own) as daemon:
        daemon.wait_rendering(120)
        time.sleep(3.0)
        acts: Mapping[str, Callable[[], None]] = {
            "control": lambda: time.sleep(6.0), "recipe": change(daemon, "/lcm/recipe", "four"),
            "lora": change(daemon, "/lcm/recipe", "lora"), "size": change(daemon, "/lcm/size", 384, 384),
            "back": change(daemon, "/lcm/recipe", "builtin"),
        }
        spans: list[tuple[str, float, float]] = []
        prepare_timing(True)
        keep_time(TICK)
        with inherited(), Watch(options.transport, "changes") as watch:  # as on a machine of its own
            time.sleep(2.0)
            for _ in range(options.rounds):
                for what, act in acts.items():
                    begun = time.perf_counter()
                    act()
                    time.sleep(SETTLE)
                    spans.append((what, begun, time.perf_counter()))
    report(spans, watch.times, Path(options.folder) / "late.jsonl", acts, 1000 / options.fps)


def report(
    spans: list[tuple[str, float, float]], times: list[float], late: Path, acts: Mapping[str, object], interval: float
) -> None:
    """Print a line for each kind of change, then the stacks."""
    ticks = [Tick(**json.loads(line)) for line in late.read_text().splitlines()]
    print(f"interval {interval:.1f} ms, {os.getloadavg()[0]:.1f} load")
    for what in acts:
        longest, slowest, seconds = [], [], []
        for name, begun, end in spans:
            if name == what:
                seen = [one for one in times if begun - 0.2 <= one <= end]
                longest.append(1000 * max(b - a for a, b in itertools.pairwise(seen)))
                slowest.append(1000 * max([one.late for one in ticks if begun <= one.at <= end], default=0.0))
                seconds.append(end - begun)
        gaps = " ".join(f"{gap:5.1f}" for gap in longest)
        print(f"{what:8} longest gaps {gaps} ms; latest ticks {' '.join(f'{gap:5.1f}' for gap in slowest)} ms; took "
              f"{max(seconds):.1f} s")
    parts: dict[tuple[str, str], list[Tick]] = {}
    for tick in ticks:
        during = next((what for what, begun, end in spans if begun <= tick.at <= end), "")
        if tick.part and during:
            parts.setdefault((during, tick.part), []).append(tick)
    for (what, part), found in sorted(parts.items()):
        most = max(found, key=lambda one: one.spent)
        print(f"{what:8} {part}: {len(found)} times above {1000 * PART:g} ms of processor, {1000 * most.spent:.1f} at "
              f"most, of which {1000 * most.kernel:.1f} in the system")
    for tick in sorted(ticks, key=lambda one: -one.late)[:12]:
        during = next((what for what, begun, end in spans if begun <= tick.at <= end), "")
        if tick.stack:
            print(f"{1000 * tick.late:6.1f} ms ({during}): {tick.stack}")


class Measured(Daemon):
    """A daemon whose late ticks are noted."""

    def __init__(self, folder: Path, show: Mapping[str, Any], options: tuple[str, ...]) -> None:
        super().__init__(folder, show)
        self._command = [sys.executable, "-m", "tests.measure.changes", *options, str(self.show)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", default="memory", choices=("memory", "ndi"))
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--spare", action="store_true", help="keep a spare engine, as shows do by default")
    parser.add_argument("--stacks", action="store_true")
    parser.add_argument("--ordinary", action="store_true", help="without real-time scheduling of the stage")
    parser.add_argument("--late", dest="folder", help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("show", nargs="?", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.show:
        from lcm_daemon.commands.run import run

        LateTicks(Path(options.folder) / "late.jsonl", options.stacks)
        sys.exit(run(options.show))
    if options.transport == "ndi" and not options.inside:
        with namespace() as net:
            command = [sys.executable, "-m", "tests.measure.changes", *sys.argv[1:], "--inside"]
            sys.exit(net.popen(command).wait())
    with tempfile.TemporaryDirectory() as folder:
        options.folder = folder
        play(options)


if __name__ == "__main__":
    main()
