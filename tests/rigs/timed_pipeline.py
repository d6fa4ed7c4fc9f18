"""A stand-in for a pipeline on a graphics card: upload, computation and download on three threads, as on three streams.

    monkeypatch.setattr("lcm_daemon.render.engine.run", timed_pipeline.run)   # an engine process can then load it
    recipe = timed_recipe(in_flight=2)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import Pending, Pipeline, Progress, Report
from lcm_daemon.processes.bootstrap import LogLevels
from lcm_daemon.processes.channel import ChildEndpoint
from lcm_daemon.recipes import registry
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render import engine

NAME = "timed"
_run_engine: Callable[..., None] = engine.run


def timed_recipe(in_flight: int, service: float = 0.005, copy: float = 0.001) -> Recipe:
    """A recipe for the stand-in.

    Args:
        in_flight: As of `Recipe`.
        service: Seconds that a frame computes.
        copy: Seconds that an upload and a download take, each.
    """
    return Recipe(NAME, pipeline=NAME, in_flight=in_flight, schedule={"service": service, "copy": copy})


def run(endpoint: ChildEndpoint, pipeline: str, spare: bool, log_levels: LogLevels) -> None:
    """The engine process, which knows one pipeline more."""
    registry.PIPELINES[NAME] = f"{__name__}:TimedPipeline"  # type: ignore[index]
    _run_engine(endpoint, pipeline, spare, log_levels)


@dataclass(frozen=True)
class _TimedFrame:
    downloaded: Future[float]

    def wait(self) -> dict[str, float]:
        """Its part `denoise` is the time that the computation really took."""
        return {"denoise": self.downloaded.result()}


class TimedPipeline(Pipeline):
    """Shows the input, with the strength (0 to 1 as 0 to 255) in the red of the first pixel."""

    def _load(self, progress: Progress) -> Report:
        self.frames_in_flight = self.recipe.in_flight or 2
        self._uploads, self._computations, self._downloads = (ThreadPoolExecutor(1) for _ in range(3))
        return Report(NAME, "stand-in", "uint8", self.size)

    def _submit(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> Pending:
        uploaded = self._uploads.submit(self._upload, frame)
        rendered = self._computations.submit(self._compute, uploaded, round(255 * float(values["strength"])))
        return _TimedFrame(self._downloads.submit(self._download, rendered, out))

    def _seconds(self, what: str) -> float:
        return float(self.recipe.schedule[what])

    def _upload(self, frame: Pixels) -> Pixels:
        time.sleep(self._seconds("copy"))
        return frame.copy()

    def _compute(self, uploaded: Future[Pixels], red: int) -> tuple[Pixels, float]:
        picture, begun = uploaded.result(), time.perf_counter()
        time.sleep(self._seconds("service"))
        picture[0, 0, 0] = red
        return picture, time.perf_counter() - begun

    def _download(self, rendered: Future[tuple[Pixels, float]], out: Pixels) -> float:
        picture, seconds = rendered.result()
        time.sleep(self._seconds("copy"))
        np.copyto(out, picture)
        return seconds
