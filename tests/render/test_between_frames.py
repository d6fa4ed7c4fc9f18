"""What an engine does with the further slots of a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.pipelines.passthrough import Passthrough
from lcm_daemon.processes.frame_slots import FrameSlots
from lcm_daemon.processes.protocol import FrameRequest
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.between_frames import BetweenFrames

SIZE = (8, 6)


class Middle:
    """Writes the mean of two pictures."""

    def __init__(self) -> None:
        self.last: Pixels | None = None

    def forget(self) -> None:
        self.last = None

    def make(self, picture: Pixels, between: Sequence[Pixels]) -> bool:
        before, self.last = self.last, picture.copy()
        for out in between if before is not None else ():
            out[:] = before // 2 + picture // 2
        return before is not None


class Interpolating(Passthrough):
    def __init__(self, made: Any) -> None:
        super().__init__(Recipe("own"), SIZE)
        self.made = made

    def interpolator(self) -> Any:
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


@pytest.fixture
def slots() -> Iterator[FrameSlots]:
    slots = FrameSlots(SIZE, count=4)
    yield slots
    slots.close()


def request(slot: int, *between: int, session: str = "") -> FrameRequest:
    return FrameRequest(slot, 0, 0.0, {}, session=session, between=between)


def built(pipeline: Interpolating, slots: FrameSlots) -> BetweenFrames:
    frames = BetweenFrames(pipeline, slots)
    assert frames.fill(request(0, 1)) == 0.0, "it is built in the background"
    assert frames._builder is not None
    frames._builder.join(20)
    return frames


def test_the_pictures_lie_in_the_further_slots(slots: FrameSlots) -> None:
    frames = built(Interpolating(Middle()), slots)
    frames.fill(request(0))
    slots.outputs[0][:] = 100
    assert frames.fill(request(0, 1)) == 0.0, "the first picture has none before it"
    slots.outputs[2][:] = 200
    assert frames.fill(request(2, 3)) > 0.0
    assert (slots.outputs[3] == 150).all()


def test_a_frame_that_wanted_none_and_visitors_frames_are_no_part_of_it(slots: FrameSlots) -> None:
    frames = built(Interpolating(middle := Middle()), slots)
    frames.fill(request(0, 1))
    assert frames.fill(request(2, 3, session="1")) == 0.0
    assert middle.last is not None
    assert frames.fill(request(2)) == 0.0
    assert middle.last is None


def test_nothing_is_built_before_it_is_wanted(slots: FrameSlots) -> None:
    frames = BetweenFrames(Interpolating(RuntimeError()), slots)
    for _ in range(3):
        assert frames.fill(request(0)) == 0.0
    assert frames._builder is None


@pytest.mark.parametrize("made", [None, RecipeError("interpolator x.safetensors is not one")])
def test_a_pipeline_without_an_interpolator_renders_on(made: Any, slots: FrameSlots,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    frames = built(Interpolating(made), slots)
    assert frames.fill(request(0, 1)) == frames.fill(request(0, 1)) == 0.0
    assert ("x.safetensors" in caplog.text) is (made is not None)
