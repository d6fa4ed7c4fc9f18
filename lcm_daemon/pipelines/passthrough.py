"""Passthrough: returns the input unchanged. It shows the overhead of the stage itself."""

from __future__ import annotations

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import Pipeline, Progress, Report


class Passthrough(Pipeline):
    """Copies each frame. Needs no torch."""

    def _load(self, progress: Progress) -> Report:
        return Report(model="passthrough", device="cpu", dtype="uint8", size=self.size)

    def _render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        np.copyto(out, frame)
        return {}
