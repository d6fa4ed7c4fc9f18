"""What is shown in the place of a frame that is not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lcm_daemon.core.errors import BrokenPictures
from lcm_daemon.core.frame import Pixels, solid
from tests.conftest import ManualClock
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    from lcm_daemon.pipelines import shown_frames
    from lcm_daemon.pipelines.shown_frames import LONGEST_BROKEN, MOST_BROKEN, BrokenImages, ShownFrames

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


@pytest.fixture
def broken(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> BrokenImages:
    """The count of a pipeline that has warmed up."""
    monkeypatch.setattr(shown_frames, "time", SimpleNamespace(monotonic=clock.now))
    found = BrokenImages()
    found.note(False)
    found.end_warm_up()
    return found


def test_a_pipeline_whose_first_picture_is_broken_has_failed_for_good(broken: BrokenImages) -> None:
    with pytest.raises(BrokenPictures, match="its first picture is NaN or infinity") as raised:
        broken.note(True)
    assert not raised.value.retry


def test_a_fader_that_is_pushed_back_keeps_the_engine(broken: BrokenImages, clock: ManualClock) -> None:
    broken.note(False)
    for _ in range(3):
        for _ in range(3 * MOST_BROKEN):
            broken.note(True)  # many within a moment
        clock.sleep(LONGEST_BROKEN + 1.0)
        broken.note(False)
    for _ in range(MOST_BROKEN - 1):  # few, however long it takes
        clock.sleep(LONGEST_BROKEN)
        broken.note(True)
    with pytest.raises(BrokenPictures, match=f"its last {MOST_BROKEN} pictures") as raised:
        broken.note(True)
    assert raised.value.retry, "the next one begins with other values"
    assert broken.count == 10 * MOST_BROKEN


def test_a_warm_up_without_one_good_picture_has_failed() -> None:
    broken = BrokenImages()
    broken.end_warm_up()  # of a pipeline that renders nothing while it warms up
    broken = BrokenImages()
    broken.note(True)
    with pytest.raises(BrokenPictures, match="every picture of its warm-up") as raised:
        broken.end_warm_up()
    assert not raised.value.retry
    broken.note(False)
    broken.end_warm_up()
