"""Compares the weights of a recipe with its model: each part is of the right kind, and for the model's family.

Only headers and configurations are read. A part whose file does not tell what it is for is left to the engine, and so
is a file that cannot be read. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lcm_daemon.pipelines.lora_keys import parse
from lcm_daemon.pipelines.lora_settings import read_settings
from lcm_daemon.pipelines.weight_files import WeightFiles
from lcm_daemon.recipes.families import SD1, SD2, SDXL, Family, WeightKind, family_of_config, identify
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.safetensors_header import BadWeightFile, TensorInfo, read_header, read_metadata
from lcm_daemon.recipes.weight_folders import find_weights, read_json

_FILE = ".safetensors"
_LATENTS = 4  # channels of the latents of SD 1.x, SD 2.x and SDXL
_KNOWN = (SD1, SD2, SDXL)
_LORA, _CONTROL, _ADAPTER = ("lora",), ("controlnet", "t2i_adapter"), ("ip_adapter",)
_EMBEDDING = ("embedding",)
_UNET, _VAE = ("unet", "checkpoint"), ("vae", "checkpoint")
_WANTED: Mapping[tuple[str, ...], str] = {
    _LORA: "a LoRA", _CONTROL: "a ControlNet or a T2I-Adapter", _ADAPTER: "an IP-Adapter",
    _EMBEDDING: "an embedding (textual inversion)", _UNET: "a UNet", _VAE: "a VAE",
}
# Families by the scale of a VAE's latents: `scaling_factor` of stabilityai's and runwayml's vae/config.json. Their
# weights have the same keys and shapes, so that nothing else tells them apart.
_SCALES: Mapping[float, tuple[Family, ...]] = {0.18215: (SD1, SD2), 0.13025: (SDXL,)}
_TINY = re.compile(r"(^|[/_.-])taesd(xl)?($|[/_.-])")  # the names that the tiny VAEs of both are published under


@dataclass(frozen=True)
class Misfit:
    """A part that does not fit.

    Attributes:
        source: As the recipe names it.
        text: What is wrong: "lora ink at /x.safetensors: it is for SDXL (context 2048), this model is SD 1.x (768)".
    """

    source: str
    text: str


def misfits(recipe: Recipe, weights: WeightFiles) -> Iterator[Misfit]:
    """Yield every part of a recipe that is of another kind, or for another family than its model."""
    model = family_of_config(_config(weights.unet_config))
    if recipe.unet and weights.unet.suffix == _FILE:
        yield from _compare(recipe.unet, "unet", weights.unet, _UNET, model)
    if model in _KNOWN:
        yield from _compare_inputs(recipe, weights)
    if recipe.vae and model is not None:
        yield from _compare_vae(recipe.vae, weights.vae, model)
        yield from _compare(recipe.vae, "vae", weights.vae, _VAE, None)
    for lora, place in zip(recipe.loras, weights.loras, strict=True):
        yield from _compare(lora.model, f"lora {lora.name}".strip(), place, _LORA, model)
    for embedding, place in zip(recipe.embeddings, weights.embeddings, strict=True):
        yield from _compare(embedding.model, f"embedding {embedding.word}", place, _EMBEDDING, model)
    for control in recipe.controlnets:
        place = weights.controlnets[control.name]
        yield from _compare(control.model, f"controlnet {control.name}", place, _CONTROL, model)
    for image, place in zip(recipe.all_image_prompts, weights.adapters, strict=True):
        yield from _compare(image.model, f"image prompt {image.name}".strip(), place, _ADAPTER, model)


def misfit(found: Family | None, model: Family | None) -> str:
    """Why a part does not fit a model, as in "it is for SDXL (context 2048), this model is SD 1.x (768)".

    Args:
        found: The family that the part is for; None if it does not tell.
        model: That of the model, likewise.

    Returns:
        The reason; "" if they fit, or if it is not known.
    """
    if found is None or model is None or found == model:
        return ""
    width = f" ({model.context})" if model.context else ""
    return f"it is for {found}, this model is {model.name}{width}"


def _compare(source: str, part: str, place: Path, wanted: tuple[str, ...], model: Family | None) -> Iterator[Misfit]:
    kind = _kind(place, model)
    if kind is None:
        return
    if wanted and kind.part and kind.part not in wanted:
        reason = f"it is {kind}, not {_WANTED[wanted]}"
    else:
        reason = misfit(kind.family, model) or (_lora_problem(place) if wanted == _LORA else "")
    if reason:
        yield Misfit(source, f"{part} at {place}: {reason}")


def _lora_problem(file: Path) -> str:
    """Why a LoRA is of a kind that is not read; "" if it is read."""
    try:
        read_settings(file, read_metadata(file))
    except (OSError, ValueError, RecursionError, BadWeightFile) as error:
        return str(error)
    names, wrong = read_header(file), list[str]()
    for name in names:
        try:
            parse(name)
        except ValueError as error:
            wrong.append(str(error))
    return wrong[0] if 2 * len(wrong) > len(names) else ""


def _compare_vae(source: str, place: Path, model: Family) -> Iterator[Misfit]:
    families = _vae_families(source, place)
    if families and model in _KNOWN and model not in families:
        names = " and ".join(family.name for family in families)
        yield Misfit(source, f"vae at {place}: it is for {names}, this model is {model.name}")


    elif model in _KNOWN and (channels := _latent_channels(place)) not in (0, _LATENTS):
        yield Misfit(source, f"vae at {place}: its latents have {channels} channels, those of {model.name} {_LATENTS}")


def _compare_inputs(recipe: Recipe, weights: WeightFiles) -> Iterator[Misfit]:
    """Compare the channels that a UNet takes: those for inpainting, InstructPix2Pix and upscaling take more."""
    source, place = (recipe.unet, weights.unet) if recipe.unet else (recipe.model, weights.unet_config)
    taken = [_config(weights.unet_config).get("in_channels", _LATENTS)]
    if recipe.unet and place.suffix == _FILE and (kind := _kind(place, None)):
        taken.append(kind.inputs or _LATENTS)
    if wrong := [channels for channels in taken if channels != _LATENTS]:
        yield Misfit(source, f"unet at {place}: it takes {wrong[0]} channels, as UNets for inpainting and editing do; "
                             f"only those with {_LATENTS} are supported")


def _latent_channels(place: Path) -> int:
    """Channels of the latents that a VAE decodes; 0 if it does not tell."""
    file = place if place.is_file() else next(iter(_files(place)), None)
    try:
        tensors = read_header(file) if file else {}
    except BadWeightFile:  # it is reported
        return 0
    return next((info.shape[1] for name, info in tensors.items() if len(info.shape) == 4
                 and name.endswith(("decoder.conv_in.weight", "decoder.layers.0.weight"))), 0)


def _vae_families(source: str, place: Path) -> tuple[Family, ...]:
    """The families that a VAE is for; () if it does not tell."""
    if match := _TINY.search(source.lower().removesuffix(_FILE)):
        return (SDXL,) if match[2] else (SD1, SD2)
    scale = _config(place / "config.json").get("scaling_factor")
    return _SCALES.get(scale, ()) if isinstance(scale, float) else ()


def _kind(place: Path, model: Family | None) -> WeightKind | None:
    """What a file is, or the weights in a folder; None if it cannot be read. A ControlNet's config tells its family."""
    found = place if place.is_file() else next(iter(_files(place)), None)
    if found is None:
        return None
    try:
        tensors = read_header(found)
    except BadWeightFile:  # the error is reported when it is loaded
        return None
    kind = identify(tensors)
    if kind.part == "t2i_adapter":
        return replace(kind, family=_family_of_t2i(tensors, model))
    config = {} if place.is_file() else _config(place / "config.json")
    return replace(kind, family=kind.family or family_of_config(config))


def _family_of_t2i(tensors: Mapping[str, TensorInfo], model: Family | None) -> Family | None:
    """The family of a T2I-Adapter for one of these models. Those for SDXL unfold squares of 16 pixels, others of 8."""
    if model not in _KNOWN:
        return None
    first = next((info for name, info in tensors.items() if name.endswith("conv_in.weight")), None)
    if first is not None and len(first.shape) == 4 and first.shape[1] % 16**2 == 0:
        return SDXL
    return SD2 if model == SD2 else SD1  # they fit both


def _files(folder: Path) -> tuple[Path, ...]:
    weights = find_weights(folder, half=True)
    return weights.files if weights else ()


def _config(file: Path) -> Mapping[str, Any]:
    try:
        return read_json(file)
    except (OSError, ValueError):  # the error is reported elsewhere
        return {}
