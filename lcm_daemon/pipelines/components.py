"""Components: a model's parts, read from a diffusers checkpoint's folders. Safetensors only, local files only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.base import Progress
from lcm_daemon.pipelines.lora_file import Factors, read_lora
from lcm_daemon.pipelines.loras import LiveLoras, merge
from lcm_daemon.pipelines.weights import Weights, locate, read_json
from lcm_daemon.recipes.recipe import Recipe

diffusers.utils.logging.set_verbosity_error()  # what they would warn of, we raise
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

# What reading a damaged or foreign file raises, by library: the file system, json, torch, safetensors.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)

# By part: the classes it may be of, by the name that its config.json gives.
_UNETS: Mapping[str, Any] = {"UNet2DConditionModel": diffusers.UNet2DConditionModel}
_VAES: Mapping[str, Any] = {
    "AutoencoderTiny": diffusers.AutoencoderTiny, "AutoencoderKL": diffusers.AutoencoderKL,
}
_CONTROLNETS: Mapping[str, Any] = {"ControlNetModel": diffusers.ControlNetModel}
_TEXT_ENCODERS: Mapping[str, Any] = {
    "CLIPTextModel": transformers.CLIPTextModel,
    "CLIPTextModelWithProjection": transformers.CLIPTextModelWithProjection,
}
_IMAGE_ENCODERS: Mapping[str, Any] = {"CLIPVisionModelWithProjection": transformers.CLIPVisionModelWithProjection}

_T = TypeVar("_T")


@dataclass(frozen=True)
class TextEncoder:
    """One CLIP text model with its tokenizer."""

    tokenizer: Any
    model: Any


@dataclass(frozen=True)
class Components:
    """The parts of one model on one device.

    text_encoders: one, or of Stable Diffusion XL two.   schedule: the content of its scheduler_config.json, with what
    the recipe lays over it.   controlnets: by the recipe's names.   loras: the live ones, at the recipe's weights.
    image_encoder, feature_extractor: of the image prompt.   force_zeros: an empty negative prompt is zeros, not the
    embedding of no text.   The VAE's own dtype counts: one that overflows in float16 stays in float32.
    """

    unet: Any
    vae: Any
    text_encoders: tuple[TextEncoder, ...]
    schedule: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    loras: LiveLoras
    controlnets: Mapping[str, Any] = field(default_factory=dict)
    image_encoder: Any = None
    feature_extractor: Any = None
    force_zeros: bool = False


def load_components(recipe: Recipe, device: torch.device, dtype: torch.dtype, progress: Progress) -> Components:
    """Everything that the recipe names, on `device`, ready to run.

    Raises RecipeError, one line, where weights are missing, corrupt or not of a known kind.
    """
    return _Loading(recipe, locate(recipe), device, dtype, progress).components()


class _Loading:
    """One load: what all its steps share."""

    def __init__(self, recipe: Recipe, weights: Weights, device: torch.device, dtype: torch.dtype,
                 progress: Progress) -> None:
        self._recipe, self._weights, self._progress = recipe, weights, progress
        self._device, self._dtype = device, dtype

    def components(self) -> Components:
        weights = self._weights
        schedule = self._read("schedule", weights.model / "scheduler" / "scheduler_config.json", read_json)
        encoders = [self._text_encoder(end) for end in (("", "_2") if weights.second else ("",))]
        unet = self._picture_model("unet", weights.unet, self._read_unet)
        vae = self._picture_model("vae", weights.vae, self._read_vae)
        controlnets = {name: self._picture_model(f"controlnet {name}", place, self._read_model_of(_CONTROLNETS))
                       for name, place in weights.controlnets.items()}
        loras = self._loras(unet, [encoder.model for encoder in encoders])
        image_encoder = self._image_encoder(weights.encoder) if weights.encoder else None
        return Components(unet, vae, tuple(encoders), {**schedule, **self._recipe.schedule}, self._device, self._dtype,
                          loras, controlnets, image_encoder, _feature_extractor(image_encoder), self._force_zeros())

    def _read(self, part: str, place: Path, reading: Callable[[Path], _T]) -> _T:
        """Read one part; whatever a damaged file makes that raise becomes one line."""
        self._progress(f"loading {part.replace('_', ' ')}")
        try:
            return reading(place)
        except _UNREADABLE as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise RecipeError(
                f"recipe {self._recipe.name}: {part} at {place} cannot be loaded: {reason[0]:.200}") from error

    def _text_encoder(self, end: str) -> TextEncoder:
        tokenizer = self._read(f"tokenizer{end}", self._weights.model / f"tokenizer{end}", _read_tokenizer)
        part = f"text_encoder{end}"
        return TextEncoder(tokenizer, self._read(part, self._weights.model / part, self._read_transformer))

    def _picture_model(self, part: str, place: Path, reading: Callable[[Path], Any]) -> Any:
        return self._read(part, place, reading).to(self._device, memory_format=torch.channels_last)

    def _image_encoder(self, place: Path) -> Any:
        return self._read("image encoder", place, lambda folder: _read_pretrained(
            _kind(folder, _IMAGE_ENCODERS), folder, self._dtype).to(self._device))

    def _read_transformer(self, folder: Path) -> Any:
        return _read_pretrained(_kind(folder, _TEXT_ENCODERS), folder, self._dtype).to(self._device)

    def _read_model_of(self, kinds: Mapping[str, Any]) -> Callable[[Path], Any]:
        return lambda folder: _read_pretrained(_kind(folder, kinds), folder, self._dtype)

    def _read_unet(self, place: Path) -> Any:
        if place.suffix == ".safetensors":
            return _read_file(_kind(self._weights.unet_config.parent, _UNETS), place, self._weights.unet_config,
                              self._dtype)
        return self._read_model_of(_UNETS)(place)

    def _read_vae(self, folder: Path) -> Any:
        """Stable Diffusion XL's own VAE overflows in float16 and says so; that of 1.x claims the same and does not."""
        upcast = (self._weights.second and self._dtype == torch.float16
                  and bool(read_json(folder / "config.json").get("force_upcast")))
        return _read_pretrained(_kind(folder, _VAES), folder, torch.float32 if upcast else self._dtype)

    def _loras(self, unet: Any, encoders: Sequence[Any]) -> LiveLoras:
        """Merge those without a name; the others come live, at the recipe's weights."""
        live: dict[str, Factors] = {}
        for lora, file in zip(self._recipe.loras, self._weights.loras, strict=True):
            factors = self._read(f"lora {lora.name}".strip(), file, lambda place: read_lora(place, unet, encoders))
            if lora.name:
                live[lora.name] = factors
            else:
                merge(factors, lora.weight)
        loras = LiveLoras(unet, encoders, live)
        loras.set({lora.name: lora.weight for lora in self._recipe.loras})
        return loras

    def _force_zeros(self) -> bool:
        """As StableDiffusionXLPipeline has it: the model_index.json decides, and without one it is so."""
        index = self._weights.model / "model_index.json"
        if not self._weights.second:
            return False
        content = self._read("model index", index, read_json) if index.exists() else {}
        return bool(content.get("force_zeros_for_empty_prompt", True))


