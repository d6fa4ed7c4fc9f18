"""ShownFrames: what is shown where no new picture is: the input, the last picture, the last safe one."""

from __future__ import annotations

import logging

import numpy as np

from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.pipelines.safety import SafetyFilter

log = logging.getLogger(__name__)


class ShownFrames:
    """Follows the frames in the order in which they are shown. One thread at a time.

    Attributes:
        broken: Number of broken images: those with NaN or infinity.
    """

    def __init__(self, size: Size, safety: SafetyFilter | None) -> None:
        self.broken = 0
        self._safety, self._last = safety, solid(size)
        self._throttle = LogThrottle(log, Metrics())

    def show_input(self, frame: Pixels, out: Pixels) -> None:
        """Show the input itself."""
        np.copyto(out, frame)
        if self._safety:
            self._safety.accept(out)

    def show_last(self, out: Pixels) -> None:
        """Show the last result again."""
        if self._safety:
            self._safety.show_last(out)
        else:
            np.copyto(out, self._last)

    def show(self, out: Pixels, is_broken: bool, is_rejected: bool, keep: bool) -> None:
        """Show a rendered frame.

        Args:
            out: The frame; the last good one with this frame's alpha where the image is broken.
            is_broken: The image contains NaN or infinity.
            is_rejected: The safety checker's verdict.
            keep: `show_last` may need it.
        """
        if is_broken:
            self.broken += 1
            self._throttle.warn("broken", "the model rendered NaN or infinity; the last good frame stays; dtype "
                                "float32 or bfloat16, or LoRA weights nearer to 0, may help")
        if self._safety:
            self._filter(self._safety, out, is_broken, is_rejected)
        if keep:
            np.copyto(self._last, out)

    @staticmethod
    def _filter(safety: SafetyFilter, out: Pixels, is_broken: bool, is_rejected: bool) -> None:
        if is_broken:  # `out` holds the last good frame, which may not have passed the safety check
            safety.show_last(out)
        else:
            safety.judge(out, is_rejected)
