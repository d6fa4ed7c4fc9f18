"""Components: a model's parts, read from a diffusers checkpoint's folders. Safetensors only, local files only."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError

from lcm_daemon.errors import RecipeError
from lcm_daemon.pipelines.base import Progress
from lcm_daemon.pipelines.weights import Weights, locate
from lcm_daemon.recipe import Recipe

diffusers.utils.logging.set_verbosity_error()  # what they would warn of, we raise
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

# What reading a damaged or foreign file raises, by library: the file system, json, torch, safetensors.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)

_MODELS: Mapping[str, Any] = {  # by "_class_name" of a component's config.json
    "UNet2DConditionModel": diffusers.UNet2DConditionModel,
    "AutoencoderTiny": diffusers.AutoencoderTiny,
    "AutoencoderKL": diffusers.AutoencoderKL,
}


@dataclass(frozen=True)
class Components:
    """The parts of one model on one device. schedule: the content of its scheduler_config.json."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    schedule: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype


def load_components(recipe: Recipe, device: torch.device, dtype: torch.dtype, progress: Progress) -> Components:
    """Everything that the recipe names, on `device`, ready to run.

    Raises RecipeError, one line, where weights are missing, corrupt or not of a known kind.
    """
    weights = locate(recipe)
    loaded = {part: _load_part(recipe, part, place, reading, dtype, progress)
              for part, (place, reading) in _parts(weights).items()}
    for file, weight in weights.loras:
        progress(f"merging {file.name}")
        _guard(recipe, "lora", file, functools.partial(_merge, loaded, file, weight))
    for part in ("unet", "vae"):
        loaded[part].to(device, memory_format=torch.channels_last)
    loaded["text_encoder"].to(device)
    return Components(**loaded, device=device, dtype=dtype)


Reading = Callable[[Path, torch.dtype], Any]


def _parts(weights: Weights) -> Mapping[str, tuple[Path, Reading]]:
    return {
        "schedule": (weights.model / "scheduler" / "scheduler_config.json", _read_json),
        "tokenizer": (weights.model / "tokenizer", _read_tokenizer),
        "text_encoder": (weights.model / "text_encoder", _read_text_encoder),
        "unet": (weights.model / "unet", _read_model),
        "vae": (weights.vae, _read_model),
    }


def _load_part(recipe: Recipe, part: str, place: Path, reading: Reading, dtype: torch.dtype, progress: Progress) -> Any:
    progress(f"loading {part.replace('_', ' ')}")
    return _guard(recipe, part, place, lambda: reading(place, dtype))


def _guard(recipe: Recipe, part: str, place: Path, work: Callable[[], Any]) -> Any:
    """Run `work`; whatever a damaged file makes it raise becomes one line."""
    try:
        return work()
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RecipeError(f"recipe {recipe.name}: {part} at {place} cannot be loaded: {reason[0]:.200}") from error


def _read_json(file: Path, dtype: torch.dtype) -> Any:
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    return content


def _read_tokenizer(folder: Path, dtype: torch.dtype) -> Any:
    return transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _read_text_encoder(folder: Path, dtype: torch.dtype) -> Any:
    return _read_pretrained(transformers.CLIPTextModel, folder, dtype)


def _read_model(folder: Path, dtype: torch.dtype) -> Any:
    name = _read_json(folder / "config.json", dtype).get("_class_name")
    if name not in _MODELS:
        raise ValueError(f"{name} is not one of {', '.join(_MODELS)}")
    return _read_pretrained(_MODELS[name], folder, dtype)


def _read_pretrained(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    model, report = kind.from_pretrained(
        folder, dtype=dtype, variant=_variant(folder, dtype), use_safetensors=True, local_files_only=True,
        output_loading_info=True)
    # The libraries fill what a file lacks with random numbers and go on.
    absent = [key for key in report["missing_keys"] if not key.endswith("position_ids")]
    if absent or report["mismatched_keys"]:
        raise ValueError(f"weights do not fit config.json: {(absent or list(report['mismatched_keys']))[0]}")
    return model.eval().requires_grad_(False)


def _variant(folder: Path, dtype: torch.dtype) -> str | None:
    """Half-precision files where there are some: half the reading, unless float32 could be had in full."""
    half, full = any(folder.glob("*.fp16.safetensors")), any(
        "fp16" not in file.name for file in folder.glob("*.safetensors"))
    return "fp16" if half and (dtype != torch.float32 or not full) else None


def _merge(loaded: Mapping[str, Any], file: Path, weight: float) -> None:
    """Add a LoRA into the weights for good, in any key style that diffusers reads."""
    pipeline = diffusers.StableDiffusionPipeline(
        vae=loaded["vae"], text_encoder=loaded["text_encoder"], tokenizer=loaded["tokenizer"], unet=loaded["unet"],
        scheduler=diffusers.LCMScheduler(steps_offset=1), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False)
    pipeline.load_lora_weights(file.parent, weight_name=file.name, local_files_only=True)
    pipeline.fuse_lora(lora_scale=weight)
    pipeline.unload_lora_weights()


class Codec:
    """A VAE: pictures to latents and back, at the scale that the UNet knows.

    Pictures are (1, 3, H, W) from -1 to 1, latents (1, channels, H / 8, W / 8).
    """

    def __init__(self, components: Components) -> None:
        self._vae = components.vae
        self._scale = float(self._vae.config.scaling_factor)
        self._latents = _LATENTS[type(self._vae).__name__]

    @property
    def channels(self) -> int:
        return int(self._vae.config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels to one latent, each way."""
        config = self._vae.config
        blocks: Sequence[int] = config.get("block_out_channels") or config["encoder_block_out_channels"]
        return 1 << (len(blocks) - 1)

    def encode(self, picture: torch.Tensor) -> torch.Tensor:
        """The latents, the mean where the VAE gives a distribution: a still picture must give still latents."""
        latents: torch.Tensor = self._latents(self._vae.encode(picture, return_dict=False)[0])
        return latents if self._scale == 1.0 else latents.mul_(self._scale)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        picture: torch.Tensor = self._vae.decode(latents if self._scale == 1.0 else latents / self._scale,
                                                 return_dict=False)[0]
        return picture


_LATENTS: Mapping[str, Callable[[Any], torch.Tensor]] = {
    "AutoencoderTiny": lambda encoded: encoded,
    "AutoencoderKL": lambda encoded: encoded.mode(),
}
