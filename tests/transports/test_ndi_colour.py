"""YUV of NDI: exact enough, whatever the size, with the matrix that the sender uses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.transports.ndi import pixel_aspect
from lcm_daemon.transports.ndi_colour import (
    BT709_TAG,
    Matrix,
    MatrixChoice,
    Plane,
    deinterlace,
    matrix_of_size,
    to_rgba,
    to_uyvy,
)

WEIGHTS: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593),
}
COLOURS = list(itertools.product((0, 64, 128, 192, 255), repeat=3))


def patches() -> Pixels:
    """125 patches of 8x8."""
    pixels = solid((96, 88))
    for index, colour in enumerate(COLOURS):
        pixels[index // 12 * 8 :, index % 12 * 8 :][:8, :8, :3] = colour
    return pixels


def encode(pixels: Pixels, matrix: Matrix = "bt709") -> Plane:
    """UYVY by the formulas of ITU-R BT.601, BT.709 and BT.2020, with 8 bits in limited range."""
    red_weight, blue_weight = WEIGHTS[matrix]
    red, green, blue = (pixels[..., channel] / 255 for channel in range(3))
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    u, v = (blue - luma) / (1 - blue_weight) * 112 + 128, (red - luma) / (1 - red_weight) * 112 + 128
    lines = np.empty((*pixels.shape[:2], 2))
    lines[..., 1] = luma * 219 + 16
    lines[:, ::2, 0], lines[:, 1::2, 0] = u[:, ::2], v[:, ::2]
    return np.rint(lines).astype(np.uint8).reshape(pixels.shape[0], -1)


def worst(pixels: Pixels, expected: Pixels) -> int:
    return int(np.abs(pixels.astype(int) - expected).max())


@pytest.mark.parametrize("matrix", list(WEIGHTS))
def test_colours_of_each_matrix(matrix: Matrix) -> None:
    assert worst(to_rgba(encode(patches(), matrix), 96, matrix), patches()) <= 3


def test_two_hops_stay_within_three() -> None:
    pixels = patches()
    for _ in range(2):
        pixels = to_rgba(to_uyvy(pixels), 96, "bt709")
    assert worst(pixels, patches()) <= 3


@pytest.mark.parametrize("width", [2, 16, 34, 96, 128, 250])
def test_what_is_sent_is_what_the_formulas_say(width: int) -> None:
    """Two pixels share the average of their chroma, at every width and at the end of memory."""
    pixels = np.ascontiguousarray(np.tile(patches(), (1, 3, 1))[:30, :width])
    sent = to_uyvy(pixels)
    pairs = pixels.reshape(30, width // 2, 2, 4).astype(float)
    averaged = np.repeat(pairs.mean(axis=2, keepdims=True), 2, axis=2).reshape(30, width, 4)
    assert np.abs(sent[:, 1::2].astype(int) - encode(pixels)[:, 1::2]).max() <= 1
    assert np.abs(sent[:, ::2].astype(int) - encode(averaged)[:, ::2]).max() <= 2


def test_what_the_runtime_makes_of_rgb_is_made_up_for() -> None:
    """Values that the runtime 6.3 sends: U, Y, V of red, blue, magenta, yellow, grey, black and white."""
    sent = [(102, 61, 239), (239, 31, 118), (213, 77, 229), (15, 219, 137), (127, 126, 128), (128, 16, 128),
            (127, 235, 128)]
    colours = [(255, 0, 0), (0, 0, 255), (255, 0, 255), (255, 255, 0), (128,) * 3, (0,) * 3, (255,) * 3]
    lines = np.array([[u, y, v, y] for u, y, v in sent], np.uint8).reshape(1, -1)
    got = to_rgba(lines, 2 * len(sent), "bt709", np.full((1, 2 * len(sent)), 9, np.uint8), is_rounded_down=True)
    assert worst(got[0, ::2, :3], np.array(colours)) <= 3
    assert (got[..., 3] == 9).all()


@pytest.mark.parametrize("width", [2, 16, 34, 250])
def test_every_width_with_line_padding(width: int) -> None:
    pixels = np.tile(patches(), (1, 3, 1))[:31, :width]
    padded = np.zeros((31, 2 * width + 12), np.uint8)
    padded[:, : 2 * width] = encode(np.ascontiguousarray(pixels))
    got = to_rgba(padded[:, : 2 * width], width, "bt709")
    assert got.shape == (31, width, 4)
    assert got.flags.c_contiguous
    assert worst(got, pixels) <= 3


def test_chroma_at_the_ends_of_its_range_does_not_wrap() -> None:
    lines = np.full((2, 8), 255, np.uint8)
    assert (to_rgba(lines, 4, "bt709", is_rounded_down=True)[..., [0, 2]] == 255).all()


@pytest.mark.parametrize(("size", "matrix"), [
    ((720, 576), "bt601"), ((720, 480), "bt601"), ((128, 96), "bt601"), ((1024, 576), "bt601"), ((1280, 720), "bt709"),
    ((512, 768), "bt709"), ((1920, 1080), "bt709"), ((3840, 2160), "bt2020"), ((1080, 1920), "bt2020"),
])
def test_the_matrix_of_a_size(size, matrix: Matrix) -> None:
    assert matrix_of_size(size) == matrix
    assert MatrixChoice().of(encode(solid((64, 36), (90, 90, 90, 255))), size, None, False) == matrix


@pytest.mark.parametrize("size", [(720, 576), (3840, 2160)])
def test_the_sender_decides_and_rgb_is_bt709(size) -> None:
    grey = encode(solid((64, 36), (90, 90, 90, 255)))
    choice = MatrixChoice()
    assert choice.of(grey, size, None, has_alpha=True) == "bt709"
    assert choice.of(grey, size, BT709_TAG, False) == "bt709"
    assert choice.of(grey, size, b'<ndi_color_info matrix="bt_601"/>', False) == "bt601"
    assert choice.of(grey, size, b'<a/><ndi_color_info primaries="bt_2020" matrix="bt_2020"/>', True) == "bt2020"
    assert choice.of(grey, size, b"<ndi_color_info\n transfer = 'bt_601' matrix = 'bt_601' />", False) == "bt601"
    assert choice.of(grey, size, b'<ndi_color_info matrix="other"/>', False) == matrix_of_size(size)
    assert choice.of(grey, size, b"<other/>", False) == matrix_of_size(size)


@pytest.mark.parametrize("size", [(720, 576), (3840, 2160)])
def test_colours_that_only_bt709_has_decide(size) -> None:
    """A sender of RGB without alpha. The decision stays, also for grey pictures, until the size changes."""
    choice, grey = MatrixChoice(), encode(solid((96, 88), (90, 90, 90, 255)))
    assert choice.of(grey, size, None, False) == matrix_of_size(size)
    assert choice.of(encode(patches()), size, None, False) == "bt709"
    assert choice.of(grey, size, None, False) == "bt709"
    assert choice.of(grey, (640, 480), None, False) == "bt601"
    assert MatrixChoice().of(encode(patches(), matrix_of_size(size)), size, None, False) == matrix_of_size(size)


def test_a_field_becomes_a_frame_with_its_lines_in_place() -> None:
    ramp = np.repeat(np.arange(0, 160, 10, dtype=np.uint8)[:, None], 8, axis=1)
    for start in (0, 1):
        whole = deinterlace(ramp[start::2], is_second=start == 1)
        assert np.abs(whole.astype(int) - ramp)[1:-1].max() == 0


@pytest.mark.parametrize(("picture", "size", "expected"), [
    (0.0, (720, 576), 1.0), (1.25, (720, 576), 1.0), (4 / 3, (720, 576), 16 / 15), (16 / 9, (720, 576), 64 / 45),
    (16 / 9, (1440, 1080), 4 / 3), (251 / 131, (250, 130), 1.0), (16 / 9, (1920, 1080), 1.0),
    (1e9, (16, 16), 10.0),
])
def test_pixel_aspect(picture: float, size, expected: float) -> None:
    assert pixel_aspect(picture, size) == pytest.approx(expected, rel=1e-3)


def test_one_pixel_edges_are_no_worse_than_the_runtimes() -> None:
    """Red with blue lines of one pixel. With the runtime's conversions the mean error is 18.9 and the largest 255."""
    pixels = solid((256, 32), (255, 0, 0, 255))
    pixels[:, 50::16] = pixels[:, 57::16] = (0, 0, 255, 255)
    error = np.abs(to_rgba(to_uyvy(pixels), 256, "bt709").astype(int) - pixels)[..., :3]
    assert error.mean() <= 18.9
    assert error.max() <= 160
