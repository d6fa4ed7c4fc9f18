"""Components: the parts of a model, read from the folders of a diffusers checkpoint. Only local safetensors files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection
from transformers.utils import logging as transformers_logging

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines import one_file, precision
from lcm_daemon.pipelines.accelerators.int8 import Int8, read_int8
from lcm_daemon.pipelines.base import Progress
from lcm_daemon.pipelines.control_files import read_control
from lcm_daemon.pipelines.learned_words import learn_words
from lcm_daemon.pipelines.load_errors import UNREADABLE, first_line
from lcm_daemon.pipelines.lora_loading import load_loras
from lcm_daemon.pipelines.loras import LiveLoras
from lcm_daemon.pipelines.model_parts import parts_of
from lcm_daemon.pipelines.prompt_chunks import LearnedWords
from lcm_daemon.pipelines.quick_read import read_quickly
from lcm_daemon.pipelines.weight_files import WeightFiles
from lcm_daemon.pipelines.weight_values import check_numbers, refuse_integers
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import FAMILIES, STABLE_DIFFUSION
from lcm_daemon.recipes.safetensors_header import read_header
from lcm_daemon.recipes.weight_folders import find_weights, read_json

diffusers.utils.logging.set_verbosity_error()  # what they warn of is raised as an error here
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

# By part: the supported classes, by their name in config.json. Those of the model's own parts depend on its family.
_IMAGE_ENCODERS: Mapping[str, Any] = {"CLIPVisionModelWithProjection": CLIPVisionModelWithProjection}

_T = TypeVar("_T")


@dataclass(frozen=True)
class TextEncoder:
    """One text model with its tokenizer.

    words: token numbers of the words that `embeddings` of the recipe add, by word in lower case.
    """

    tokenizer: Any
    model: Any
    words: LearnedWords = field(default_factory=dict)


@dataclass(frozen=True)
class Components:
    """The parts of one model on one device.

    The VAE may have another dtype: one that overflows in float16 has a wider range.

    unet: the UNet, or the transformer of a family that has one.
    text_encoders: one; two for Stable Diffusion XL.
    schedule: the content of scheduler_config.json, overridden by the recipe's `schedule`.
    loras: the live ones, at the recipe's weights.
    controlnets: by their names in the recipe.
    image_encoders: those of the image prompts, in the recipe's order; prompts with the same one share it.
    force_zeros: an empty negative prompt is embedded as zeros, not as the embedding of an empty text.
    int8: how the "encoder", the "denoiser" and the "decoder" may be quantised, where the weights' folders say it.
    family: a name in `registry.FAMILIES`.
    clip_skip: As of `Recipe`.
    """

    unet: Any
    vae: Any
    text_encoders: tuple[TextEncoder, ...]
    schedule: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    loras: LiveLoras
    controlnets: Mapping[str, Any] = field(default_factory=dict)
    image_encoders: tuple[Any, ...] = ()
    force_zeros: bool = False
    int8: Mapping[str, Int8] = field(default_factory=dict)
    family: str = STABLE_DIFFUSION
    clip_skip: int = 0


def load_components(recipe: Recipe, device: torch.device, dtype: torch.dtype, progress: Progress) -> Components:
    """Load everything that the recipe names, to `device`, ready to run.

    Raises:
        RecipeError: Weights are missing, corrupt or of an unsupported kind. The message is one line.
    """
    return _Loader(recipe, locate(recipe), device, dtype, progress).components()


ComponentsLoader = Callable[[Recipe, torch.device, torch.dtype, Progress], Components]


class _Loader:
    """Loads the components of one recipe."""

    def __init__(self, recipe: Recipe, weights: WeightFiles, device: torch.device, dtype: torch.dtype,
                 progress: Progress) -> None:
        self._recipe, self._weights, self._progress = recipe, weights, progress
        self._device, self._dtype = device, dtype
        self._parts = parts_of(recipe.family)

    def components(self) -> Components:
        weights = self._weights
        schedule = self._schedule()
        read = [self._text_encoder(suffix) for suffix in (("", "_2") if weights.second else ("",))]
        encoders = learn_words(read, self._recipe.embeddings, weights.embeddings, self._read)
        unet = self._image_model(FAMILIES[self._recipe.family].denoiser, weights.unet, self._read_unet)
        vae = self._image_model("vae", weights.vae, self._read_vae)
        if weights.pix2pix:
            vae = self._read("pix2pix", weights.pix2pix, lambda file: self._parts.finish(self._recipe, unet, vae, file))
        controlnets = self._controlnets()
        loras = load_loras(self._recipe, weights.loras, unet, [encoder.model for encoder in encoders], self._read)
        read_encoders = {place: self._image_encoder(place) for place in dict.fromkeys(weights.encoders)}
        image_encoders = tuple(read_encoders[place] for place in weights.encoders)
        return Components(unet, vae, encoders, schedule, self._device, self._dtype, loras,
                          controlnets, image_encoders, self._force_zeros(),
                          {**read_int8(weights.unet), **read_int8(weights.vae)}, self._recipe.family,
                          self._recipe.clip_skip)

    def _read(self, part: str, place: Path, read: Callable[[Path], _T]) -> _T:
        """Read one part. Errors that a damaged file causes are raised as a RecipeError of one line."""
        self._progress(f"loading {part.replace('_', ' ')}")
        try:
            return read(place)
        except UNREADABLE as error:
            raise RecipeError(
                f"recipe {self._recipe.name}: {part} at {place} cannot be loaded: {first_line(error)}") from error

    def _schedule(self) -> dict[str, Any]:
        """The model's schedule; what the checkpoint's file says counts more, and the recipe most."""
        of_model = self._read("schedule", self._weights.model / "scheduler" / "scheduler_config.json", read_json)
        checkpoint = self._weights.checkpoint
        of_file = self._read("checkpoint", checkpoint, one_file.schedule_of) if checkpoint else {}
        return {**of_model, **of_file, **self._recipe.schedule}

    def _text_encoder(self, suffix: str) -> TextEncoder:
        tokenizer = self._read(f"tokenizer{suffix}", self._weights.model / f"tokenizer{suffix}",
                               self._parts.read_tokenizer)
        part = f"text_encoder{suffix}"
        folder, checkpoint = self._weights.model / part, self._weights.checkpoint
        if checkpoint is None or part not in self._weights.in_checkpoint:
            return TextEncoder(tokenizer, self._read(part, folder, self._read_transformer))

        def read(file: Path) -> Any:
            kind = _kind(folder, self._parts.text_encoders)
            return check_numbers(one_file.read_text_encoder(
                kind, file, folder / "config.json", part, self._dtype).to(self._device))

        return TextEncoder(tokenizer, self._read(part, checkpoint, read))

    def _image_model(self, part: str, place: Path, read: Callable[[Path], Any]) -> Any:
        return self._read(part, place, lambda file: check_numbers(
            read(file).to(self._device, memory_format=torch.channels_last)))

    def _controlnets(self) -> dict[str, Any]:
        """Read the control networks; one that several entries name, such as a ControlNet-Union, only once."""
        read: dict[Path, Any] = {}
        for name, place in self._weights.controlnets.items():
            if place not in read:
                read[place] = self._image_model(f"controlnet {name}", place, self._read_control)
        return {name: read[place] for name, place in self._weights.controlnets.items()}

    def _read_control(self, place: Path) -> Any:
        return read_control(place, self._dtype, read_pretrained, self._weights.unet_config)

    def _image_encoder(self, place: Path) -> Any:
        return self._read("image encoder", place, lambda folder: read_pretrained(
            _kind(folder, _IMAGE_ENCODERS), folder, self._dtype).to(self._device))

    def _read_transformer(self, folder: Path) -> Any:
        return check_numbers(
            read_pretrained(_kind(folder, self._parts.text_encoders), folder, self._dtype).to(self._device))

    def _reader_of(self, kinds: Mapping[str, Any]) -> Callable[[Path], Any]:
        return lambda folder: read_pretrained(_kind(folder, kinds), folder, self._dtype)

    def _read_unet(self, place: Path) -> Any:
        if place.suffix == ".safetensors":
            kind = _kind(self._weights.unet_config.parent, self._parts.denoisers)
            return one_file.read_unet(kind, place, self._weights.unet_config, self._dtype)
        return self._reader_of(self._parts.denoisers)(place)

    def _read_vae(self, place: Path) -> Any:
        """Stable Diffusion XL's own VAE overflows in float16 and says so. The VAE of 1.x says the same but does not."""
        config, is_file = self._weights.vae_config, place.suffix == ".safetensors"
        is_tiny = is_file and one_file.is_tiny(read_header(place))
        overflows = (self._weights.second and self._dtype == torch.float16 and not is_tiny
                     and bool(read_json(config).get("force_upcast")))
        dtype = precision.for_overflow(self._device) if overflows else self._dtype
        if is_file:
            return one_file.read_vae(self._parts.vaes, place, config, dtype)
        return read_pretrained(_kind(place, self._parts.vaes), place, dtype)

    def _force_zeros(self) -> bool:
        """As in StableDiffusionXLPipeline: model_index.json decides; without one it is true."""
        index = self._weights.model / "model_index.json"
        if not self._weights.second:
            return False
        content = self._read("model index", index, read_json) if index.exists() else {}
        return bool(content.get("force_zeros_for_empty_prompt", True))


