"""How evenly the output moves with `interpolate`: a stage, an engine that only takes time, a disc that moves evenly.

    python -m tests.measure.even_motion [--rate 15] [--fps 30] [--seconds 8]

Each tick's output is looked at: where the disc is. `off` is how far it is from even motion (median, of the way that it
makes between two rendered frames; 1 / (4 n) is the best that n pictures for each rendered one can do), `still` the
share of ticks that repeat a picture, `late` how far behind the input it is, in rendered frames.
"""

from __future__ import annotations

import argparse
import functools
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.commands.bench_task import show_of
from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.pipelines.timed_copy import SERVICE
from lcm_daemon.stage.stage import Stage
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.runner import SourceRunner

SIDE, SPEED, PERIOD = 128, 40.0, 2.0  # pixels; pixels a second, back and forth in this many seconds
SETTLE = 3.0  # seconds at the start that do not count
TIMEOUT = 90.0  # seconds until a run ends in any case
_Y, _X = np.mgrid[0:SIDE, 0:SIDE]
_BEHIND = (40 + 20 * np.sin(_X / 9.0) + 20 * np.cos(_Y / 7.0)).astype(np.uint8)


def place(now: float) -> float:
    """Where the disc is at a time, in pixels from the left: it turns back at each end of its way."""
    along = now % (2 * PERIOD)
    return 24 + SPEED * min(along, 2 * PERIOD - along)


@functools.cache
def draw(left: float) -> Pixels:
    """The picture with the disc at a place."""
    inside = np.clip(14 - np.hypot(_X - left, _Y - SIDE / 2), 0, 1)
    picture = np.full((SIDE, SIDE, 4), 255, np.uint8)
    picture[..., 1] = picture[..., 2] = _BEHIND
    picture[..., 0] = _BEHIND * (1 - inside) + 255 * inside
    return picture


def found(pixels: Pixels) -> float:
    """Where the disc is in a picture."""
    weight = np.clip(pixels[..., 0].astype(float) - 100, 0, None)
    return float((weight * _X).sum() / weight.sum())


class _Disc(Source):
    """The disc, 60 times a second."""

    def _open_source(self) -> None:
        self._number = 0

    def _read(self, timeout: float) -> Frame | None:
        time.sleep(1 / 60)
        self._number += 1
        now = time.monotonic()
        return Frame(draw(round(place(now), 1)), self._number, now)

    def _close(self) -> None:
        pass


def play(interpolate: int, rate: float, fps: float, seconds: float) -> str:
    """Play, and describe what was seen after the start."""
    content = {"recipe": "passthrough", "osc": False, "panel": False, "engine": {"spare": False},
               "output": {"size": [SIDE, SIDE]}, "parameters": {"interpolate": interpolate}}
    show = show_of(content)
    recipe = replace(show.recipe, pipeline="timed_copy", schedule={SERVICE: 1 / rate}, device="cpu")
    results: list[float] = []  # when each came
    stage = Stage(replace(show, sinks=(), fps=fps, recipe=recipe), on_result=lambda frame, now: results.append(now))
    stage.source.runner = SourceRunner("disc", _Disc({}), show.size, "cover", stage.metrics, stage.on_input)
    seen: list[tuple[float, Pixels]] = []
    begun: list[float] = []  # when the first picture between two results had been made, if any is to be

    def post(frame: Frame) -> None:
        now = time.monotonic()
        seen.append((now, frame.pixels))
        if not begun and (stage.metrics.timing("engine/interpolate") or interpolate == 1):
            begun.append(now)
        if begun and now > begun[0] + SETTLE + seconds:
            stage.stop()

    stage.outputs.post = post  # type: ignore[method-assign]
    stage.run(TIMEOUT)
    start, spent = seen[-1][0] - seconds, stage.metrics.timing("engine/interpolate")
    ticks = np.array([(now, found(pixels)) for now, pixels in seen if now >= start])
    rendered = sum(now >= start for now in results) / seconds
    return f"{describe(ticks, rendered)}; {rendered:.1f} rendered a second, {spent * 1000:.0f} ms for what is between"


def describe(ticks: NDArray[np.float64], rate: float) -> str:
    """What was seen, without the turns at the ends of the disc's way.

    Args:
        ticks: The time of each tick, and where the disc was, (ticks, 2).
        rate: Rendered frames a second.
    """
    latencies = np.arange(0, PERIOD, 0.002)
    errors = [np.mean(np.abs(ticks[:, 1] - [place(now - late) for now in ticks[:, 0]])) for late in latencies]
    late = latencies[int(np.argmin(errors))]
    straight = np.array([0.3 < (now - late) % PERIOD < PERIOD - 0.3 for now in ticks[:, 0]])
    off = (ticks[:, 1] - [place(now - late) for now in ticks[:, 0]])[straight] / (SPEED / rate)
    still = (np.abs(np.diff(ticks[:, 1])) < 0.02 * SPEED / rate)[straight[1:]]
    return f"off {np.median(np.abs(off)):.3f}, still {still.mean():.2f}, late {late * rate:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=15.0, help="rendered frames a second (15)")
    parser.add_argument("--fps", type=float, default=30.0, help="rate of the output (30)")
    parser.add_argument("--seconds", type=float, default=8.0, help="that are judged (8)")
    given = parser.parse_args()
    for pictures in (1, 2, 4):
        print(f"interpolate {pictures}: {play(pictures, given.rate, given.fps, given.seconds)}", flush=True)
