"""Images that a network enlarges: whose it is, how often it runs, and that it beats interpolation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import inference_mode, make_picture, values
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import torch
    from safetensors.torch import save_file
    from torch import Tensor
    from torch.nn import functional

    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from lcm_daemon.pipelines.upscaler_networks import CompactNetwork, DenseNetwork, read_network
    from lcm_daemon.pipelines.upscaling import Upscaler


def upscaler_of(render: Size, output: Size, upscaler: str = "") -> Upscaler:
    return Upscaler(Recipe("own", size=render, upscaler=upscaler), output, torch.device("cpu"), torch.float16)


def compact(scale: int = 4) -> dict[str, Tensor]:
    """Random weights in the layout of realesr-general-x4v3, with fewer layers."""
    torch.manual_seed(0)
    tensors = {f"body.{number}.weight": torch.randn(8, 3 if number == 0 else 8, 3, 3) * 0.2 for number in (0, 2, 4)}
    tensors["body.6.weight"] = torch.randn(3 * scale**2, 8, 3, 3) * 0.2
    tensors |= {f"body.{number}.weight": torch.rand(8) for number in (1, 3, 5)}
    return tensors | {f"body.{number}.bias": torch.randn(len(tensors[f"body.{number}.weight"])) * 0.1
                      for number in (0, 2, 4, 6)}


def dense(inputs: int = 12) -> dict[str, Tensor]:
    """Random weights in the layout of RealESRGAN_x2plus, with fewer blocks."""
    torch.manual_seed(0)
    shapes = {"conv_first": (8, inputs), "conv_body": (8, 8), "conv_up1": (8, 8), "conv_up2": (8, 8),
              "conv_hr": (8, 8), "conv_last": (3, 8)}
    for block in (0, 1):
        for part in (1, 2, 3):
            shapes |= {f"body.{block}.rdb{part}.conv{layer}": (4 if layer < 5 else 8, 8 + 4 * (layer - 1))
                       for layer in range(1, 6)}
    return {f"{name}.{kind}": torch.randn(*shape, 3, 3) * 0.1 if kind == "weight" else torch.randn(shape[0]) * 0.1
            for name, shape in shapes.items() for kind in ("weight", "bias")}


def write(folder: Path, tensors: dict[str, Tensor], prefix: str = "") -> Path:
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, folder / "net.safetensors")
    return folder / "net.safetensors"


@pytest.mark.parametrize(("scale", "prefix"), [(2, ""), (4, "params."), (3, "params_ema.")])
@inference_mode
def test_a_compact_network_is_that_of_real_esrgan(scale: int, prefix: str, tmp_path: Path) -> None:
    """Real-ESRGAN, realesrgan/archs/srvgg_arch.py: levels from 0 to 1, and the input itself, enlarged, is added."""
    weights = compact(scale)
    network = read_network(write(tmp_path, weights, prefix))
    image = torch.rand(1, 3, 6, 5)
    features = image
    for number in (0, 2, 4):
        layer = weights[f"body.{number}.weight"], weights[f"body.{number}.bias"]
        features, slopes = functional.conv2d(features, *layer, padding=1), weights[f"body.{number + 1}.weight"]
        features = torch.where(features >= 0, features, features * slopes.view(1, -1, 1, 1))
    features = functional.conv2d(features, weights["body.6.weight"], weights["body.6.bias"], padding=1)
    expected = functional.pixel_shuffle(features, scale) + image.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert isinstance(network, CompactNetwork)
    assert network.scale == scale
    torch.testing.assert_close(network(image * 2 - 1), expected * 2 - 1)


@pytest.mark.parametrize(("inputs", "scale"), [(12, 2), (3, 4)])
@inference_mode
def test_a_dense_network_is_that_of_real_esrgan(inputs: int, scale: int, tmp_path: Path) -> None:
    """basicsr/archs/rrdbnet_arch.py: residuals count a fifth, slopes are 0.2, a doubling network halves its input."""
    weights = dense(inputs)
    network = read_network(write(tmp_path, weights))
    image = torch.rand(1, 3, 6, 4)

    def layer(name: str, features: Tensor, slope: float = 0.2) -> Tensor:
        made = functional.conv2d(features, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
        return torch.where(made >= 0, made, made * slope)

    features = first = layer("conv_first", functional.pixel_unshuffle(image, 2) if scale == 2 else image, 1.0)
    for block in (0, 1):
        inner = features
        for part in (1, 2, 3):
            seen = [inner]
            for number in range(1, 5):
                seen.append(layer(f"body.{block}.rdb{part}.conv{number}", torch.cat(seen, 1)))
            inner = inner + 0.2 * layer(f"body.{block}.rdb{part}.conv5", torch.cat(seen, 1), 1.0)
        features = features + 0.2 * inner
    features = first + layer("conv_body", features, 1.0)
    for name in ("conv_up1", "conv_up2"):
        features = layer(name, features.repeat_interleave(2, 2).repeat_interleave(2, 3))
    expected = layer("conv_last", layer("conv_hr", features), 1.0)
    assert isinstance(network, DenseNetwork)
    assert network.scale == scale
    torch.testing.assert_close(network(image * 2 - 1), expected * 2 - 1)


def test_a_file_that_is_something_else_is_refused_with_its_name(tmp_path: Path) -> None:
    other = write(tmp_path, {"lora_unet_up.weight": torch.zeros(2)})
    with pytest.raises(RecipeError, match=r"recipe own: upscaler .*net.safetensors cannot be loaded: it is neither"):
        upscaler_of((64, 64), (128, 128), str(other))
    cut = compact()
    del cut["body.2.bias"]
    with pytest.raises(RecipeError, match=r"do not fit a CompactNetwork: .*body\.2\.bias"):
        upscaler_of((64, 64), (128, 128), str(write(tmp_path, cut)))
    (tmp_path / "net.safetensors").write_bytes(b"<html>")
    with pytest.raises(RecipeError, match=r"net.safetensors cannot be loaded: "):
        upscaler_of((64, 64), (128, 128), str(other))


def test_where_the_file_is_absent_the_packages_own_is_used(caplog: pytest.LogCaptureFixture) -> None:
    upscaler = upscaler_of((64, 64), (128, 128), "/nowhere/net.safetensors")
    assert "upscaler /nowhere/net.safetensors is not on this machine" in caplog.text
    assert upscaler.prepare(2) == 1
    assert upscaler.factors() == [1, 2]
    assert upscaler_of((64, 64), (256, 256)).factors() == [1, 2, 3]
    assert upscaler_of((64, 64), (64, 64)).factors() == [1]


@pytest.mark.parametrize(("output", "expected"), [
    ((64, 64), [0, 0, 0]), ((48, 64), [0, 0, 0]), ((128, 128), [0, 1, 1]), ((80, 64), [0, 1, 1]),
    ((256, 256), [0, 1, 2]), ((1024, 512), [0, 1, 2]),
])
def test_it_runs_until_the_picture_is_as_large_as_the_output(output: Size, expected: list[int]) -> None:
    upscaler = upscaler_of((64, 64), output)
    assert [upscaler.prepare(factor) for factor in (1, 2, 4)] == expected
    assert [upscaler.prepare(factor) for factor in (1, 2, 4)] == expected


def test_one_pass_of_a_network_that_quadruples_is_enough(tmp_path: Path) -> None:
    upscaler = upscaler_of((64, 64), (256, 256), str(write(tmp_path, compact())))
    assert [upscaler.prepare(factor) for factor in (1, 2, 4)] == [0, 1, 1]
    assert upscaler.factors() == [1, 2]
    assert upscaler.run(torch.zeros(1, 3, 8, 8), 1).shape == (1, 3, 32, 32)


def test_off_it_reads_nothing_and_returns_the_image_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcm_daemon.pipelines.upscaling.read_edge_network", lambda file: pytest.fail("it is read"))
    upscaler, image = upscaler_of((64, 64), (128, 128)), torch.rand(1, 3, 64, 64)
    assert upscaler.run(image, upscaler.prepare(1)) is image


def painted(side: int) -> Pixels:
    """Discs and waves, whose edges lie between pixels."""
    over = 4
    y, x = np.mgrid[0:side * over, 0:side * over] / (side * over)
    picture = np.stack([0.5 + 0.3 * np.sin(20 * x + 9 * y), 0.4 + 0.4 * y, 0.6 - 0.3 * x], 2)
    for number in range(24):
        left, top, size, *colour = np.random.default_rng(number).random(6)
        picture[np.hypot(x - left, y - top) < 0.03 + 0.15 * size] = colour
    small = picture.reshape(side, over, side, over, 3).mean((1, 3))
    return np.dstack([np.round(small * 255), np.full((side, side), 255)]).astype(np.uint8)


@pytest.mark.parametrize("shrink", [Image.Resampling.BOX, Image.Resampling.LANCZOS])
@inference_mode
def test_the_packages_own_is_nearer_to_the_original_than_lanczos(shrink: Image.Resampling) -> None:
    """`tests.measure.large_pictures` has more pictures, photographs among them, and SSIM."""
    original = painted(192)
    small = Image.fromarray(original[..., :3]).resize((96, 96), shrink)
    upscaler = upscaler_of((96, 96), (192, 192))
    image = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    found = (upscaler.run(image, upscaler.prepare(2))[0] + 1) * 127.5
    lanczos = np.asarray(small.resize((192, 192), Image.Resampling.LANCZOS)).astype(float)
    errors = [np.square(made[8:-8, 8:-8] - original[8:-8, 8:-8, :3]).mean()
              for made in (found.clamp(0, 255).permute(1, 2, 0).numpy(), lanczos)]
    assert errors[0] < 0.85 * errors[1]


def paint(pipeline: LatentConsistency, **changes: Any) -> Pixels:
    out = solid(pipeline.size)
    pipeline.render(make_picture(pipeline.size), values(steps=1, **changes), out)
    return out


@pytest.mark.slow
def test_a_rendered_picture_is_enlarged_before_it_is_scaled_to_the_output(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = LatentConsistency(recipe_of(checkpoint("epsilon")), (160, 128))
    pipeline.load(lambda line: None)
    off, on = paint(pipeline), paint(pipeline, upscale=2)
    assert not np.array_equal(off, on)
    assert np.abs(off.astype(int) - on).mean() < 12
    assert np.array_equal(off[..., 3], on[..., 3])
    assert np.array_equal(paint(pipeline), off), "1 is off"
    monkeypatch.setattr(Upscaler, "run", lambda *arguments: torch.full((1, 3, 128, 128), torch.nan))
    assert np.array_equal(paint(pipeline, upscale=2), off), "a broken image is not shown"


def test_a_recipe_names_its_network() -> None:
    assert load_recipe("builtin").upscaler == ""
