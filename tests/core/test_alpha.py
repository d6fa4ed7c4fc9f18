"""Alpha: straight and premultiplied, and back, as exact as 8 bits allow."""

from __future__ import annotations

import numpy as np
import pytest

from lcm_daemon.core.alpha import from_straight, is_opaque, over_black, premultiply, to_straight, unpremultiply
from lcm_daemon.core.frame import Pixels, check_pixels, solid


def every_pair() -> Pixels:
    """Every colour with every alpha, uint8 (256, 256, 4)."""
    pixels = np.empty((256, 256, 4), np.uint8)
    pixels[..., :3] = np.arange(256)[:, None, None]
    pixels[..., 3] = np.arange(256)
    return pixels


def test_premultiplied_is_the_rounded_product() -> None:
    pixels = every_pair()
    exact = pixels[..., :3].astype(float) * pixels[..., 3:] / 255
    assert np.abs(premultiply(pixels)[..., :3] - exact).max() <= 0.5
    assert (premultiply(pixels)[..., 3] == pixels[..., 3]).all()


def test_straight_again_is_as_near_as_alpha_allows() -> None:
    pixels = every_pair()
    back = check_pixels(unpremultiply(premultiply(pixels)))
    error = np.abs(back[..., 0].astype(int) - pixels[..., 0])[:, 1:]
    assert (error <= np.ceil(128 / np.arange(1, 256))).all()
    assert unpremultiply(solid((1, 1), (9, 8, 7, 0)))[0, 0].tolist() == [9, 8, 7, 0]
    assert unpremultiply(solid((1, 1), (200, 8, 7, 100)))[0, 0].tolist() == [255, 20, 18, 100]  # no colour: the nearest


def test_on_black_hidden_colours_are_black() -> None:
    pixels = solid((4, 2), (200, 100, 50, 0))
    pixels[0] = (200, 100, 50, 128)
    assert over_black(pixels)[:, 0].tolist() == [[100, 50, 25, 255], [0, 0, 0, 255]]
    assert pixels[1, 0].tolist() == [200, 100, 50, 0]  # frames are never written to


@pytest.mark.parametrize("function", [premultiply, unpremultiply, over_black])
def test_opaque_pixels_are_returned_as_they_are(function) -> None:
    pixels = solid((8, 4), (1, 2, 3, 255))
    assert function(pixels) is pixels
    assert is_opaque(pixels)
    pixels[3, 7, 3] = 254
    assert not is_opaque(pixels)
    assert not is_opaque(pixels[:, 1::2][:, 3:])


@pytest.mark.parametrize(("alpha", "in_daemon", "out"), [
    ("straight", [100, 50, 20, 128], [100, 50, 20, 128]),
    ("premultiplied", [199, 100, 40, 128], [50, 25, 10, 128]),
    ("ignore", [100, 50, 20, 255], [100, 50, 20, 255]),
])
def test_what_a_source_sends_and_a_sink_wants(alpha, in_daemon: list[int], out: list[int]) -> None:
    pixels = solid((2, 2), (100, 50, 20, 128))
    assert to_straight(pixels, alpha)[0, 0].tolist() == in_daemon
    assert from_straight(pixels, alpha)[0, 0].tolist() == out
