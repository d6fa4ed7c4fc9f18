"""SafetyFilter: shows no image that Stable Diffusion's safety checker rejects. The last safe one takes its place.

A picture is shown with its own verdict: both are there before the engine sends it. The last safe one is of the same
session.

The verdict equals that of diffusers' `StableDiffusionSafetyChecker`, but it is computed on the device: the checker's
own forward pass waits for the device several times. On CUDA it is part of the frame's recording, and the verdict comes
to the host with the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.pipelines.components import read_pretrained
from lcm_daemon.pipelines.load_errors import UNREADABLE, first_line
from lcm_daemon.pipelines.preprocessors.model_input import Normalizer, centre_square, read_config
from lcm_daemon.pipelines.weight_problems import WeightProblems
from lcm_daemon.pipelines.weights import find
from lcm_daemon.recipes.downloads import SAFETY
from lcm_daemon.recipes.recipe import Recipe

GREY = (96, 96, 96, 255)  # shown before any image was safe
SPECIAL_CARE = 0.01  # lowers all thresholds where a special concept is recognised, as in diffusers


class SafetyPass(nn.Module):
    """Whether an image is safe. checker: a StableDiffusionSafetyChecker."""

    def __init__(self, checker: Any) -> None:
        super().__init__()
        self.checker = checker

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 3, side, side), normalised for CLIP -> bool (). An image with NaN is not safe."""
        checker = self.checker
        embedding = checker.visual_projection(checker.vision_model(pixels)[1])
        special = self._scores(embedding, checker.special_care_embeds, checker.special_care_embeds_weights)
        adjustment = (special.round(decimals=3) > 0).any() * SPECIAL_CARE
        scores = self._scores(embedding, checker.concept_embeds, checker.concept_embeds_weights) + adjustment
        return (scores.round(decimals=3) <= 0).all()

    @staticmethod
    def _scores(embedding: torch.Tensor, concepts: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
        """How far the cosine similarity to each concept is above its threshold."""
        similarity = functional.normalize(embedding.float()) @ functional.normalize(concepts.float()).T
        return similarity - thresholds.float()


class SafetyFilter:
    """Judges images on the device.

    Args:
        recipe: For the place of the checker.
        device: Where the checker runs.
        dtype: The checker's precision.

    Raises:
        RecipeError: The checker is missing or corrupt.
    """

    def __init__(self, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> None:
        checker, config = _load(recipe, dtype)
        self._check, self._dtype = SafetyPass(checker.to(device)), dtype
        self._normalizer, self._side = Normalizer(config, device), int(checker.config.vision_config.image_size)

    @torch.inference_mode()
    def verdict(self, image: torch.Tensor) -> torch.Tensor:
        """Whether the checker rejects an image: bool (), on the device. May be part of a recording.

        image: (1, 3, h, w) from -1 to 1, as decoded. The checker sees its middle square, as in diffusers.
        """
        pixels = self._normalizer.normalize(centre_square(image, self._side), self._dtype)
        is_safe: torch.Tensor = self._check(pixels)
        return is_safe.logical_not()


class SafeFrames:
    """Replaces the frames of one session that were rejected, on the host.

    size: Output size, (width, height).
    """

    def __init__(self, size: Size) -> None:
        self._shown = solid(size, GREY)

    def judge(self, out: Pixels, is_rejected: bool) -> None:
        """Replace the content of `out` by what may be shown.

        Args:
            out: uint8 (H, W, 4), an image as it would be shown.
            is_rejected: The verdict on it.
        """
        if is_rejected:
            np.copyto(out, self._shown)
        else:
            np.copyto(self._shown, out)

    def show_last(self, out: Pixels) -> None:
        """Write the last safe frame to `out`, where no new one was rendered."""
        np.copyto(out, self._shown)

    def accept(self, out: Pixels) -> None:
        """Store an unrendered frame that was shown, as the replacement of a later flagged one."""
        np.copyto(self._shown, out)


def _load(recipe: Recipe, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """Load the checker, and the mean and deviation of its input."""
    place = next(_places(recipe), None)
    if place is None:
        problems = WeightProblems(recipe)
        problems.add_absent(f"{SAFETY.source}/safety_checker")
        raise RecipeError(f"recipe {recipe.name}: {problems.line()}")
    folder = place / "safety_checker"
    try:
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

        checker = read_pretrained(StableDiffusionSafetyChecker, folder, dtype)
        config = read_config(place / "feature_extractor")
        return checker, {key: config[key] for key in ("image_mean", "image_std")}
    except UNREADABLE as error:
        raise RecipeError(f"recipe {recipe.name}: the safety checker at {folder} cannot be loaded: "
                          f"{first_line(error)}") from error


def _places(recipe: Recipe) -> Iterator[Path]:
    """Model folders that contain a checker in safetensors: the recipe's own first."""
    for source in (recipe.model, SAFETY.source):
        place = find(source, recipe)
        if place is not None and any((place / "safety_checker").glob("*.safetensors")):
            yield place
