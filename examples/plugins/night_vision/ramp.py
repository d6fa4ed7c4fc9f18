"""Source `ramp`: a grey ramp that moves sideways."""

from __future__ import annotations

import time

import numpy as np

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.schema import Field, Number
from lcm_daemon.transports.base import Probe, Source, Transport

WIDTH, HEIGHT, FPS = 320, 180, 30.0


class Ramp(Source):
    fields = {"speed": Field(Number(0, 10), 0.1, "widths per second")}

    def _open_source(self) -> None:
        self._number, self._due = 0, time.perf_counter()

    def _read(self, timeout: float) -> Frame | None:
        wait = self._due - time.perf_counter()
        if wait > timeout:
            time.sleep(timeout)
            return None
        time.sleep(max(wait, 0.0))
        self._due = time.perf_counter() + 1 / FPS
        now = time.perf_counter()
        levels = (np.arange(WIDTH) / WIDTH + now * self.options["speed"]) % 1 * 255
        pixels = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
        pixels[..., :3] = levels[None, :, None]
        self._number += 1
        return Frame(pixels, self._number, now)

    def _close(self) -> None:
        pass


TRANSPORT = Transport(source=Ramp, sink=None, probe=lambda: Probe(True, "a grey ramp"))
