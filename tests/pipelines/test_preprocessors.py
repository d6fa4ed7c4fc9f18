"""Maps from pictures, each held to the definition that it follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lcm_daemon.errors import RecipeError
from lcm_daemon.frame import Pixels
from lcm_daemon.pipelines import preprocessors
from lcm_daemon.pipelines.preprocessors import base, canny
from lcm_daemon.recipe import Recipe
from lcm_daemon.recipe_parts import ControlNet

CPU = torch.device("cpu")
# Pictures, and what OpenCV 5.0.0 makes of them: Canny(GaussianBlur(cvtColor(picture, COLOR_RGB2GRAY), (5, 5), 0), 100,
# 200), as bits. One is a photograph, one shapes with soft rims, one noise.
OPENCV = np.load(Path(__file__).with_name("canny.npz"))


def picture_of(pixels: Pixels) -> torch.Tensor:
    """(h, w, 3) bytes as the canvas gives them."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def build(name: str, **control: Any) -> base.Preprocessor:
    return preprocessors.build(ControlNet("shape", "", name, **control), Recipe("own"), CPU, torch.float32)


@pytest.mark.parametrize("name", ["photograph", "leaves", "noise"])
def test_canny_is_opencvs(name: str) -> None:
    pixels = OPENCV[name]
    found = build("canny").map(picture_of(pixels))
    expected = np.unpackbits(OPENCV[f"{name}_edges"])[:pixels[..., 0].size].reshape(pixels.shape[:2])
    assert found.shape == (1, 3, *pixels.shape[:2])
    assert expected.mean() > 0.02, "a picture without edges would prove nothing"
    for channel in found[0]:
        assert np.array_equal(channel.numpy(), expected)


def test_a_weak_edge_is_followed_as_far_as_it_reaches() -> None:
    """A step of 120 levels is strong, one of 55 weak: the gradient is 2.5 times the step, by Sobel and the blur."""
    levels = torch.zeros(1, 1, 32, 256)
    levels[..., 16:, :40], levels[..., 16:, 40:200] = 120.0, 55.0
    row = canny.edges(levels)[0, 0].any(0)
    first, last = row.nonzero()[[0, -1], 0].tolist()
    assert first == 0
    assert 40 + canny.REACH - 4 <= last <= 40 + canny.REACH + 4
    weak = torch.zeros(1, 1, 32, 256)
    weak[..., 16:, :] = 55.0
    assert not canny.edges(weak).any()


def test_growing_is_the_same_on_every_device() -> None:
    found = torch.rand(1, 1, 37, 53, generator=torch.Generator().manual_seed(0)) > 0.95
    assert torch.equal(canny._grow_bytes(found), canny._grow_floats(found))


def test_canny_in_half_precision_sees_the_same() -> None:
    """Bytes survive float16 between -1 and 1 to half a level."""
    picture = picture_of(OPENCV["leaves"])
    half = build("canny").map(picture.half())
    assert half.dtype == torch.float16
    assert (half.float() != build("canny").map(picture)).float().mean() < 0.01


def test_none_takes_the_picture_as_a_map() -> None:
    picture = torch.linspace(-1.2, 1.2, 3 * 8 * 8).reshape(1, 3, 8, 8)
    torch.testing.assert_close(build("none").map(picture), (picture / 2 + 0.5).clamp(0, 1))


def test_a_map_is_made_of_one_picture() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, h, w\), got \(2, 3, 8, 8\)"):
        build("canny").map(torch.zeros(2, 3, 8, 8))


def test_an_unknown_preprocessor_is_one_line() -> None:
    with pytest.raises(RecipeError, match="recipe own: controlnet shape: there is no preprocessor 'mlsd', only canny"):
        build("mlsd")
