"""Pipeline `night`: the input in green, blended with it by the parameter `mix`."""

from __future__ import annotations

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import FrameValues, Pipeline, Progress, Report


class Night(Pipeline):
    def _load(self, progress: Progress) -> Report:
        progress("nothing to load")
        return Report(model="night", device="cpu", dtype="uint8", size=self.size)

    def _render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        mix = FrameValues.of(values).mix
        np.copyto(out, frame)  # with its alpha
        out[..., (0, 2)] = (frame[..., (0, 2)] * (1 - mix)).astype(np.uint8)
        return {}
