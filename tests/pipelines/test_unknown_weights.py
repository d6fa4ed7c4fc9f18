"""A folder whose file has weights that its class does not know is of another kind of model, and is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.parts import ControlNet
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import torch
    from safetensors.torch import load_file, save_file

    from lcm_daemon.pipelines.components import load_components

MODEL = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_checkpoint(tmp_path_factory.mktemp("model") / "model")


def load(folder: Path, **parts: Any) -> str:
    """Load a model; return the error, or ""."""
    try:
        load_components(recipe_of(folder, **parts), torch.device("cpu"), torch.float32, lambda line: None)
    except RecipeError as error:
        return str(error)
    return ""


def add(file: Path, *names: str) -> None:
    save_file(load_file(file) | {name: torch.zeros(2) for name in names}, file, metadata={"format": "pt"})


def test_in_the_folder_of_a_unet(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    add(copy / "unet" / MODEL, "b.weight", "a.weight")
    assert load(copy) == (f"recipe tiny: unet at {copy / 'unet'} cannot be loaded: it has weights of another kind of "
                          "model: UNet2DConditionModel has no a.weight (and 1 more)")


def test_in_the_folder_of_a_controlnet(model: Path, tmp_path: Path) -> None:
    network = tiny.write_controlnet(tmp_path / "control", model)
    parts = {"controlnets": (ControlNet("edges", str(network)),)}
    assert load(model, **parts) == ""
    add(network / MODEL, "mystery.weight")
    assert load(model, **parts).endswith("another kind of model: ControlNetModel has no mystery.weight")


def test_text_encoders_may_have_more(model: Path, tmp_path: Path) -> None:
    """Many are cut out of a whole CLIP, whose other half stays in the file."""
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    add(copy / "text_encoder" / "model.safetensors", "visual_projection.weight")
    assert load(copy) == ""
