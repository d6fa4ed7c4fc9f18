"""ShownFrames: what is shown where no new picture is: the input, the last picture, the last safe one."""

from __future__ import annotations

import logging

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.pipelines.safety import SafeFrames

log = logging.getLogger(__name__)


class BrokenImages:
    """Counts the broken images of a pipeline, those with NaN or infinity, and logs them rarely."""

    def __init__(self) -> None:
        self.count = 0
        self._throttle = LogThrottle(log, Metrics())

    def add(self) -> None:
        self.count += 1
        self._throttle.warn("broken", "the model rendered NaN or infinity; the last good frame stays; dtype "
                            "float32 or bfloat16, or LoRA weights nearer to 0, may help")


class ShownFrames:
    """Follows the frames of one session in the order in which they are shown. One thread at a time.

    Args:
        safe: Replaces rejected frames; None without a safety checker.
        broken: Counts those of all sessions.
    """

    def __init__(self, safe: SafeFrames | None, broken: BrokenImages) -> None:
        self._safe, self._broken = safe, broken
        self._last: Pixels | None = None

    def show_input(self, frame: Pixels, out: Pixels) -> None:
        """Show the input itself."""
        np.copyto(out, frame)
        if self._safe:
            self._safe.accept(out)

    def show_last(self, out: Pixels) -> None:
        """Show the last result again; one that was kept came before."""
        if self._safe:
            self._safe.show_last(out)
        else:
            out[:] = 0 if self._last is None else self._last

    def show(self, out: Pixels, is_broken: bool, is_rejected: bool, keep: bool) -> None:
        """Show a rendered frame.

        Args:
            out: The frame; the last good one with this frame's alpha where the image is broken.
            is_broken: The image contains NaN or infinity.
            is_rejected: The safety checker's verdict.
            keep: `show_last` may need it.
        """
        if is_broken:
            self._broken.add()
        if self._safe and is_broken:  # `out` holds the last good frame, which may not have passed the safety check
            self._safe.show_last(out)
        elif self._safe:
            self._safe.judge(out, is_rejected)
        if keep:
            if self._last is None:
                self._last = np.empty_like(out)
            np.copyto(self._last, out)
