"""Intake: a picture as other vision models want it, made on the device.

The numbers are those of transformers' image processors, whose own way goes through bytes on the host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lcm_daemon.pipelines.scaling import Shape, scale


def resize(picture: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Bicubic, antialiased where a side shrinks, as Pillow does it; float32."""
    if picture.shape[-2:] == shape:
        return picture.float()
    return scale(picture.float(), shape, "bicubic", antialias=True)


def square(picture: torch.Tensor, side: int) -> torch.Tensor:
    """The middle of a picture, `side` pixels each way: CLIP's resize by the shorter side and cut."""
    height, width = picture.shape[-2:]
    short = min(height, width)
    resized = resize(picture, (side * height // short, side * width // short))
    top, left = (resized.shape[-2] - side) // 2, (resized.shape[-1] - side) // 2
    return resized[..., top:top + side, left:left + side]


class Normal:
    """Per channel (x - mean) / deviation, of x from 0 to 1.   config: with image_mean and image_std."""

    def __init__(self, config: Mapping[str, Any], device: torch.device) -> None:
        self._mean = _channels(config["image_mean"], device)
        self._deviation = _channels(config["image_std"], device)

    def take(self, picture: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """picture: (n, 3, h, w) from -1 to 1; what resizing made go beyond is cut, as it is in bytes."""
        return (picture.clamp(-1.0, 1.0) * 0.5 + 0.5 - self._mean).div_(self._deviation).to(dtype)


def _channels(numbers: Sequence[float], device: torch.device) -> torch.Tensor:
    return torch.tensor([float(number) for number in numbers], device=device).reshape(1, 3, 1, 1)


def read_config(folder: Path) -> dict[str, Any]:
    """The preprocessor_config.json beside a model; raises OSError or ValueError."""
    content = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("preprocessor_config.json is not a mapping")
    return content
