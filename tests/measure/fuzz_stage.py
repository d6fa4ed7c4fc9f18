"""Send random and mutated OSC packets to a whole show: `python -m tests.measure.fuzz_stage --packets 1000000`.

The show is a real stage with its desk and its engine in their processes; another process sends over UDP. The report has
the lateness of the stage's ticks in intervals, the controllers' counters, and the number of log lines. The run fails if
a tick was more than two intervals late, if a packet was lost, or if anything failed or was replaced. On Linux, the
report also has the lateness without the time in which the stage was ready to run and other programs had the processor.
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
BURST = 0.01  # seconds of packets that a delayed sender sends at once
MAX_LATENESS = 2.0  # intervals
SCHEDSTAT = Path("/proc/thread-self/schedstat")


def send(port: int, packets: int, rate: float, seed: int) -> None:
    """Run the sender: send packets at an even rate."""
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
            with contextlib.suppress(ConnectionRefusedError):  # it is about an earlier packet; send this one again
                sock.send(packet)
                continue
            sock.send(packet)


def runnable_wait() -> float:
    """Seconds for which this thread was ready to run but had no processor (Linux, proc(5)); 0 on other systems."""
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


class TickRecorder:
    """Records the lateness of every tick while packets arrive, and ends the show once all have been counted."""

    def __init__(self, stage: Stage, sender: BaseProcess, packets: int) -> None:
        self.late: list[float] = []
        self.own: list[float] = []  # lateness without the wait for a processor
        self._wait_before = 0.0
        self._stage, self._sender, self.packets = stage, sender, packets
        self._time, self._recording = stage.metrics.time, False
        stage.metrics.time = self._record  # type: ignore[method-assign]

    def _record(self, path: str, seconds: float) -> None:
        if path == "tick/late":
            before, self._wait_before = self._wait_before, runnable_wait()
            if self._recording:
                self.late.append(seconds)
                self.own.append(max(0.0, seconds - (self._wait_before - before)))
        self._time(path, seconds)

    def run(self, start_time: float) -> None:
        """Run in a thread. `start_time`: seconds that the processes get to start."""
        time.sleep(start_time)
        self._recording = True
        self._sender.start()
        self._sender.join()
        end = time.perf_counter() + 10.0
        while self._stage.desk.counts.get("osc/packets", 0) < self.packets and time.perf_counter() < end:
            time.sleep(0.1)
        self._recording = False
        self._stage.stop()


@contextlib.contextmanager
def logged_to(file: Path) -> Iterator[None]:
    """Write the log of this process and its children to a file."""
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
        recorder = TickRecorder(stage, sender, options.packets)
        thread = threading.Thread(target=recorder.run, args=(4.0,), daemon=True)
        thread.start()
        stage.run()
        text = log.read_text(errors="replace")
    return report(recorder, {**stage.desk.counts, **stage.metrics.counts()}, text, options.fps)


def format_quantiles(seconds: list[float], fps: float) -> str:
    ordered = sorted(seconds)
    return ", ".join(f"{name} {fps * quantile_of(ordered, q):.2f}" for name, q in (
        ("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("most", 1.0)))


def report(recorder: TickRecorder, counts: dict[str, int], text: str, fps: float) -> int:
    late, lost = sorted(recorder.late), recorder.packets - counts.get("osc/packets", 0)
    failed = {path: n for path, n in counts.items() if path.endswith(("/failed", "/replaced"))}
    print(f"{recorder.packets} packets, {lost} lost; {len(late)} ticks of {1000 / fps:.1f} ms, late by intervals: "
          f"{format_quantiles(recorder.late, fps)}; "
          f"without waits for a processor: {format_quantiles(recorder.own, fps)}")
    print(f"{text.count(chr(10))} log lines, {text.count('Traceback')} tracebacks; "
          f"failed or replaced: {failed or 'none'}")
    for path in sorted(path for path in counts if path.startswith(("osc/", "desk/"))):
        print(f"  {path}: {counts[path]}")
    good = late[-1] * fps <= MAX_LATENESS and not lost and not failed and "Traceback" not in text
    if not good:
        print(text[-4000:])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
