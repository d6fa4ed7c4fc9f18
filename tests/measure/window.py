"""What the `window` sink shows: frames a second on an X server without a screen, and whether each screenshot is whole.

    python -m tests.measure.window [--seconds 10] [--size 512x512] [--fps 60]

A stage with the recipe `passthrough` shows stamped frames, from shared memory, in a window that fills the display. Each
frame has its number as squares in all four corners. The window's process counts the frames that it has shown. A
screenshot is whole if its four numbers agree. At the end the X server is stopped for some seconds, and the tick's
lateness is compared with that before.

The window has no refresh to wait for here: the rate is what the CPU allows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from lcm_daemon.commands.bench_task import show_of
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.stage.stage import Stage
from lcm_daemon.transports import window
from lcm_daemon.transports.shared_memory import MemorySink
from tests.measure.output_page import BITS, SQUARE, picture
from tests.rigs.daemon import wait_for
from tests.rigs.x_server import XServer, x_server

WARM_UP = 2.0  # seconds that do not count
STOPPED = 3.0  # seconds for which the X server does not answer
START = 60.0  # seconds that a part may take to start
TIMEOUT = 300.0
SCREENSHOTS = 50
CYCLE = 32  # different frames


@dataclass(frozen=True)
class WindowFigures:
    """Figures of one run.

    Attributes:
        rate: Frames shown a second.
        cpu: Seconds of CPU time that the window's process spends on a frame.
        whole: Screenshots that show one whole frame, of how many.
        late: Seconds that a tick was late, 99th percentile: before the X server was stopped, and while it was.
        missed: Ticks that were skipped while it was stopped.
    """

    size: Size
    rate: float
    cpu: float
    whole: tuple[int, int]
    late: tuple[float, float]
    missed: int

    def __str__(self) -> str:
        return (f"{self.size[0]}x{self.size[1]}: {self.rate:.1f} frames/s, {1000 * self.cpu:.1f} ms CPU a frame, "
                f"{self.whole[0]} of {self.whole[1]} screenshots whole, tick late p99 {1000 * self.late[0]:.2f} ms, "
                f"{1000 * self.late[1]:.2f} ms and {self.missed} ticks missed while the X server was stopped")


def corners(number: int, base: Pixels) -> Pixels:
    """A copy of a picture with the number as squares in its four corners."""
    pixels, wide = base.copy(), BITS * SQUARE // 2
    bits = [255 if number >> (BITS - 1 - bit) & 1 else 0 for bit in range(BITS)]
    stamp = np.array(bits, np.uint8).reshape(2, BITS // 2).repeat(SQUARE, 0).repeat(SQUARE, 1)[..., None]
    for rows in (slice(None, 2 * SQUARE), slice(-2 * SQUARE, None)):
        for columns in (slice(None, wide), slice(-wide, None)):
            pixels[rows, columns, :3] = stamp
    return pixels


def numbers(screen: Pixels) -> list[int]:
    """The numbers in the four corners of a screenshot."""
    found, half = [], SQUARE // 2
    for top in (0, screen.shape[0] - 2 * SQUARE):
        for left in (0, screen.shape[1] - BITS * SQUARE // 2):
            bits = [int(screen[top + row * SQUARE + half, left + column * SQUARE + half, 1] > 127)
                    for row in range(2) for column in range(BITS // 2)]
            found.append(int("".join(map(str, bits)), 2))
    return found


def send(name: str, size: Size, fps: float) -> None:
    """Write stamped frames until the process is ended."""
    sink, base, number = MemorySink({"name": name}), picture(size), 0
    cycle = [corners(number, base) for number in range(1, CYCLE + 1)]
    sink.open(size, fps)
    due = time.perf_counter()
    while True:
        pixels = cycle[number % CYCLE]
        number += 1
        due = max(due + 1 / fps, time.perf_counter())
        time.sleep(max(due - time.perf_counter(), 0))
        sink.write(Frame(pixels, number, time.perf_counter()))


class _Watch:
    """Watches a running stage from a thread, then ends it."""

    def __init__(self, stage: Stage, screen: XServer, seconds: float) -> None:
        self._stage, self._screen, self._seconds = stage, screen, seconds
        self.shown = 0  # frames, as the window's process says every second
        self.found: WindowFigures | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.found = self._measure()
        except Exception as error:  # noqa: BLE001 - the top of the thread
            self.error = error
        self._stage.stop()

    def _measure(self) -> WindowFigures:
        stage, screen = self._stage, self._screen
        window = wait_for(_window_process, START, "the window's process")
        wait_for(lambda: self.shown > 0 and all(numbers(screen.screenshot())), START, "a stamped frame")
        time.sleep(WARM_UP)
        shown, spent, begun = self._next_count(), _cpu(window), time.perf_counter()
        time.sleep(self._seconds)
        shown, taken = self._next_count() - shown, time.perf_counter() - begun
        cpu = (_cpu(window) - spent) / max(shown, 1)
        shots = [numbers(screen.screenshot()) for _ in range(SCREENSHOTS)]
        late, missed = stage.metrics.timing("tick/late", 0.99), stage.ticker.skipped
        os.kill(screen.process.pid, signal.SIGSTOP)
        time.sleep(STOPPED)
        stopped, missed = stage.metrics.timing("tick/late", 0.99), stage.ticker.skipped - missed
        os.kill(screen.process.pid, signal.SIGCONT)
        whole = sum(len(set(shot)) == 1 and shot[0] > 0 for shot in shots)
        return WindowFigures(stage.show.size, shown / taken, cpu, (whole, len(shots)), (late, stopped), missed)

    def _next_count(self) -> int:
        """The frames shown so far, at the moment at which the process says it."""
        before = self.shown
        wait_for(lambda: self.shown != before, START, "a report of the window")
        return self.shown


def measure(size: Size, fps: float, seconds: float) -> WindowFigures:
    """Play a show with a window, watch it, and stop the X server once."""
    name = f"window-{time.time_ns()}"
    content = {"recipe": {"base": "passthrough", "size": list(size)}, "osc": False, "panel": False,
               "engine": {"spare": False}, "source": {"transport": "memory", "name": name},
               "output": {"size": list(size), "fps": fps}, "sinks": [{"transport": "window"}]}
    command = [sys.executable, "-m", "tests.measure.window", "--send", name, "--size", "{}x{}".format(*size)]
    with x_server(*size) as screen:
        os.environ |= {"DISPLAY": screen.name, "SDL_VIDEODRIVER": "x11"}
        sender = subprocess.Popen([*command, "--fps", str(fps)])
        try:
            stage = Stage(show_of(content))
            watch = _Watch(stage, screen, seconds)
            with _reports(watch):
                threading.Thread(target=watch.run, daemon=True).start()
                stage.run(TIMEOUT)
        finally:
            sender.kill()
            sender.wait()
    if watch.found is None:
        raise RuntimeError(f"no figures: {watch.error or 'it took too long'}")
    return watch.found


@contextlib.contextmanager
def _reports(watch: _Watch) -> Iterator[None]:
    """Let the watch know what the window's process reports."""
    receive = window._Process.receive

    def recorded(process: window._Process, seconds: float) -> window.Message | None:
        message = receive(process, seconds)
        if message is not None and "shown" in message:
            watch.shown = message["shown"]
        return message

    window._Process.receive = recorded  # type: ignore[method-assign]
    try:
        yield
    finally:
        window._Process.receive = receive  # type: ignore[method-assign]


def _window_process() -> psutil.Process | None:
    return next((child for child in psutil.Process().children(recursive=True)
                 if any("window_process" in word for word in child.cmdline())), None)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the window is watched (10)")
    parser.add_argument("--size", help="size of frames and display; both 512x512 and 1920x1080 if left away")
    parser.add_argument("--fps", type=float, help="rate of the frames (60 at 512x512, else 30)")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [arguments.size] if arguments.size else ["512x512", "1920x1080"]
    found = []
    for text in sizes:
        width, height = map(int, text.split("x"))
        fps = arguments.fps or (60.0 if width <= 512 else 30.0)
        if arguments.send:
            return send(arguments.send, (width, height), fps)
        found.append(measure((width, height), fps, arguments.seconds))
        print(found[-1], flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([asdict(each) for each in found], indent=1))
    return None


if __name__ == "__main__":
    main()
