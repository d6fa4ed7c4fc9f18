"""Depth maps, near is white, by any DPT or Depth Anything model that transformers loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor, PreprocessorConfig, read_pretrained
from lcm_daemon.pipelines.preprocessors.model_input import Normalizer, read_config, resize
from lcm_daemon.pipelines.scaling import Shape

# Values of "model_type". These models estimate disparity (near is large), not distance.
_MODEL_TYPES = ("dpt", "depth_anything")
# DPT's first fusion layer has weights for a second input that it never receives; published files lack them.
_UNUSED = ("fusion_stage.layers.0.residual_layer1.", "pooler.")


class Depth(Preprocessor):
    """The model's disparity, scaled to 0 to 1 for each image, which is what ControlNets for depth were trained on."""

    detector = "depth-anything/Depth-Anything-V2-Small-hf"
    is_recordable = True

    def __init__(self, model: Any, image_config: Mapping[str, Any], config: PreprocessorConfig) -> None:
        self._model, self._image_config, self._dtype = model, image_config, config.dtype
        self._normalizer = Normalizer(image_config, config.device)

    @classmethod
    def load(cls, config: PreprocessorConfig) -> Depth:
        folder = config.detector or Path()
        model = read_pretrained(transformers.AutoModelForDepthEstimation, config, _MODEL_TYPES, _UNUSED)
        if getattr(model.config, "depth_estimation_type", "relative") != "relative":
            raise ValueError("it estimates metres; use a model for relative depth")
        return cls(model, read_config(folder), config)

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        shape = image.shape[-2], image.shape[-1]
        resized = resize(image, input_shape(shape, self._image_config))
        pixels = self._normalizer.normalize(resized, self._dtype)
        depth = self._model(pixel_values=pixels).predicted_depth[:, None].float()
        depth = functional.interpolate(depth, shape, mode="bicubic")
        low, high = depth.amin(), depth.amax()
        levels = (depth - low) / (high - low).clamp_min(1e-6)
        return levels.expand(-1, 3, -1, -1).to(image.dtype)


def input_shape(shape: Shape, config: Mapping[str, Any]) -> Shape:
    """Height and width of the model's input for an image of `shape`, as in transformers' DPTImageProcessor.

    Args:
        shape: height and width of the image.
        config: content of the model's preprocessor_config.json.
    """
    wanted, step = config["size"], config.get("ensure_multiple_of") or 1
    scales = [wanted["height"] / shape[0], wanted["width"] / shape[1]]
    if config.get("keep_aspect_ratio"):
        scales = [min(scales[::-1], key=lambda scale: abs(1 - scale))] * 2  # the smaller change; the height's, if equal
    height, width = (round(scale * side / step) * step for scale, side in zip(scales, shape, strict=True))
    return height, width
