"""Safety: no picture is shown that Stable Diffusion's safety checker objects to; the last safe one is in its place.

The verdict is that of diffusers' `StableDiffusionSafetyChecker`, made on the device: its own forward pass waits for the
device several times. On CUDA it runs beside the painting of the next frame, and everything is shown one frame later,
once there is something to show meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.pipelines.preprocessors.intake import Normal, read_config, square
from lcm_daemon.pipelines.weights import find
from lcm_daemon.recipes.recipe import Recipe

SOURCE = "stable-diffusion-v1-5/stable-diffusion-v1-5"  # where `pull` has the checker from; its own place has a pickle
GREY = (96, 96, 96, 255)  # shown before any picture was safe
CARE = 0.01  # by which all thresholds fall where one of the special concepts is seen, as diffusers has it

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


class Verdict(nn.Module):
    """Pixels as CLIP takes them -> True where the picture is safe. checker: a StableDiffusionSafetyChecker."""

    def __init__(self, checker: Any) -> None:
        super().__init__()
        self.checker = checker

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 3, side, side) -> bool (). A picture that is not a number is not safe."""
        checker = self.checker
        embedding = checker.visual_projection(checker.vision_model(pixels)[1])
        care = self._scores(embedding, checker.special_care_embeds, checker.special_care_embeds_weights)
        careful = (care.round(decimals=3) > 0).any() * CARE
        scores = self._scores(embedding, checker.concept_embeds, checker.concept_embeds_weights) + careful
        return (scores.round(decimals=3) <= 0).all()

    @staticmethod
    def _scores(embedding: torch.Tensor, concepts: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
        """How far the likeness to each concept is above its threshold."""
        likeness = functional.normalize(embedding.float()) @ functional.normalize(concepts.float()).T
        return likeness - thresholds.float()


class Safety:
    """Stands between the decoder and the output.

    size: (width, height) of the output.   late: whether a verdict is awaited one frame later, by default on CUDA.
    Raises RecipeError where the checker is missing or corrupt.
    """

    def __init__(self, recipe: Recipe, size: Size, device: torch.device, dtype: torch.dtype,
                 late: bool | None = None) -> None:
        checker, config = _load(recipe, dtype)
        self._verdict, self._dtype = Verdict(checker.to(device)), dtype
        self._normal, self._side = Normal(config, device), int(checker.config.vision_config.image_size)
        cuda = device.type == "cuda"
        self._late = cuda if late is None else late
        self._stream = torch.cuda.Stream(device) if cuda else None  # type: ignore[no-untyped-call]
        self._safe = torch.zeros((), dtype=torch.bool, pin_memory=cuda)  # the verdict, on the host
        self._waiting, self._shown, self._waits = solid(size), solid(size, GREY), False
        self._has = False  # something that may be shown
        self._seen: torch.Tensor | None = None  # by the checker at this moment; its memory must stay until then
        self.flagged = 0  # pictures that were not shown

    @torch.inference_mode()
    def check(self, picture: torch.Tensor, out: Pixels) -> None:
        """Judge `picture`, (1, 3, h, w) from -1 to 1 as decoded, and put what may be shown into `out`.

        out: uint8 (H, W, 4), that picture as it would be shown. The checker sees its middle square, as in diffusers.
        """
        self._settle()
        self._judge(self._normal.take(square(picture, self._side), self._dtype))
        np.copyto(self._waiting, out)
        self._waits = True
        if self._late and self._has:
            np.copyto(out, self._shown)
        else:
            self.show(out)

    def show(self, out: Pixels) -> None:
        """Put the last safe picture into `out`, where no new one was painted."""
        self._settle()
        np.copyto(out, self._shown)

    def passed(self, out: Pixels) -> None:
        """Take note of a picture that went out unpainted; it is what a flagged one would be replaced by."""
        self._waits, self._has = False, True
        np.copyto(self._shown, out)

    def forget(self) -> None:
        """Forget what was painted so far, such as for warming up."""
        self._waits, self._has, self.flagged = False, False, 0
        self._shown[:] = GREY

    def _judge(self, pixels: torch.Tensor) -> None:
        if self._stream is None:
            self._safe.copy_(self._verdict(pixels))
            return
        self._stream.wait_stream(torch.cuda.current_stream(pixels.device))
        self._seen = pixels
        with torch.cuda.stream(self._stream):
            self._safe.copy_(self._verdict(pixels), non_blocking=True)

    def _settle(self) -> None:
        """Take the verdict that is awaited, if one is."""
        if not self._waits:
            return
        if self._stream is not None:
            self._stream.synchronize()
        if bool(self._safe):
            self._waiting, self._shown, self._has = self._shown, self._waiting, True
        else:
            self.flagged += 1
        self._waits = False


def _load(recipe: Recipe, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """The checker, and how it wants its pixels."""
    place = next(_places(recipe), None)
    if place is None:
        raise RecipeError(f"recipe {recipe.name}: the safety checker is not on this machine; fetch it with: "
                          f"lcm-daemon pull {recipe.name}")
    folder = place / "safety_checker"
    try:
        checker, report = StableDiffusionSafetyChecker.from_pretrained(
            folder, dtype=dtype, variant=_variant(folder), use_safetensors=True, local_files_only=True,
            output_loading_info=True)
        absent = [key for key in report["missing_keys"] if not key.endswith("position_ids")]
        if absent or report["mismatched_keys"]:  # the library fills them with random numbers and goes on
            raise ValueError(f"weights do not fit config.json: {(absent or list(report['mismatched_keys']))[0]}")
        config = read_config(place / "feature_extractor")
        return checker.eval().requires_grad_(False), {key: config[key] for key in ("image_mean", "image_std")}
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RecipeError(
            f"recipe {recipe.name}: safety checker at {folder} cannot be loaded: {reason[0]:.200}") from error


def _places(recipe: Recipe) -> Iterator[Path]:
    """Model folders with a checker in safetensors: the recipe's own first."""
    for source in (recipe.model, SOURCE):
        place = find(source, recipe)
        if place is not None and any((place / "safety_checker").glob("*.safetensors")):
            yield place


def _variant(folder: Path) -> str | None:
    """The files in half precision, where there are no others."""
    names = [file.name for file in folder.glob("*.safetensors")]
    return "fp16" if all("fp16" in name for name in names) else None
