"""A stand-in for a pipeline that compiles for minutes: it is compiled once a file exists.

    monkeypatch.setattr("lcm_daemon.render.engine.run", compiling_pipeline.run)   # an engine process can then load it
    recipe = compiling_recipe(tmp_path / "gate")
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.accelerators.heartbeat import Heartbeat
from lcm_daemon.pipelines.base import DeviceMemory, Pipeline, Progress, Report
from lcm_daemon.processes.bootstrap import LogLevels
from lcm_daemon.processes.channel import ChildEndpoint
from lcm_daemon.recipes import registry
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render import engine

NAME = "compiling"
QUICK, COMPILED = 100, 200  # red of the first pixel
_run_engine: Callable[..., None] = engine.run


def compiling_recipe(gate: Path) -> Recipe:
    """A recipe for the stand-in. gate: the file that lets its compiler end."""
    return Recipe(NAME, pipeline=NAME, accelerate="compile", schedule={"gate": str(gate)})


def run(endpoint: ChildEndpoint, pipeline: str, spare: bool, log_levels: LogLevels) -> None:
    """The engine process, which knows one pipeline more."""
    registry.PIPELINES[NAME] = f"{__name__}:CompilingPipeline"  # type: ignore[index]
    _run_engine(endpoint, pipeline, spare, log_levels)


class CompilingPipeline(Pipeline):
    """Shows the input, with its form in the red of the first pixel. The report's dtype says how it was loaded."""

    def _load(self, progress: Progress) -> Report:
        self._red = QUICK
        if self.recipe.accelerate == "compile":
            self._red = COMPILED
            with Heartbeat(progress, "compiling the denoiser"):
                while not Path(str(self.recipe.schedule["gate"])).exists():
                    time.sleep(0.01)
        how = [word for word, given in (("beside", self.loads_beside), ("returns", self.returns)) if given]
        return Report(NAME, "stand-in", " ".join(how), self.size)

    def memory(self) -> DeviceMemory:
        return DeviceMemory(free=20 << 30, total=24 << 30, used=3 << 30)

    def _render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        np.copyto(out, frame)
        out[0, 0, 0] = self._red
        return {"denoise": 0.001}
