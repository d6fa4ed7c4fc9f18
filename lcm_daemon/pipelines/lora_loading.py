"""Loads the LoRAs of a recipe into its models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lcm_daemon.pipelines.lora_file import LoraContent, read_lora
from lcm_daemon.pipelines.loras import LiveLoras, merge
from lcm_daemon.recipes.recipe import Recipe

log = logging.getLogger(__name__)
Read = Callable[[str, Path, Callable[[Path], LoraContent]], LoraContent]


def load_loras(recipe: Recipe, files: Sequence[Path], unet: Any, text_encoders: Sequence[Any], read: Read) -> LiveLoras:
    """Merge LoRAs without a name; make the others live, at the recipe's weights.

    Args:
        recipe: The recipe.
        files: Its LoRAs, in its order.
        unet: Its UNet, on its final device and in its final precision.
        text_encoders: Likewise.
        read: Calls a function that reads a part from a file, and reports what is wrong with it.
    """
    live: dict[str, LoraContent] = {}
    for lora, file in zip(recipe.loras, files, strict=True):
        content = read(f"lora {lora.name}".strip(), file, lambda place: read_lora(place, unet, text_encoders))
        if content.skipped:
            log.warning("recipe %s: lora at %s: %s", recipe.name, file, content.skipped)
        if lora.name:
            live[lora.name] = content
        else:
            merge(content, lora.weight)
    loras = LiveLoras(unet, text_encoders, {name: content.factors for name, content in live.items()},
                      {name: content.full for name, content in live.items()})
    loras.set_weights({lora.name: lora.weight for lora in recipe.loras})
    return loras
