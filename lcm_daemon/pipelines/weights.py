"""WeightFiles: where the files of a recipe are on this machine. Downloads nothing and imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.recipe import Recipe, split_hub
from lcm_daemon.recipes.registry import FAMILIES

_PARTS = ("text_encoder", "tokenizer", "scheduler")  # in every model's folder; unet and vae are checked separately
_SECOND = ("text_encoder_2", "tokenizer_2")  # Stable Diffusion XL and models distilled from it
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "tokenizer": ("vocab.json", "tokenizer.json"), "tokenizer_2": ("vocab.json", "tokenizer.json"),
    "scheduler": ("scheduler_config.json",),
}
_MODEL_NEEDS = ("*.safetensors",)


@dataclass(frozen=True)
class WeightFiles:
    """Paths of a recipe's parts.

    model: a diffusers folder (text_encoder/, tokenizer/, ...).
    unet: a folder (that of the transformer in some families), or a .safetensors file that the model's own
        unet/config.json describes.
    vae: a folder.
    second: whether the model has a second text encoder.
    loras: files, in the recipe's order.
    controlnets, detectors: folders, by the names of the ControlNets.
    adapter, encoder: of the image prompt, a file and a folder.
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


def locate(recipe: Recipe) -> WeightFiles:
    """Find all files of a recipe.

    Raises:
        RecipeError: One line that names everything that is missing and the command that fetches it.
    """
    search = _Search(recipe)
    weights = search.weight_files()
    if search.missing:
        missing = ", ".join(dict.fromkeys(search.missing))
        raise RecipeError(f"recipe {recipe.name}: not on this machine: {missing}; {_advice(recipe)}")
    return weights


def find(source: str, recipe: Recipe) -> Path | None:
    """The path of a local file or folder, or of a hub repository in the local cache; None if it does not exist."""
    place = split_hub(source)
    if place is None:
        return Path(source) if Path(source).exists() else None
    revision = next((files.revision for files in recipe.files if files.source == place[0]), "")
    folder = hub_cache.find_snapshot(place[0], revision)
    return folder / place[1] if folder and (folder / place[1]).exists() else None


class _Search:
    """Collects everything that is missing, so that the user learns it all at once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.missing: list[str] = []

    def weight_files(self) -> WeightFiles:
        recipe = self.recipe
        model = find(recipe.model, recipe)
        if model is None:
            self.missing.append(recipe.model)
            model = Path(recipe.model)
        unet = self._unet(model)
        second = _has_second(_config_of(model, unet))
        self._require(model, (*_PARTS, *(_SECOND if second else ()), *(() if recipe.vae else ("vae",))))
        image = recipe.image_prompt
        return WeightFiles(
            model, unet, self._folder(recipe.vae) if recipe.vae else model / "vae", second,
            tuple(self._file(lora.model) for lora in recipe.loras),
            {control.name: self._folder(control.model) for control in recipe.controlnets},
            {control.name: self._folder(control.detector) for control in recipe.controlnets if control.detector},
            self._file(image.model) if image else None, self._folder(image.encoder) if image else None)

    def _unet(self, model: Path) -> Path:
        if not self.recipe.unet:
            folder = FAMILIES[self.recipe.family].denoiser
            self._require(model, (folder,))
            return model / folder
        place = self._folder(self.recipe.unet)
        if model.exists() and not _config_of(model, place).exists():
            self.missing.append(f"{self.recipe.model}/unet/config.json")  # a single file does not describe itself
        return place

    def _require(self, model: Path, parts: Iterable[str]) -> None:
        """Add the parts that are missing in the model's folder, if that exists."""
        if model.exists():
            self.missing.extend(f"{self.recipe.model}/{part}" for part in parts
                                if not _present(model / part, _NEEDS.get(part, _MODEL_NEEDS)))

    def _folder(self, source: str) -> Path:
        """A folder that contains weights, or a weight file."""
        place = find(source, self.recipe)
        if place is None or (place.is_dir() and not _present(place, _MODEL_NEEDS)):
            self.missing.append(source)
        return place or Path(source)

    def _file(self, source: str) -> Path:
        """A file; in a folder the one with diffusers' name for LoRAs, or else the first."""
        place = self._folder(source)
        if not place.is_dir():
            return place
        named = place / "pytorch_lora_weights.safetensors"
        return named if named.exists() else next(iter(sorted(place.glob("*.safetensors"))), place)


def read_json(file: Path) -> dict[str, Any]:
    """Read the mapping in a JSON file; raises OSError or ValueError."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    return content


def _config_of(model: Path, unet: Path) -> Path:
    """The file that describes the UNet: its own config.json; for a single file the model's."""
    return (model / "unet" if unet.suffix == ".safetensors" else unet) / "config.json"


def _has_second(config: Path) -> bool:
    """Whether the UNet takes a pooled text embedding beside the prompt, as in Stable Diffusion XL."""
    try:
        return read_json(config).get("addition_embed_type") == "text_time"
    except (OSError, ValueError):
        return False  # the error is reported when the file is loaded


def _present(folder: Path, patterns: Iterable[str]) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def _advice(recipe: Recipe) -> str:
    if recipe.files:
        return f"fetch it with: lcm-daemon pull {recipe.name}"
    places = [place[0] for source in _sources(recipe) if source and (place := split_hub(source))]
    command = " && ".join(f"hf download {place}" for place in dict.fromkeys(places))
    return f"fetch it with: {command}" if command else "name the folder that contains it"


def _sources(recipe: Recipe) -> Iterator[str]:
    yield from (recipe.model, recipe.unet, recipe.vae)
    yield from (lora.model for lora in recipe.loras)
    yield from (source for control in recipe.controlnets for source in (control.model, control.detector))
    if recipe.image_prompt:
        yield from (recipe.image_prompt.model, recipe.image_prompt.encoder)
