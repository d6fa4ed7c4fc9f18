"""Prepare images for vision models, on the device.

The numbers are those of transformers' image processors, which themselves work on bytes in host memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lcm_daemon.pipelines.scaling import Shape, scale


def resize(image: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Resize (n, channels, h, w) to `shape` (height, width); float32.

    Bicubic, and antialiased if a side shrinks, as in Pillow.
    """
    if image.shape[-2:] == shape:
        return image.float()
    return scale(image.float(), shape, "bicubic", antialias=True)


def centre_square(image: torch.Tensor, side: int) -> torch.Tensor:
    """Resize the shorter side to `side` pixels and crop the centre, as CLIP does: (n, channels, side, side)."""
    height, width = image.shape[-2:]
    short = min(height, width)
    resized = resize(image, (side * height // short, side * width // short))
    top, left = (resized.shape[-2] - side) // 2, (resized.shape[-1] - side) // 2
    return resized[..., top:top + side, left:left + side]


class Normalizer:
    """Computes (x - mean) / deviation per channel, of x from 0 to 1. config: has image_mean and image_std."""

    def __init__(self, config: Mapping[str, Any], device: torch.device) -> None:
        self._mean = _channels(config["image_mean"], device)
        self._deviation = _channels(config["image_std"], device)

    def normalize(self, image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Normalize (n, 3, h, w) from -1 to 1. Values outside (from resizing) are clamped, as in bytes."""
        return (image.clamp(-1.0, 1.0) * 0.5 + 0.5 - self._mean).div_(self._deviation).to(dtype)


def _channels(numbers: Sequence[float], device: torch.device) -> torch.Tensor:
    return torch.tensor([float(number) for number in numbers], device=device).reshape(1, 3, 1, 1)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the preprocessor_config.json of a model; raises OSError or ValueError."""
    content = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("preprocessor_config.json is not a mapping")
    return content
