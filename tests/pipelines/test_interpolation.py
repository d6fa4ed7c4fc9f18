"""Pictures between two: along the motion, nearer to the truth than a blend, and none where the scene changes."""

from __future__ import annotations

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels
from lcm_daemon.recipes.recipe import Recipe
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch.nn import functional

    from lcm_daemon.pipelines.interpolation import Interpolator

SIDE = 128


def scene(seed: int) -> Pixels:
    """Soft spots of all sizes, wider than the view: float32 (h, w, 3) from 0 to 1."""
    noise = torch.Generator().manual_seed(seed)
    layers = [functional.interpolate(torch.rand(1, 3, 2**level, 2**level, generator=noise), (256, 256), mode="bicubic")
              * 0.8**level for level in range(2, 7)]
    whole = sum(layers)[0].permute(1, 2, 0)
    return ((whole - whole.min()) / (whole.max() - whole.min())).numpy()


def view(picture: Pixels, left: float, top: float = 0.0, turned: float = 0.0) -> Pixels:
    """What a camera sees whose view centre is (left, top) pixels off the scene's: uint8 (SIDE, SIDE, 4)."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] - SIDE / 2.0
    x, y = x * np.cos(turned) - y * np.sin(turned) + left, x * np.sin(turned) + y * np.cos(turned) + top
    grid = torch.from_numpy(np.stack([x, y], 2)).float()[None] / SIDE  # -1 to 1 for the whole scene, twice as wide
    seen = functional.grid_sample(torch.from_numpy(picture).permute(2, 0, 1)[None], grid, align_corners=False,
                                  padding_mode="reflection")[0].permute(1, 2, 0).numpy()
    return np.dstack([np.round(seen * 255), np.full((SIDE, SIDE), 200)]).astype(np.uint8)


def interpolator() -> Interpolator:
    return Interpolator(Recipe("own"), torch.device("cpu"))


def error(made: Pixels, true: Pixels) -> float:
    return float(np.square(made[8:-8, 8:-8, :3].astype(float) - true[8:-8, 8:-8, :3]).mean())


@pytest.mark.parametrize("turn", [0.0, 0.05])
@pytest.mark.parametrize(("step", "most"), [(1.5, 0.75), (6.0, 0.2)])
def test_every_picture_between_is_nearer_to_the_truth_than_a_blend(step: float, most: float, turn: float) -> None:
    whole = scene(1)
    first, *true, last = (view(whole, step * part, step * part / 2, turn * part)
                          for part in (0.0, 0.25, 0.5, 0.75, 1.0))
    makes, between = interpolator(), [np.zeros_like(first) for _ in range(3)]
    assert not makes.make(first, between), "the first has none before it"
    assert makes.make(last, between)
    for part, made, wanted in zip((0.25, 0.5, 0.75), between, true, strict=True):
        blended = first * (1 - part) + last * part
        assert error(made, wanted) < most * error(blended, wanted)
        assert (made[..., 3] == 200).all()


def test_a_small_thing_that_moves_is_moved_and_noise_is_left_alone() -> None:
    flat = np.full((SIDE, SIDE, 4), 40, np.uint8)
    first, last, out = flat.copy(), flat.copy(), flat.copy()
    first[60:68, 40:48], last[60:68, 44:52] = 200, 200  # less than a level of the whole picture
    makes = interpolator()
    makes.make(first, ())
    assert makes.make(last, [out])
    assert abs(float((out[64, :, 0] > 120).nonzero()[0].mean()) - 45.5) < 1.0
    noise = np.random.default_rng(0)
    makes.make(flat + noise.integers(0, 4, flat.shape, np.uint8), ())
    assert not makes.make(flat + noise.integers(0, 4, flat.shape, np.uint8), [out])


def test_a_cut_makes_no_picture_and_the_next_one_follows_on_the_new_scene() -> None:
    scenes, makes, out = [scene(1), scene(2)], interpolator(), np.zeros((SIDE, SIDE, 4), np.uint8)
    makes.make(view(scenes[0], 0), ())
    assert makes.make(view(scenes[0], 2), [out])
    untouched = out.copy()
    assert not makes.make(view(scenes[1], 4), [out])
    assert np.array_equal(out, untouched)
    assert makes.make(view(scenes[1], 6), [out])
    assert error(out, view(scenes[1], 5)) < 4.0


def test_a_cut_to_the_negative_and_one_to_black_make_none() -> None:
    picture = view(scene(1), 0)
    for other in (255 - picture, np.zeros_like(picture)):
        makes = interpolator()
        makes.make(picture, ())
        assert not makes.make(other, [picture.copy()])


def test_a_change_of_light_alone_is_no_cut() -> None:
    picture = view(scene(1), 0)
    darker = (picture * 0.8).astype(np.uint8)
    makes, out = interpolator(), np.zeros_like(picture)
    makes.make(picture, ())
    assert makes.make(darker, [out])
    assert np.abs(out[..., :3].mean() - picture[..., :3].mean() * 0.9) < 1.5


def test_an_equal_picture_and_one_after_forgetting_make_none() -> None:
    whole, makes = scene(1), interpolator()
    out = np.zeros((SIDE, SIDE, 4), np.uint8)
    makes.make(view(whole, 0), ())
    assert not makes.make(view(whole, 0), [out])
    makes.forget()
    assert not makes.make(view(whole, 2), [out])
    assert makes.make(view(whole, 4), [out])
