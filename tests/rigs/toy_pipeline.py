"""A pipeline of one convolution, with a real accelerator: what a compiler does to it takes seconds.

    monkeypatch.setattr("lcm_daemon.commands.prepare_form._run", toy_pipeline.run)
"""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection

import numpy as np

from lcm_daemon.commands import prepare_form
from lcm_daemon.commands.prepare_form import FormTask
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import Pipeline, Progress, Report
from lcm_daemon.recipes import registry

NAME = "toy"
_run_form = prepare_form._run


def run(pipe: Connection, task: FormTask) -> None:
    """The process that compiles, which knows one pipeline more."""
    registry.PIPELINES[NAME] = f"{__name__}:ToyPipeline"  # type: ignore[index]
    _run_form(pipe, task)


class ToyPipeline(Pipeline):
    """Shows the input; its convolution is only compiled."""

    def _load(self, progress: Progress) -> Report:
        import torch

        from lcm_daemon.pipelines.accelerators.base import Features
        from lcm_daemon.pipelines.accelerators.manager import AcceleratorManager

        torch.manual_seed(0)
        self._manager = AcceleratorManager(self.recipe.accelerate, torch.device("cpu"), Features(), progress)
        module = self._manager.accelerate("denoiser", torch.nn.Conv2d(3, 4, 3).eval())
        with torch.inference_mode():
            module(torch.ones(1, 3, 8, 8))
        return Report(NAME, "cpu", "float32", self.size)

    def compiled(self, seconds: float) -> Mapping[str, str]:
        return self._manager.active_names()

    def _render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        np.copyto(out, frame)
        return {}
