"""Weights: where a recipe's files lie on this machine. Nothing is fetched here, and no torch is imported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lcm_daemon.errors import RecipeError
from lcm_daemon.recipe import Recipe

_PARTS = ("unet", "text_encoder", "tokenizer", "scheduler")  # of a diffusers folder; the vae has its own say
_NEEDS = {"tokenizer": ("vocab.json", "tokenizer.json"), "scheduler": ("scheduler_config.json",)}
_MODEL_NEEDS = ("*.safetensors",)


@dataclass(frozen=True)
class Weights:
    """model: a diffusers folder (unet/, text_encoder/, ...). vae: a folder. loras: files with their weights."""

    model: Path
    vae: Path
    loras: tuple[tuple[Path, float], ...]


def locate(recipe: Recipe) -> Weights:
    """Find everything; raise RecipeError, one line, that names all that is missing and the command that fetches it."""
    missing: list[str] = []
    model = _model(recipe.model, _PARTS if recipe.vae else (*_PARTS, "vae"), missing)
    vae = _vae(recipe.vae, missing) if recipe.vae else model / "vae"
    loras = tuple((_lora(lora.model, missing), lora.weight) for lora in recipe.loras)
    if missing:
        raise RecipeError(f"recipe {recipe.name}: not on this machine: {', '.join(missing)}; {_advice(recipe)}")
    return Weights(model, vae, loras)


def _model(source: str, parts: Iterable[str], missing: list[str]) -> Path:
    folder = _folder(source)
    if folder is None:
        missing.append(source)
        return Path(source)
    missing.extend(f"{source}/{part}" for part in parts if not _present(folder / part, _NEEDS.get(part, _MODEL_NEEDS)))
    return folder


def _vae(source: str, missing: list[str]) -> Path:
    folder = _folder(source)
    if folder is None or not _present(folder, _MODEL_NEEDS):
        missing.append(source)
    return folder or Path(source)


def _lora(source: str, missing: list[str]) -> Path:
    place = _folder(source)
    files = [] if place is None else [place] if place.suffix == ".safetensors" else sorted(place.glob("*.safetensors"))
    if not files:
        missing.append(source)
    named = [file for file in files if file.name == "pytorch_lora_weights.safetensors"]
    return (named or files or [Path(source)])[0]


def _present(folder: Path, patterns: Iterable[str]) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def _folder(source: str) -> Path | None:
    """A local path as it is, a hub id in the local cache; None where there is nothing."""
    if Path(source).is_absolute():
        return Path(source) if Path(source).exists() else None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _advice(recipe: Recipe) -> str:
    sources = [recipe.model, recipe.vae, *(lora.model for lora in recipe.loras)]
    hub = [source for source in sources if source and not Path(source).is_absolute()]
    command = recipe.fetch or " && ".join(f"hf download {source}" for source in hub)
    return f"fetch it with: {command}" if command else "give the folder that holds it"
