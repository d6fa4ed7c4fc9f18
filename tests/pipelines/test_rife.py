"""RIFE: random weights in the layouts of Practical-RIFE and ComfyUI, held to the formulas of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import inference_mode
from tests.pipelines.test_interpolation import scene, view
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from safetensors.torch import save_file
    from torch import Tensor
    from torch.nn import functional

    from lcm_daemon.pipelines.interpolation import Interpolator
    from lcm_daemon.pipelines.rife import read_rife

WIDTHS = 12, 8, 8, 4, 4
HEAD = 4


def weights() -> dict[str, Tensor]:
    """The names of Practical-RIFE 4.25, with fewer channels."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "encode.cnn0": (16, 3, 3, 3), "encode.cnn1": (16, 16, 3, 3), "encode.cnn2": (16, 16, 3, 3),
        "encode.cnn3": (16, HEAD, 4, 4)}
    for number, width in enumerate(WIDTHS):
        block, inputs = f"block{number}", (20 if number else 7) + 2 * HEAD
        shapes |= {f"{block}.conv0.0.0": (width // 2, inputs, 3, 3), f"{block}.conv0.1.0": (width, width // 2, 3, 3),
                   f"{block}.lastconv.0": (width, 52, 4, 4)}
        shapes |= {f"{block}.convblock.{layer}.conv": (width, width, 3, 3) for layer in range(8)}
    tensors = {f"{name}.weight": torch.randn(shape) * 0.15 for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": torch.randn(shape[1] if "cnn3" in name or "lastconv" in name else shape[0]) * 0.1
                for name, shape in shapes.items()}
    return tensors | {f"block{number}.convblock.{layer}.beta": torch.rand(1, width, 1, 1)
                      for number, width in enumerate(WIDTHS) for layer in range(8)}


def original(tensors: dict[str, Tensor], first: Tensor, second: Tensor, moment: float) -> Tensor:
    """Practical-RIFE 4.25, IFNet_HDv3.py and warplayer.py, for sides that are multiples of 64."""
    def layer(name: str, image: Tensor, stride: int) -> Tensor:
        return functional.conv2d(image, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride, 1)

    def slope(image: Tensor) -> Tensor:
        return torch.maximum(image, image * 0.2)

    def enlarge(name: str, image: Tensor) -> Tensor:
        return functional.conv_transpose2d(image, tensors[f"{name}.weight"], tensors[f"{name}.bias"], 2, 1)

    def encode(image: Tensor) -> Tensor:
        for number, stride in enumerate((2, 1, 1)):
            image = slope(layer(f"encode.cnn{number}", image, stride))
        return enlarge("encode.cnn3", image)

    def warp(image: Tensor, flow: Tensor) -> Tensor:
        height, width = image.shape[2:]
        x, y = torch.linspace(-1, 1, width).expand(height, width), torch.linspace(-1, 1, height)[:, None]
        grid = torch.stack((x + flow[0, 0] / ((width - 1) / 2), y + flow[0, 1] / ((height - 1) / 2)), 2)
        return functional.grid_sample(image, grid[None], padding_mode="border", align_corners=True)

    def block(number: int, known: Tensor, flow: Tensor | None, scale: int) -> tuple[Tensor, Tensor, Tensor]:
        known = functional.interpolate(known, scale_factor=1 / scale, mode="bilinear")
        if flow is not None:
            known = torch.cat((known, functional.interpolate(flow, scale_factor=1 / scale, mode="bilinear") / scale), 1)
        for half in (0, 1):
            known = slope(layer(f"block{number}.conv0.{half}.0", known, 2))
        for part in range(8):
            name = f"block{number}.convblock.{part}"
            known = slope(layer(f"{name}.conv", known, 1) * tensors[f"{name}.beta"] + known)
        made = functional.pixel_shuffle(enlarge(f"block{number}.lastconv.0", known), 2)
        made = functional.interpolate(made, scale_factor=float(scale), mode="bilinear")
        return made[:, :4] * scale, made[:, 4:5], made[:, 5:]

    features, time = (encode(first), encode(second)), torch.full_like(first[:, :1], moment)
    flow, mask, passed = block(0, torch.cat((first, second, *features, time), 1), None, 16)
    for number, scale in ((1, 8), (2, 4), (3, 2), (4, 1)):
        moved = [warp(image, flow[:, 2 * place:2 * place + 2])
                 for images in ((first, second), features) for place, image in enumerate(images)]
        change, mask, passed = block(number, torch.cat((*moved, time, mask, passed), 1), flow, scale)
        flow = flow + change
    shares = mask.sigmoid()
    return warp(first, flow[:, :2]) * shares + warp(second, flow[:, 2:]) * (1 - shares)


def write(folder: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, folder / "rife.safetensors")
    return folder / "rife.safetensors"


@pytest.mark.parametrize("layout", ["practical", "comfy"])
@inference_mode
def test_it_computes_what_the_original_does(layout: str, tmp_path: Path) -> None:
    tensors = weights()
    first, second = torch.rand(2, 1, 3, 64, 128)
    expected = original(tensors, first, second, 0.25)
    named = {(name.replace("block", "blocks.", 1) if name.startswith("block") else name) if layout == "comfy"
             else f"module.{name}": tensor for name, tensor in tensors.items()}
    network = read_rife(write(tmp_path, {**named, "module.caltime.0.weight": torch.zeros(2)}))
    torch.testing.assert_close(network(first, second, 0.25), expected, atol=1e-4, rtol=1e-4)
    assert network(first[..., :60, :100], second[..., :60, :100], 0.5).shape == (1, 3, 60, 100)


def test_another_version_is_refused(tmp_path: Path) -> None:
    older = {name: tensor for name, tensor in weights().items() if not name.startswith("block4")}
    for tensors, words in ((older, "it is not RIFE 4.25 or 4.26"),
                           ({**weights(), "block2.lastconv.0.bias": torch.zeros(24)}, r"blocks\.2\.lastconv\.0\.bias")):
        recipe = Recipe("own", interpolator=str(write(tmp_path, tensors)))
        with pytest.raises(RecipeError, match=f"own: interpolator .*rife.safetensors cannot be loaded: .*{words}"):
            Interpolator(recipe, torch.device("cpu"))


def test_a_recipes_network_makes_the_pictures_and_cuts_are_found_all_the_same(tmp_path: Path) -> None:
    first, second, other = view(scene(1), 0), view(scene(1), 2), view(scene(2), 0)
    path = write(tmp_path, weights())
    made = []
    for recipe in (Recipe("own", interpolator=str(path)), Recipe("own")):
        makes, out = Interpolator(recipe, torch.device("cpu")), np.zeros_like(first)
        makes.make(first, ())
        assert makes.make(second, [out])
        assert not makes.make(other, [out])
        made.append(out)
    assert not np.array_equal(made[0][..., :3], made[1][..., :3])
    assert np.abs(made[0][..., 3].astype(int) - (first[..., 3].astype(int) + second[..., 3]) / 2).max() <= 1


def test_without_the_file_pictures_are_moved_along_the_motion(caplog: pytest.LogCaptureFixture) -> None:
    Interpolator(Recipe("own", interpolator="/nowhere/rife.safetensors"), torch.device("cpu"))
    assert "interpolator /nowhere/rife.safetensors is not on this machine; pictures are moved" in caplog.text
