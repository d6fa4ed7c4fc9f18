"""InputSilence: whether the input shows nothing, so that a held frame costs nothing."""

from __future__ import annotations

from lcm_daemon.core.frame import Frame, Pixels

SECONDS = 30.0
BLACK = 16  # 0 to 255: the brightest channel of a black frame; video black is 16
_STRIDE = 16  # pixels between two that are looked at: new frames are tested while an upgrade waits


class InputSilence:
    """Says since when no input frame has come, or only black ones.

    Args:
        seconds: How long that must last.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._last: Frame | None = None
        self._since: float | None = None

    def is_silent(self, frame: Frame | None, now: float) -> bool:
        """Call it at least twice a second.

        Args:
            frame: The newest input frame; None if there is none.
            now: Monotonic seconds.
        """
        is_new = frame is not None and (self._last is None or frame is not self._last)
        self._last = frame
        if self._since is None or (is_new and frame is not None and not is_black(frame.pixels)):
            self._since = now
        return now - self._since >= self._seconds

    def reset(self) -> None:
        """Start over with the next call."""
        self._last = self._since = None


def is_black(pixels: Pixels) -> bool:
    """Whether a frame looks black, by a sample of its pixels."""
    return int(pixels[::_STRIDE, ::_STRIDE, :3].max()) <= BLACK
