"""What is shown in the place of a frame that is not."""

from __future__ import annotations

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, solid
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    from lcm_daemon.pipelines.shown_frames import BrokenImages, ShownFrames

SIZE = (8, 8)


class Guard:
    """Stands for the safe frames."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def judge(self, out: Pixels, is_rejected: bool) -> None:
        self.calls.append("rejected" if is_rejected else "accepted")

    def show_last(self, out: Pixels) -> None:
        self.calls.append("last safe")

    def accept(self, out: Pixels) -> None:
        self.calls.append("input")


def test_the_last_frame_is_shown_again_if_it_was_kept() -> None:
    shown, out = ShownFrames(None, BrokenImages()), solid(SIZE)
    shown.show(solid(SIZE, (1, 2, 3, 4)), False, False, keep=True)
    shown.show(solid(SIZE, (9, 9, 9, 9)), False, False, keep=False)
    shown.show_last(out)
    assert (out == (1, 2, 3, 4)).all()


def test_the_input_is_shown_as_it_is() -> None:
    out = solid(SIZE)
    ShownFrames(None, BrokenImages()).show_input(solid(SIZE, (1, 2, 3, 4)), out)
    assert np.array_equal(out, solid(SIZE, (1, 2, 3, 4)))


def test_broken_images_are_counted_and_logged_rarely(caplog: pytest.LogCaptureFixture) -> None:
    broken = BrokenImages()
    sessions = [ShownFrames(None, broken) for _ in range(2)]
    for number in range(100):
        sessions[number % 2].show(solid(SIZE), True, False, keep=False)
    assert broken.count == 100
    assert len(caplog.messages) == 7
    assert caplog.messages[0].startswith("the model rendered NaN or infinity; the last good frame stays")


def test_a_broken_frame_shows_the_last_safe_one() -> None:
    """The last good frame may be one that the safety filter rejected."""
    guard = Guard()
    shown = ShownFrames(guard, BrokenImages())  # type: ignore[arg-type]
    shown.show(solid(SIZE), False, False, keep=False)
    shown.show(solid(SIZE), False, True, keep=False)
    shown.show(solid(SIZE), True, False, keep=False)
    shown.show_input(solid(SIZE), solid(SIZE))
    assert guard.calls == ["accepted", "rejected", "last safe", "input"]
