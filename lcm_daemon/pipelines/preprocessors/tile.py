"""Tile: the image without its details, for ControlNets that add new ones."""

from __future__ import annotations

import torch
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor

SHRINK = 8  # the example of ControlNet 1.1 makes 512 pixels of 64 (github.com/lllyasviel/ControlNet-v1-1-nightly)


class Tile(Preprocessor):
    """The image at an eighth of its size, each pixel the mean of its area, and back."""

    is_recordable = True

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        small = functional.interpolate(image.float(), (max(height // SHRINK, 1), max(width // SHRINK, 1)), mode="area")
        large = functional.interpolate(small, (height, width), mode="bilinear")
        return large.mul_(0.5).add_(0.5).clamp_(0.0, 1.0).to(image.dtype)
