"""Split a finished model folder into training checkpoints, to continue the training from it."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from examples.train_builtin import runs

WEIGHTS = "diffusion_pytorch_model.safetensors"


def adopt(model: Path, work: Path) -> None:
    """Write the parts of a diffusers folder to the paths from which the training steps load them.

    The denoiser becomes `distillation.pt`, the student that the finishing starts from. Existing files stay.
    """
    _keep(work / "vae.pt", {"vae": _read(model / "vae")})
    _keep(work / "distillation.pt", {"average": _read(model / "unet"), "step": 0})
    _keep(work / "controlnet.pt", {"average": _read(model / "controlnet"), "step": 0})
    for folder in ("text_encoder", "tokenizer", "loras"):
        if not (work / folder).exists():
            shutil.copytree(model / folder, work / folder)


def _read(folder: Path) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}


def _keep(path: Path, state: dict[str, object]) -> None:
    if not path.exists():
        runs.write(path, state)
