"""Bytes to floats and back: exact where sizes are equal, close where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core.frame import Pixels, Size, solid
from tests.pipelines.conftest import make_picture
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.image_io import FrameConverter

CPU = torch.device("cpu")


def test_every_byte_survives_the_round_trip() -> None:
    pixels = np.arange(256 * 4, dtype=np.uint8).reshape(16, 16, 4)
    converter, out = FrameConverter((16, 16), (16, 16), CPU, torch.float32), solid((16, 16))
    picture = converter.to_image(pixels)
    assert picture.shape == (1, 3, 16, 16)
    assert float(picture.min()) == -1.0
    assert float(picture.max()) == pytest.approx(254 / 127.5 - 1)
    converter.to_frame(picture, 1.0, out)
    assert np.array_equal(out, pixels)


def test_red_is_the_first_channel_and_the_top_row_the_first() -> None:
    pixels = solid((16, 16), (255, 0, 0, 255))
    pixels[0] = (0, 0, 255, 255)
    picture = FrameConverter((16, 16), (16, 16), CPU, torch.float32).to_image(pixels)
    assert picture[0, :, 0, 0].tolist() == [-1.0, -1.0, 1.0]
    assert picture[0, :, 1, 0].tolist() == [1.0, -1.0, -1.0]


@pytest.mark.parametrize("size", [(128, 128), (96, 64), (40, 24)])
def test_scaling_equals_pillow(size: Size) -> None:
    pixels = make_picture((128, 128))[:size[1], :size[0]].copy()
    picture = FrameConverter(size, (64, 48), CPU, torch.float32).to_image(pixels)
    expected = np.asarray(Image.fromarray(pixels[..., :3]).resize((64, 48), Image.Resampling.BILINEAR))
    found = (picture[0].permute(1, 2, 0).numpy() + 1) * 127.5
    inner = np.s_[2:-2, 2:-2]  # the libraries weigh the outermost pixels differently where a picture grows
    assert np.abs(found[inner] - expected[inner]).max() < 2.0


def test_a_result_is_scaled_to_the_output_and_keeps_its_alpha() -> None:
    pixels, out = make_picture((64, 64)), solid((64, 64))
    converter = FrameConverter((64, 64), (32, 32), CPU, torch.float32)
    converter.to_frame(converter.to_image(solid((64, 64), (10, 20, 30, 40))), 1.0, out)
    assert (out == (10, 20, 30, 40)).all()
    converter.to_image(pixels)
    converter.to_frame(torch.full((1, 3, 32, 32), 2.0), 1.0, out)  # beyond what bytes can show
    assert (out[..., :3] == 255).all()
    assert np.array_equal(out[..., 3], pixels[..., 3])


@pytest.mark.parametrize("render_size", [(64, 64), (32, 32)])
def test_mix_is_rounded_not_cut(render_size: Size) -> None:
    out = solid((64, 64))
    converter = FrameConverter((64, 64), render_size, CPU, torch.float32)
    converter.to_image(solid((64, 64), (0, 0, 0, 9)))
    converter.to_frame(torch.ones(1, 3, *render_size[::-1]), 0.5, out)
    assert (out == (128, 128, 128, 9)).all()


# --- pictures that are none ---


def broken(where: str, value: float, render_size: Size = (16, 16)) -> torch.Tensor:
    picture = torch.full((1, 3, *render_size[::-1]), 0.5)
    picture[0, 1, 3, 3 if where == "pixel" else slice(None)] = value
    return picture


def write(converter: FrameConverter, given: Pixels, picture: torch.Tensor, mix: float = 1.0) -> tuple[bool, Pixels]:
    out = solid((16, 16), (1, 2, 3, 4))
    converter.to_image(given)
    return converter.to_frame(picture, mix, out), out


@pytest.mark.parametrize("mix", [1.0, 0.5])
@pytest.mark.parametrize("render_size", [(16, 16), (8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("where", "value"), [("pixel", float("nan")), ("row", float("inf")), ("pixel", -float("inf"))])
def test_after_a_broken_image_the_last_good_one_stays(
        where: str, value: float, dtype: torch.dtype, render_size: Size, mix: float) -> None:
    converter = FrameConverter((16, 16), render_size, CPU, dtype)
    whole = torch.full((1, 3, *render_size[::-1]), 0.25).to(dtype)
    fine, shown = write(converter, solid((16, 16), (0, 0, 0, 9)), whole, mix)
    assert fine
    level = int(shown[0, 0, 0])
    for number in range(3):
        given = solid((16, 16), (200, 10, 10, number))
        fine, out = write(converter, given, broken(where, value, render_size).to(dtype), mix)
        assert not fine
        assert (out == (level, level, level, number)).all()
    fine, out = write(converter, solid((16, 16), (0, 0, 0, 9)), torch.ones_like(whole))
    assert fine
    assert (out == (255, 255, 255, 9)).all()


def test_a_broken_first_image_shows_the_input() -> None:
    converter, given = FrameConverter((16, 16), (16, 16), CPU, torch.float32), make_picture((16, 16))
    assert np.array_equal(write(converter, given, broken("row", float("nan")))[1], given)
    write(converter, given, torch.zeros(1, 3, 16, 16))
    converter.clear()  # something else was seen since
    assert np.array_equal(write(converter, given, broken("row", float("nan")))[1], given)


def test_the_largest_values_of_half_precision_are_not_broken() -> None:
    """Its sum is beyond what half precision holds."""
    converter, out = FrameConverter((512, 512), (512, 512), CPU, torch.float16), solid((512, 512))
    converter.to_image(out)
    assert converter.to_frame(torch.full((1, 3, 512, 512), 65504.0, dtype=torch.float16), 1.0, out)
    assert (out[..., :3] == 255).all()


def test_the_broken_flag_is_copied_with_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a separate device there is one copy to the host per frame, and no other wait."""
    copies: list[int] = []
    converter = FrameConverter((16, 16), (8, 8), CPU, torch.float32)
    converter._on_device = type(converter._next)((16, 16), CPU)
    real = torch.Tensor.copy_

    inside: list[bool] = []  # a mode of torch may copy by calling the method again

    def copy(self: torch.Tensor, other: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        buffers = [buffer.memory.data_ptr() for buffer in (converter._next, converter._last) if buffer]
        if self.data_ptr() in buffers and not inside:
            copies.append(self.numel())
        inside.append(True)
        try:
            return real(self, other, non_blocking)
        finally:
            inside.pop()

    monkeypatch.setattr(torch.Tensor, "copy_", copy)
    fine, first = write(converter, solid((16, 16), (0, 0, 0, 9)), torch.zeros(1, 3, 8, 8))
    assert fine
    assert (first == (128, 128, 128, 9)).all()
    fine, out = write(converter, solid((16, 16), (0, 0, 0, 7)), broken("row", float("nan"), (8, 8)))
    assert not fine
    assert (out == (128, 128, 128, 7)).all()
    assert copies == [16 * 16 * 4 + 1] * 2