def _kind(folder: Path, kinds: Mapping[str, Any]) -> Any:
    """The class named in a folder's config.json: diffusers writes one name, transformers a list."""
    config = read_json(folder / "config.json")
    name = str(config.get("_class_name") or next(iter(config.get("architectures") or ()), None))
    if name not in kinds:
        raise ValueError(f"{name} is not one of {', '.join(kinds)}")
    return kinds[name]


def read_pretrained(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Read a model of the class `kind`; raise one of UNREADABLE if its weights are incomplete."""
    weights = find_weights(folder, half=dtype != torch.float32)  # half precision is half the reading
    if weights is None or weights.missing:
        raise ValueError(f"{', '.join(weights.missing) if weights else 'a .safetensors file'} is missing")
    quick = read_quickly(kind, folder, dtype, weights.files)
    if quick is not None:
        return quick.eval().requires_grad_(False)
    for file in weights.files:
        refuse_integers(read_header(file))
    model, report = kind.from_pretrained(
        folder, dtype=dtype, variant=weights.variant, use_safetensors=True, local_files_only=True,
        output_loading_info=True)
    # The libraries fill missing weights with random numbers and continue.
    absent = [key for key in report["missing_keys"] if not key.endswith("position_ids")]
    if absent or report["mismatched_keys"]:
        raise ValueError(f"weights do not fit config.json: {(absent or list(report['mismatched_keys']))[0]}")
    if hasattr(kind, "from_config") and (unknown := sorted(report["unexpected_keys"])):  # a class of diffusers
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise ValueError(f"it has weights of another kind of model: {kind.__name__} has no {unknown[0]}{more}")
    return model.eval().requires_grad_(False)
