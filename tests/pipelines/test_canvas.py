"""Bytes to floats and back: exact where sizes are equal, close where they are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lcm_daemon.frame import Size, solid
from lcm_daemon.pipelines.canvas import Canvas
from tests.pipelines.conftest import make_picture

CPU = torch.device("cpu")


def test_every_byte_comes_back() -> None:
    pixels = np.arange(256 * 4, dtype=np.uint8).reshape(16, 16, 4)
    canvas, out = Canvas((16, 16), (16, 16), CPU, torch.float32), solid((16, 16))
    picture = canvas.read(pixels)
    assert picture.shape == (1, 3, 16, 16)
    assert float(picture.min()) == -1.0
    assert float(picture.max()) == pytest.approx(254 / 127.5 - 1)
    canvas.write(picture, 1.0, out)
    assert np.array_equal(out, pixels)


def test_red_is_the_first_channel_and_the_top_row_the_first() -> None:
    pixels = solid((16, 16), (255, 0, 0, 255))
    pixels[0] = (0, 0, 255, 255)
    picture = Canvas((16, 16), (16, 16), CPU, torch.float32).read(pixels)
    assert picture[0, :, 0, 0].tolist() == [-1.0, -1.0, 1.0]
    assert picture[0, :, 1, 0].tolist() == [1.0, -1.0, -1.0]


@pytest.mark.parametrize("size", [(128, 128), (96, 64), (40, 24)])
def test_scaling_is_pillows(size: Size) -> None:
    pixels = make_picture((128, 128))[:size[1], :size[0]].copy()
    picture = Canvas(size, (64, 48), CPU, torch.float32).read(pixels)
    expected = np.asarray(Image.fromarray(pixels[..., :3]).resize((64, 48), Image.Resampling.BILINEAR))
    found = (picture[0].permute(1, 2, 0).numpy() + 1) * 127.5
    inner = np.s_[2:-2, 2:-2]  # the libraries weigh the outermost pixels differently where a picture grows
    assert np.abs(found[inner] - expected[inner]).max() < 2.0


def test_a_render_grows_to_the_output_and_keeps_its_alpha() -> None:
    pixels, out = make_picture((64, 64)), solid((64, 64))
    canvas = Canvas((64, 64), (32, 32), CPU, torch.float32)
    canvas.write(canvas.read(solid((64, 64), (10, 20, 30, 40))), 1.0, out)
    assert (out == (10, 20, 30, 40)).all()
    canvas.read(pixels)
    canvas.write(torch.full((1, 3, 32, 32), 2.0), 1.0, out)  # beyond what bytes can show
    assert (out[..., :3] == 255).all()
    assert np.array_equal(out[..., 3], pixels[..., 3])


@pytest.mark.parametrize("render_size", [(64, 64), (32, 32)])
def test_mix_is_rounded_not_cut(render_size: Size) -> None:
    out = solid((64, 64))
    canvas = Canvas((64, 64), render_size, CPU, torch.float32)
    canvas.read(solid((64, 64), (0, 0, 0, 9)))
    canvas.write(torch.ones(1, 3, *render_size[::-1]), 0.5, out)
    assert (out == (128, 128, 128, 9)).all()
