"""ShownFrames: what is shown where no new picture is: the input, the last picture, the last safe one."""

from __future__ import annotations

import logging
import time

import numpy as np

from lcm_daemon.core.errors import BROKEN, BrokenPictures
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.pipelines.safety import SafeFrames

log = logging.getLogger(__name__)

MOST_BROKEN = 16  # broken images in a row
LONGEST_BROKEN = 2.0  # seconds; a fader that is pulled too far and pushed back keeps the engine
ADVICE = "dtype float32 or bfloat16, or LoRA weights nearer to 0, may help"


class BrokenImages:
    """Counts the broken images of a pipeline, those with NaN or infinity, and logs them rarely.

    A single one may come from a fader at an extreme, and the next frame is good again. A pipeline that renders nothing
    else has failed: at once if it has rendered no good image yet, else after MOST_BROKEN images in a row that have
    taken LONGEST_BROKEN.

    Attributes:
        count: Broken images so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._throttle = LogThrottle(log, Metrics())
        self._warms_up, self._has_good = True, False
        self._in_a_row, self._since = 0, 0.0

    def note(self, is_broken: bool) -> None:
        """Note the next image that was rendered.

        Raises:
            BrokenPictures: The pipeline has failed.
        """
        if not is_broken:
            self._has_good, self._in_a_row = True, 0
            return
        self.count += 1
        self._throttle.warn("broken", f"the model rendered {BROKEN}; the last good frame stays; {ADVICE}")
        now = time.monotonic()
        if self._in_a_row == 0:
            self._since = now
        self._in_a_row += 1
        if self._warms_up:
            return
        if not self._has_good:
            raise BrokenPictures(f"its first picture is {BROKEN}; {ADVICE}", retry=False)
        if self._in_a_row >= MOST_BROKEN and now - self._since >= LONGEST_BROKEN:
            raise BrokenPictures(f"its last {self._in_a_row} pictures are {BROKEN}; {ADVICE}", retry=True)

    def end_warm_up(self) -> None:
        """Judge later pictures without those of the warm-up.

        Raises:
            BrokenPictures: Every picture of the warm-up was broken.
        """
        if self.count and not self._has_good:
            raise BrokenPictures(f"every picture of its warm-up is {BROKEN}; {ADVICE}", retry=False)
        self._warms_up, self._has_good, self._in_a_row = False, False, 0


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

        Raises:
            BrokenPictures: As of `BrokenImages.note`.
        """
        self._broken.note(is_broken)
        if self._safe and is_broken:  # `out` holds the last good frame, which may not have passed the safety check
            self._safe.show_last(out)
        elif self._safe:
            self._safe.judge(out, is_rejected)
        if keep:
            if self._last is None:
                self._last = np.empty_like(out)
            np.copyto(self._last, out)
