"""OutputFaults: whether the output is black, or does not change, although the show means something else."""

from __future__ import annotations

from dataclasses import dataclass

from lcm_daemon.core.frame import Pixels
from lcm_daemon.render.silence import BLACK, is_black
from lcm_daemon.render.still_input import is_equal

CHANGES = 3  # changes of the input that must have left no trace: a single one may be too small to be seen
_STRIDE = 4  # pixels between two that are looked at in a picture that seems to be black


@dataclass(frozen=True)
class Intention:
    """What the show means at a moment.

    Attributes:
        light: The output should not be black.
        motion: The output should change where the input does.
        picture: The output should show rendered pictures, not the failsafe.
    """

    light: bool = True
    motion: bool = True
    picture: bool = True


class Lasting:
    """Since when something has been the case."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, is_case: bool, now: float) -> float:
        """For how long it has been the case at every call; 0.0 if it is not. now: monotonic seconds."""
        if not is_case:
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now
        return now - self._since


class OutputFaults:
    """Looks at the output about once a second.

    Args:
        black: Seconds after which a black output is reported; None for never.
        frozen: The same of an output that does not change.
        failsafe: The same of the failsafe.
    """

    def __init__(self, black: float | None, frozen: float | None, failsafe: float | None) -> None:
        self._black_after, self._frozen_after, self._failsafe_after = black, frozen, failsafe
        self._black, self._failsafe = Lasting(), Lasting()
        self._output: Pixels | None = None
        self._input: Pixels | None = None
        self._changes = 0  # of the input since the output has changed
        self._first_change = 0.0

    def look(
        self, output: Pixels, source: Pixels | None, means: Intention, in_failsafe: bool, now: float,
        unmoved: Pixels | None = None,
    ) -> str:
        """What is wrong with the output; "" if nothing is.

        Args:
            output: What goes out, uint8 (H, W, 4).
            source: The newest input, the same; None if there is none.
            means: What the show means.
            in_failsafe: Whether the output shows the failsafe.
            now: Monotonic seconds.
            unmoved: The output before it is moved and dimmed, which does not change what it shows; None if it is not.
        """
        black = self._black.seconds(
            self._black_after is not None and means.light and not in_failsafe and looks_black(output), now)
        failsafe = self._failsafe.seconds(in_failsafe and means.picture, now)
        frozen = self._frozen_seconds(
            output if unmoved is None else unmoved, source, means.motion and not in_failsafe, now)
        if self._black_after is not None and black >= self._black_after:
            return f"the output has been black for more than {self._black_after:g} s"
        if self._failsafe_after is not None and failsafe >= self._failsafe_after:
            return f"the output has shown the failsafe for more than {self._failsafe_after:g} s"
        if self._frozen_after is not None and frozen >= self._frozen_after:
            return f"the output has not changed for more than {self._frozen_after:g} s, although the input does"
        return ""

    def _frozen_seconds(
        self, output: Pixels, source: Pixels | None, should_move: bool, now: float
    ) -> float:
        """Seconds since the first change of the input that the output does not show; 0.0 while it follows."""
        if self._frozen_after is None:
            return 0.0
        before, self._output = self._output, output
        if before is None or not should_move or not (before is output or is_equal(before, output)):
            self._changes, self._input = 0, source
            return 0.0
        old, self._input = self._input, source
        if source is not None and old is not None and not (old is source or is_equal(old, source)):
            self._changes += 1
            if self._changes == 1:
                self._first_change = now
        return now - self._first_change if self._changes >= CHANGES else 0.0


def looks_black(pixels: Pixels) -> bool:
    """Whether a picture is black, but for things of a few pixels."""
    return is_black(pixels) and brightness(pixels) <= BLACK


def brightness(pixels: Pixels) -> int:
    """The brightest channel of a picture, 0 to 255, but for things of a few pixels."""
    return int(pixels[::_STRIDE, ::_STRIDE, :3].max())
