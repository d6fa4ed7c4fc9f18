"""StillInput: frames with equal pixels are one input."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.feeder import Feeder
from lcm_daemon.render.player import RenderInput
from lcm_daemon.render.still_input import StillInput


def frame(number: int, grey: int) -> Frame:
    return Frame(solid((64, 36), (grey, grey, grey, 255)), number, float(number))


def test_a_repeated_picture_is_the_same_frame() -> None:
    still, first = StillInput(), frame(0, 10)
    assert [still.settle(frame_) for frame_ in (first, first, frame(1, 10), frame(2, 10))] == [first] * 4


def test_any_other_pixel_is_a_new_frame() -> None:
    still, first, second = StillInput(), frame(0, 10), frame(1, 10)
    second.pixels[35, 63, 2] += 1  # not among those that are compared first
    assert still.settle(first) is first
    assert still.settle(second) is second
    assert not np.array_equal(first.pixels, second.pixels)


def test_another_size_is_a_new_frame() -> None:
    still, small = StillInput(), Frame(solid((32, 36), (10, 10, 10, 255)), 1, 1.0)
    still.settle(frame(0, 10))
    assert still.settle(small) is small


def test_without_a_frame_there_is_none_and_the_next_one_is_new() -> None:
    still, first, later = StillInput(), frame(0, 10), frame(1, 10)
    still.settle(first)
    assert still.settle(None) is None
    assert still.settle(later) is later


class Sink:
    """Stands for a player that always accepts a frame."""

    accepts_frame = True

    def __init__(self, variant: RecipeVariant) -> None:
        self.variant, self.start_values, self.inputs = variant, dict[str, object](), list[RenderInput]()

    def send(self, render_input: RenderInput, now: float) -> bool:
        self.inputs.append(render_input)
        return True


def test_a_source_that_repeats_its_picture_feeds_equal_inputs_until_a_value_changes() -> None:
    """A player does not render an input that equals the last one."""
    player = Sink(RecipeVariant(Recipe("still")))
    transition = SimpleNamespace(players=[player], leading=player, state=SimpleNamespace(playing=player.variant))
    feeder = Feeder(transition, SimpleNamespace(), frame(0, 0))  # type: ignore[arg-type]
    values = {"mode": "image", "noise": "fixed", "feedback": 0.0, "strength": 0.5}
    for number, (grey, strength) in enumerate([(10, 0.5), (10, 0.5), (10, 0.6), (11, 0.6)]):
        source = SimpleNamespace(newest=frame(number, grey))
        feeder.feed(source, source, {**values, "strength": strength}, number, float(number))
    first, second, moved, other = player.inputs
    assert first == second
    assert second != moved
    assert moved != other
