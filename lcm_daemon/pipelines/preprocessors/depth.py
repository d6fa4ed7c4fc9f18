"""Depth: near is white. Any DPT or Depth Anything model that transformers loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor, Setting, read_pretrained
from lcm_daemon.pipelines.preprocessors.intake import Normal, read_config, resize
from lcm_daemon.pipelines.scaling import Shape

_KINDS = ("dpt", "depth_anything")  # by "model_type": they say how near, not how far
# DPT's first fusion layer has weights for a second input that it never gets; published files leave them out.
_UNUSED = ("fusion_stage.layers.0.residual_layer1.", "pooler.")


class Depth(Preprocessor):
    """The model's disparity, stretched from 0 to 1 for each picture, as ControlNets for depth were trained on."""

    detector = "depth-anything/Depth-Anything-V2-Small-hf"

    def __init__(self, model: Any, config: Mapping[str, Any], setting: Setting) -> None:
        self._model, self._config, self._dtype = model, config, setting.dtype
        self._normal = Normal(config, setting.device)

    @classmethod
    def load(cls, setting: Setting) -> Depth:
        folder = setting.detector or Path()
        model = read_pretrained(transformers.AutoModelForDepthEstimation, setting, _KINDS, _UNUSED)
        if getattr(model.config, "depth_estimation_type", "relative") != "relative":
            raise ValueError("it gives metres, and a relative one is wanted")
        return cls(model, read_config(folder), setting)

    def _map(self, picture: torch.Tensor) -> torch.Tensor:
        shape = picture.shape[-2], picture.shape[-1]
        pixels = self._normal.take(resize(picture, intake_shape(shape, self._config)), self._dtype)
        depth = self._model(pixel_values=pixels).predicted_depth[:, None].float()
        depth = functional.interpolate(depth, shape, mode="bicubic")
        low, high = depth.amin(), depth.amax()
        levels = (depth - low) / (high - low).clamp_min(1e-6)
        return levels.expand(-1, 3, -1, -1).to(picture.dtype)


def intake_shape(shape: Shape, config: Mapping[str, Any]) -> Shape:
    """(height, width) that the model is shown a picture at: transformers' DPTImageProcessor, by its config."""
    wanted, step = config["size"], config.get("ensure_multiple_of") or 1
    scales = [wanted["height"] / shape[0], wanted["width"] / shape[1]]
    if config.get("keep_aspect_ratio"):
        scales = [min(scales[::-1], key=lambda scale: abs(1 - scale))] * 2  # as little as possible; height, if equal
    height, width = (round(scale * side / step) * step for scale, side in zip(scales, shape, strict=True))
    return height, width
