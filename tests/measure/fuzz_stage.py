"""Random and mutated OSC packets against a whole show: `python -m tests.measure.fuzz_stage --packets 1000000`.

A real stage with its desk and its engine, in processes as always; another process sends over UDP. Printed: how late the
stage's beats were, in intervals, what the controllers counted, and how much was logged. It fails where a beat came more
than two intervals late, a packet was lost, or anything failed or was replaced. On Linux it says as well how late the
beats were beyond the time for which the stage stood ready and other programs had the processor.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.processes.bootstrap import LogLevels, set_up_logging
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.stage import Stage
from tests.measure import fuzz_osc
from tests.rigs.daemon import free_port

SHOW = """
recipe: {{base: passthrough, size: [256, 256]}}
output: {{size: [256, 256], fps: {fps}}}
source: {{transport: testcard, size: [256, 256]}}
sinks: [{{transport: memory, name: fuzz{pid}}}]
osc: {{port: {port}, profiles: [bare, streamdiffusiontd, scope],
      map: [{{from: /1/fader3, to: strength, range: [0.2, 0.9], curve: exp}}, {{from: /3/xy, to: mix, argument: 1}}]}}
panel: false
cues:
  - {{name: lava, set: {{strength: 0.9, prompt: lava}}, fade: 1, curve: smooth, delay: 0.2, follow: 0.5}}
  - {{name: ocean, set: {{strength: 0.1, prompt: ocean, seed: 7}}, fade: 2}}
modulation: [{{name: slow, to: strength, wave: walk}}, {{name: loud, to: mix, wave: follow}}]
"""
COMMANDS = ["/lcm/tap", *(f"/lcm/cue/{verb}" for verb in ("go", "back", "goto", "release", "record"))]
MORE = [
    *COMMANDS, "/lcm/next", "/lcm/recipe", "/lcm/size", "/lcm/bpm", "/lcm/quantise", "/lcm/mod/slow/rate",
    "/lcm/mod/loud/level",
]
BURST = 0.01  # seconds' worth of packets that a sender sends at once when it was kept waiting
ALLOWED = 2.0  # intervals
SCHEDULED = Path("/proc/thread-self/schedstat")


def send(port: int, packets: int, rate: float, seed: int) -> None:
    """The sender's process."""
    rng = random.Random(seed)
    fuzz_osc.ADDRESSES += MORE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        begun = time.perf_counter()
        for number in range(packets):
            packet = fuzz_osc.mutated(rng)
            left = begun + number / rate - time.perf_counter()
            time.sleep(max(left, 0.0))
            begun += max(0.0, -left - BURST)
            with contextlib.suppress(ConnectionRefusedError):  # told of an earlier packet; this one is sent again
                sock.send(packet)
                continue
            sock.send(packet)


def waited() -> float:
    """Seconds for which this thread has stood ready without a processor (Linux, proc(5)); 0 where nobody says."""
    try:
        return int(SCHEDULED.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


class Watch:
    """Notes how late every beat is while packets come, and ends the show once all have been counted."""

    def __init__(self, stage: Stage, sender: BaseProcess, packets: int) -> None:
        self.late: list[float] = []
        self.own: list[float] = []  # of that, what the stage did not stand waiting for a processor
        self._waited = 0.0
        self._stage, self._sender, self._packets = stage, sender, packets
        self._time, self._noted = stage.metrics.time, False
        stage.metrics.time = self._note  # type: ignore[method-assign]

    def _note(self, path: str, seconds: float) -> None:
        if path == "tick/late":
            before, self._waited = self._waited, waited()
            if self._noted:
                self.late.append(seconds)
                self.own.append(max(0.0, seconds - (self._waited - before)))
        self._time(path, seconds)

    def run(self, calm: float) -> None:
        """On a thread of its own. calm: seconds that the processes get to begin."""
        time.sleep(calm)
        self._noted = True
        self._sender.start()
        self._sender.join()
        end = time.perf_counter() + 10.0
        while self._stage.desk.counts.get("osc/packets", 0) < self._packets and time.perf_counter() < end:
            time.sleep(0.1)
        self._noted = False
        self._stage.stop()


@contextlib.contextmanager
def logged_to(file: Path) -> Iterator[None]:
    """What this process and its children log, in a file."""
    before = os.dup(2)
    with file.open("wb") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=10_000.0, help="packets a second")
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    port = free_port(socket.SOCK_DGRAM)
    with tempfile.TemporaryDirectory() as folder, logged_to(log := Path(folder) / "log.txt"):
        set_up_logging(LogLevels())
        file = Path(folder) / "fuzz.yaml"
        file.write_text(SHOW.format(fps=options.fps, pid=os.getpid(), port=port))
        stage = Stage(load_show(file, environment={}))
        arguments = (port, options.packets, options.rate, options.seed)
        sender = multiprocessing.get_context("spawn").Process(target=send, args=arguments)
        watch = Watch(stage, sender, options.packets)
        watcher = threading.Thread(target=watch.run, args=(4.0,), daemon=True)
        watcher.start()
        stage.run()
        text = log.read_text(errors="replace")
    return report(watch, {**stage.desk.counts, **stage.metrics.counts()}, text, options.fps)


def shown(seconds: list[float], fps: float) -> str:
    ordered = sorted(seconds)
    return ", ".join(f"{name} {fps * quantile_of(ordered, q):.2f}" for name, q in (
        ("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("most", 1.0)))


def report(watch: Watch, counts: dict[str, int], text: str, fps: float) -> int:
    late, lost = sorted(watch.late), watch._packets - counts.get("osc/packets", 0)
    failed = {path: n for path, n in counts.items() if path.endswith(("/failed", "/replaced"))}
    print(f"{watch._packets} packets, {lost} lost; {len(late)} beats of {1000 / fps:.1f} ms, late by intervals: "
          f"{shown(watch.late, fps)}; beyond what other programs took: {shown(watch.own, fps)}")
    print(f"{text.count(chr(10))} log lines, {text.count('Traceback')} tracebacks; "
          f"failed or replaced: {failed or 'none'}")
    for path in sorted(path for path in counts if path.startswith(("osc/", "desk/"))):
        print(f"  {path}: {counts[path]}")
    good = late[-1] * fps <= ALLOWED and not lost and not failed and "Traceback" not in text
    if not good:
        print(text[-4000:])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
