"""Rules of the key `checkpoint`: a whole model in one file, over a base that gives its configuration and tokenizers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.recipes.families import SD1, SD2, SDXL, Family, WeightKind, identify
from lcm_daemon.recipes.safetensors_header import BadWeightFile, read_header
from lcm_daemon.recipes.weight_folders import PICKLE_REASON, PICKLES

SUFFIX = ".safetensors"
MAX_NAME = 255  # bytes of the name of a file or folder, on all usual file systems
# Prefixes of the tensors of each part in a whole checkpoint, by the part's folder in diffusers. The text encoders are
# CLIP's, and OpenCLIP's where the prefix ends with "model.".
PREFIXES: Mapping[str, tuple[str, ...]] = {
    "unet": ("model.diffusion_model.",), "vae": ("first_stage_model.", "vae."),
    "text_encoder": ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.",
                     "cond_stage_model.model."),
    "text_encoder_2": ("conditioner.embedders.1.model.",),
}
BASES: Mapping[Family, str] = {SD1: "sd15-lcm", SD2: "sd-turbo", SDXL: "sdxl-lcm"}  # recipes of the package


def parts_in(names: Iterable[str]) -> frozenset[str]:
    """Which parts of a model a checkpoint has, by the names of its tensors: keys of PREFIXES."""
    known = list(names)
    return frozenset(part for part, prefixes in PREFIXES.items() if any(name.startswith(prefixes) for name in known))


def parts_of(checkpoint: str) -> frozenset[str]:
    """Which parts a checkpoint has, as a recipe names it; all of them where the file is not here."""
    try:
        return parts_in(read_header(Path(checkpoint)))
    except BadWeightFile:  # on the hub, or reported elsewhere
        return frozenset(PREFIXES)


def pickle_problem(path: str) -> str:
    """Why a file is refused by its ending; "" if it is not."""
    return f"{Path(path).name!r:.80} is a pickle: {PICKLE_REASON}" if Path(path).suffix.lower() in PICKLES else ""


def too_long(path: str) -> str:
    """Why a path is refused by its length, which file systems limit; "" if it is not."""
    longest = max((len(part.encode()) for part in Path(path).parts), default=0)
    return f"{path[:40]!r}... is not a path: a name has at most {MAX_NAME} bytes" if longest > MAX_NAME else ""


def advise(path: Path) -> str:
    """The mapping that plays a file as the model: "{base: sdxl-lcm, checkpoint: x.safetensors}"."""
    return f"{{base: {base_of(path)}, checkpoint: {path.name}}}"


def file_hint(path: Path) -> str:
    """What to do with a file that is named where a recipe or a model's folder is wanted, as "; ..."."""
    try:
        kind = identify(read_header(path))
    except BadWeightFile:
        kind = WeightKind("checkpoint", SD1)
    fits = kind.part in ("checkpoint", "") and (kind.family is None or kind.family in BASES)
    return f"; a model in one file is written as {advise(path)}" if fits else f"; it is {kind}"


def base_of(path: Path) -> str:
    """The base that fits a checkpoint by its keys; "sd15-lcm" where the file is absent or of an unknown family."""
    try:
        family = identify(read_header(path)).family
    except BadWeightFile:
        family = None
    return BASES.get(family, BASES[SD1]) if family else BASES[SD1]


def check_keys(own: Mapping[str, Any], base: Mapping[str, Any], given: Mapping[str, Node], folder: Path,
               problems: Problems) -> None:
    """Report a one-file model under another key than `checkpoint`, and a base's UNet that it would lose to.

    Args:
        own: The fields that the recipe says itself.
        base: The fields of its base.
        given: The nodes of the recipe's own keys.
        folder: Where its relative paths start.
        problems: Receives the mistakes.
    """
    model = str(own.get("model") or "")
    if model.endswith(SUFFIX):
        problems.add(given["model"], "a model is a folder, or its place on the hub" + file_hint(folder / model))
    if own.get("checkpoint") and base.get("unet") and "unet" not in own:
        problems.add(given["checkpoint"], f"the base has a UNet of its own, {base['unet']}, which would replace the "
                                          "checkpoint's: add unet: \"\" to play the checkpoint's")


def laid_over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a recipe over those of its base.

    Another model replaces the base's checkpoint as well. A checkpoint has another title, licence and size.
    """
    replaced = {"checkpoint": ""} if own.get("model") and "checkpoint" not in own else {}
    if own.get("checkpoint"):
        title = Path(own["checkpoint"]).stem + (f", over {base['name']}" if base.get("model") else "")
        replaced |= {"title": title, "licence": "", "download": ""}
    return {**base, **replaced, **own}


def kind_problem(kind: WeightKind, family: Family, inputs: int, model: str) -> str:
    """Why a file cannot be the checkpoint over a model; "" if it can.

    Args:
        kind: What the file is.
        family: That of the base's model.
        inputs: Channels that its UNet takes.
        model: The base's model, for the message.
    """
    if kind.part != "checkpoint":
        return f"is {kind}, not a whole model in one file{_HINTS.get(kind.part, '')}"
    if kind.family is None:
        return "has no UNet of Stable Diffusion"
    if kind.family != family:
        base = f"; the base for it is {BASES[kind.family]}" if kind.family in BASES else ""
        return f"is {kind}, the base's model {model} is {family}{base}"
    if kind.inputs not in (0, inputs):
        made = {9: " (it is made for inpainting)", 8: " (it is made for InstructPix2Pix)"}.get(kind.inputs, "")
        return f"has a UNet of {kind.inputs} input channels{made}; the base's has {inputs}"
    return ""


_HINTS: Mapping[str, str] = {
    "unet": ": write it as unet", "vae": ": write it as vae", "lora": ": write it under loras",
    "controlnet": ": write it under controlnets", "ip_adapter": ": write it under image_prompt",
}
