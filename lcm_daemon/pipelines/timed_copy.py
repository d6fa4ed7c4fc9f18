"""TimedCopy: returns the input after a fixed time, without using a processor. A stand-in for a graphics card."""

from __future__ import annotations

import time

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import Pipeline, Progress, Report

SERVICE = "service"  # key of the recipe's `schedule`: seconds that a frame takes
DEFAULT_SERVICE = 0.05


class TimedCopy(Pipeline):
    """Copies each frame when its time is over. For measurements of everything but a model. Needs no torch."""

    def _load(self, progress: Progress) -> Report:
        self._service = float(self.recipe.schedule.get(SERVICE, DEFAULT_SERVICE))
        return Report(model="timed copy", device=self.recipe.device, dtype="uint8", size=self.size)

    def _render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        end = time.perf_counter() + self._service
        np.copyto(out, frame)
        while (left := end - time.perf_counter()) > 0.0:
            time.sleep(left)
        return {"denoise": self._service}
