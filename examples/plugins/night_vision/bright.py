"""Preprocessor `bright`: a control map that is white where the image is bright."""

from __future__ import annotations

import torch

from lcm_daemon.pipelines.preprocessors.base import Preprocessor


class Bright(Preprocessor):
    is_recordable = True  # as part of a CUDA graph: it launches the same kernels for each image

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(1, keepdim=True).gt(0).to(image.dtype).expand_as(image)
