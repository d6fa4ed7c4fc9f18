"""Scaling keeps colours, alpha and places; channel order and flips are exact."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lcm_daemon.core.frame import Pixels, check_pixels, solid
from lcm_daemon.transports.resize import fit, flip, swap_red_blue

HOWS = ("cover", "contain", "stretch")
COLOURS = [(255, 0, 0, 255), (0, 255, 0, 128), (0, 0, 255, 0), (200, 180, 40, 64)]


def noise(width: int, height: int) -> Pixels:
    return np.random.default_rng(5).integers(0, 256, (height, width, 4), dtype=np.uint8)


def quarters(width: int, height: int) -> Pixels:
    pixels = solid((width, height), COLOURS[0])
    pixels[: height // 2, width // 2 :] = COLOURS[1]
    pixels[height // 2 :, : width // 2] = COLOURS[2]
    pixels[height // 2 :, width // 2 :] = COLOURS[3]
    return pixels


@pytest.mark.parametrize("how", HOWS)
def test_right_size_is_returned_as_it_is(how) -> None:
    pixels = noise(32, 16)
    assert fit(pixels, (32, 16), how) is pixels


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 90)] * 4), st.sampled_from(HOWS))
def test_every_size_becomes_every_size(sizes, how) -> None:
    width, height, to_width, to_height = sizes
    colour = (200, 30, 77, 120)
    out = check_pixels(fit(solid((width, height), colour), (to_width, to_height), how))
    assert out.shape == (to_height, to_width, 4)
    inside = out[(out != (0, 0, 0, 255)).any(axis=2)]
    assert len(inside)
    assert (inside == colour).all()
    assert how == "contain" or len(inside) == to_width * to_height


@pytest.mark.parametrize("size", [(64, 64), (300, 200), (1024, 500)])
def test_corners_keep_colour_alpha_and_place(size) -> None:
    out = fit(quarters(256, 144), size, "stretch")
    places = [out[y, x] for y in (4, -5) for x in (4, -5)]
    assert [tuple(place) for place in places] == COLOURS


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 480), (200, 512)])
def test_is_as_good_as_pillow(width, height) -> None:
    """Pillow's bilinear widens its filter when shrinking; RGBX keeps it from multiplying by alpha."""
    small = noise(20, 20)
    pixels = np.ascontiguousarray(np.kron(small, np.ones((height // 20 + 1, width // 20 + 1, 1), np.uint8)))
    pixels = np.ascontiguousarray(pixels[:height, :width])
    image = Image.frombuffer("RGBX", (width, height), pixels, "raw", "RGBX", 0, 1)
    expected = np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(fit(pixels, (256, 256), "stretch", alpha="ignore") - expected).max() <= 2


def test_shrinking_a_fine_grid_gives_grey() -> None:
    pixels = solid((512, 512))
    pixels[::2, ::2, :3] = pixels[1::2, 1::2, :3] = 255
    out = fit(pixels, (100, 100), "stretch")[8:-8, 8:-8, :3].astype(int)
    assert np.abs(out - 127).max() <= 3


def test_cover_cuts_both_sides_alike() -> None:
    pixels = solid((300, 100), (10, 20, 30, 40))
    pixels[:, :100] = (255, 0, 0, 255)
    pixels[:, 200:] = (0, 0, 255, 255)
    assert (fit(pixels, (50, 50), "cover")[:, 2:-2] == (10, 20, 30, 40)).all()


def test_cover_that_only_cuts_is_exact() -> None:
    pixels = noise(300, 100)
    out = check_pixels(fit(pixels, (100, 100), "cover"))
    assert (out == pixels[:, 100:200]).all()


def test_contain_pads_with_opaque_black() -> None:
    out = fit(solid((100, 50), (9, 9, 9, 9)), (64, 64), "contain")
    assert (out[:16] == (0, 0, 0, 255)).all()
    assert (out[48:] == (0, 0, 0, 255)).all()
    assert (out[16:48] == (9, 9, 9, 9)).all()


@pytest.mark.parametrize("with_out", [False, True])
def test_swap_and_flip(with_out) -> None:
    pixels = noise(30, 20)
    out = np.empty_like(pixels) if with_out else None
    swapped = swap_red_blue(pixels, out)
    assert with_out is (swapped is out)
    assert (check_pixels(swapped) == pixels[..., [2, 1, 0, 3]]).all()
    flipped = flip(pixels, out)
    assert with_out is (flipped is out)
    assert (check_pixels(flipped) == pixels[::-1]).all()


def test_input_is_left_alone() -> None:
    pixels = noise(64, 48)
    before = pixels.copy()
    for how in HOWS:
        fit(pixels, (31, 77), how)
    swap_red_blue(pixels)
    flip(pixels)
    assert (pixels == before).all()


@pytest.mark.slow
def test_threads_scale_side_by_side() -> None:
    """Each thread's results are its own."""
    results: dict[int, list[bool]] = {}
    inputs = [solid((1280, 720), (n, n, n, n)) for n in (10, 200)]

    def work(index: int) -> None:
        sizes = [(320 + 32 * index, 200 + 10 * step) for step in range(8)]
        results[index] = [bool((fit(inputs[index], size, "stretch") == inputs[index][0, 0]).all()) for size in sizes]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(all(results[index]) for index in range(2))
