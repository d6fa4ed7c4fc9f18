"""Weights: where a recipe's files lie on this machine. Nothing is fetched here, and no torch is imported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.recipe import Recipe, split_hub

_PARTS = ("text_encoder", "tokenizer", "scheduler")  # of every model's folder; unet and vae have their own say
_SECOND = ("text_encoder_2", "tokenizer_2")  # of Stable Diffusion XL and what is distilled from it
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "tokenizer": ("vocab.json", "tokenizer.json"), "tokenizer_2": ("vocab.json", "tokenizer.json"),
    "scheduler": ("scheduler_config.json",),
}
_MODEL_NEEDS = ("*.safetensors",)


@dataclass(frozen=True)
class Weights:
    """Places of a recipe's parts; all but the files that are named so are folders.

    model: a diffusers folder (text_encoder/, tokenizer/, ...).   unet: a folder, or a .safetensors file that the
    model's own unet/config.json describes.   loras: files, in the recipe's order.   controlnets, detectors: by the
    ControlNets' names.   adapter, encoder: of the image prompt, a file and a folder.
    second: whether the model has a second text encoder.
    """

    model: Path
    unet: Path
    vae: Path
    second: bool = False
    loras: tuple[Path, ...] = ()
    controlnets: Mapping[str, Path] = field(default_factory=dict)
    detectors: Mapping[str, Path] = field(default_factory=dict)
    adapter: Path | None = None
    encoder: Path | None = None

    @property
    def unet_config(self) -> Path:
        return _config_of(self.model, self.unet)


def locate(recipe: Recipe) -> Weights:
    """Find everything; raise RecipeError, one line, that names all that is missing and the command that fetches it."""
    search = _Search(recipe)
    weights = search.weights()
    if search.missing:
        missing = ", ".join(dict.fromkeys(search.missing))
        raise RecipeError(f"recipe {recipe.name}: not on this machine: {missing}; {_advice(recipe)}")
    return weights


def find(source: str, recipe: Recipe) -> Path | None:
    """A local path as it is, a place on the hub in the local cache; None where there is nothing."""
    place = split_hub(source)
    if place is None:
        return Path(source) if Path(source).exists() else None
    revision = next((files.revision for files in recipe.files if files.source == place[0]), "")
    folder = hub_cache.find_snapshot(place[0], revision)
    return folder / place[1] if folder and (folder / place[1]).exists() else None


class _Search:
    """Collects what is missing on the way, so that a user learns of everything at once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.missing: list[str] = []

    def weights(self) -> Weights:
        recipe = self.recipe
        model = find(recipe.model, recipe)
        if model is None:
            self.missing.append(recipe.model)
            model = Path(recipe.model)
        unet = self._unet(model)
        second = _has_second(_config_of(model, unet))
        self._require(model, (*_PARTS, *(_SECOND if second else ()), *(() if recipe.vae else ("vae",))))
        image = recipe.image_prompt
        return Weights(
            model, unet, self._folder(recipe.vae) if recipe.vae else model / "vae", second,
            tuple(self._file(lora.model) for lora in recipe.loras),
            {control.name: self._folder(control.model) for control in recipe.controlnets},
            {control.name: self._folder(control.detector) for control in recipe.controlnets if control.detector},
            self._file(image.model) if image else None, self._folder(image.encoder) if image else None)

    def _unet(self, model: Path) -> Path:
        if not self.recipe.unet:
            self._require(model, ("unet",))
            return model / "unet"
        place = self._folder(self.recipe.unet)
        if model.exists() and not _config_of(model, place).exists():
            self.missing.append(f"{self.recipe.model}/unet/config.json")  # a file alone does not say its shape
        return place

    def _require(self, model: Path, parts: Iterable[str]) -> None:
        """Note which parts are missing in the model's folder, if there is one."""
        if model.exists():
            self.missing.extend(f"{self.recipe.model}/{part}" for part in parts
                                if not _present(model / part, _NEEDS.get(part, _MODEL_NEEDS)))

    def _folder(self, source: str) -> Path:
        """A folder that holds weights, or a file of them."""
        place = find(source, self.recipe)
        if place is None or (place.is_dir() and not _present(place, _MODEL_NEEDS)):
            self.missing.append(source)
        return place or Path(source)

    def _file(self, source: str) -> Path:
        """A file; of a folder the one by the name that diffusers gives to LoRAs, or else the first."""
        place = self._folder(source)
        if not place.is_dir():
            return place
        named = place / "pytorch_lora_weights.safetensors"
        return named if named.exists() else next(iter(sorted(place.glob("*.safetensors"))), place)


def read_json(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file; raises OSError or ValueError."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    return content


def _config_of(model: Path, unet: Path) -> Path:
    """What describes the UNet: its own config.json, or of a file alone the model's."""
    return (model / "unet" if unet.suffix == ".safetensors" else unet) / "config.json"


def _has_second(config: Path) -> bool:
    """Whether the UNet takes pooled text beside the prompt, as Stable Diffusion XL does."""
    try:
        return read_json(config).get("addition_embed_type") == "text_time"
    except (OSError, ValueError):
        return False  # what is wrong with it will be said when it is loaded


def _present(folder: Path, patterns: Iterable[str]) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def _advice(recipe: Recipe) -> str:
    if recipe.files:
        return f"fetch it with: lcm-daemon pull {recipe.name}"
    places = [place[0] for source in _sources(recipe) if source and (place := split_hub(source))]
    command = " && ".join(f"hf download {place}" for place in dict.fromkeys(places))
    return f"fetch it with: {command}" if command else "give the folder that holds it"


def _sources(recipe: Recipe) -> Iterator[str]:
    yield from (recipe.model, recipe.unet, recipe.vae)
    yield from (lora.model for lora in recipe.loras)
    yield from (source for control in recipe.controlnets for source in (control.model, control.detector))
    if recipe.image_prompt:
        yield from (recipe.image_prompt.model, recipe.image_prompt.encoder)
