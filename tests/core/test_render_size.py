"""The limits of the render size."""

from __future__ import annotations

import pytest

from lcm_daemon.core.render_size import (
    MAX_SIDE,
    MIN_SIDE,
    SIDE_STEP,
    is_render_size,
    nearest_render_size,
    nearest_sizes,
)
from lcm_daemon.core.requests import COMMANDS
from lcm_daemon.recipes.reader import load_recipe, recipe_names


@pytest.mark.parametrize(("size", "allowed"), [
    ((64, 64), True), ((2048, 2048), True), ((512, 384), True),
    ((56, 64), False), ((64, 2056), False), ((100, 64), False), ((512.0, 512), False), (("512", 512), False),
])
def test_a_render_size_is_checked(size: tuple[object, object], allowed: bool) -> None:
    assert is_render_size(*size) == allowed


@pytest.mark.parametrize(("size", "nearest"), [
    ((512, 384), (512, 384)), ((501, 387), (504, 384)), ((1, 9999), (64, 2048)), ((511.6, 64.0), (512, 64)),
])
def test_any_size_has_a_nearest_render_size(size: tuple[float, float], nearest: tuple[int, int]) -> None:
    assert nearest_render_size(*size) == nearest
    assert is_render_size(*nearest)


@pytest.mark.parametrize(("size", "line"), [
    ((854, 480), "[854, 480] is not in multiples of 8; the nearest sizes are [848, 480] and [856, 480]"),
    ((853, 479), "[853, 479] is not in multiples of 8; the nearest sizes are [848, 472] and [856, 480]"),
    ((2041, 65), "[2041, 65] is not in multiples of 8; the nearest sizes are [2040, 64] and [2048, 72]"),
    ((60, 480), ""), ((854, 2049), ""), ((854,), ""), (("a", 480), ""),
])
def test_the_sizes_next_to_a_wrong_one_are_named(size: tuple[object, ...], line: str) -> None:
    assert nearest_sizes(size, MIN_SIDE, MAX_SIDE, SIDE_STEP) == line


def test_commands_and_recipes_keep_to_it() -> None:
    sides = COMMANDS["size"].arguments
    assert {(side.low, side.high) for side in sides} == {(MIN_SIDE, MAX_SIDE)}
    assert MIN_SIDE % SIDE_STEP == MAX_SIDE % SIDE_STEP == 0
    assert all(is_render_size(*load_recipe(name).size) for name in recipe_names())