def _read_tokenizer(folder: Path) -> Any:
    return transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _feature_extractor(image_encoder: Any) -> Any:
    """What diffusers makes for an IP-Adapter, whose folder has none."""
    if image_encoder is None:
        return None
    size = image_encoder.config.image_size
    return transformers.CLIPImageProcessor(size=size, crop_size=size)


def _kind(folder: Path, kinds: Mapping[str, Any]) -> Any:
    """The class that a folder's config.json asks for: diffusers writes one name, transformers a list."""
    config = read_json(folder / "config.json")
    name = str(config.get("_class_name") or next(iter(config.get("architectures") or ()), None))
    if name not in kinds:
        raise ValueError(f"{name} is not one of {', '.join(kinds)}")
    return kinds[name]


def _read_pretrained(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    model, report = kind.from_pretrained(
        folder, dtype=dtype, variant=_variant(folder, dtype), use_safetensors=True, local_files_only=True,
        output_loading_info=True)
    # The libraries fill what a file lacks with random numbers and go on.
    absent = [key for key in report["missing_keys"] if not key.endswith("position_ids")]
    if absent or report["mismatched_keys"]:
        raise ValueError(f"weights do not fit config.json: {(absent or list(report['mismatched_keys']))[0]}")
    return model.eval().requires_grad_(False)


def _read_file(kind: Any, file: Path, config: Path, dtype: torch.dtype) -> Any:
    """A model whose weights came without a folder, such as SDXL-Lightning's UNets."""
    with torch.device("meta"):  # nothing is drawn at random first
        model = kind.from_config(read_json(config))
    tensors = {key: tensor.to(dtype) for key, tensor in load_file(file).items()}
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    wrong = {key for key in shapes.keys() | tensors.keys()
             if key not in tensors or tensors[key].shape != shapes.get(key)}
    if wrong:
        raise ValueError(f"weights do not fit {config}: {min(wrong)}")
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)


def _variant(folder: Path, dtype: torch.dtype) -> str | None:
    """Half-precision files where there are some: half the reading, unless float32 could be had in full."""
    half, full = any(folder.glob("*.fp16.safetensors")), any(
        "fp16" not in file.name for file in folder.glob("*.safetensors"))
    return "fp16" if half and (dtype != torch.float32 or not full) else None
