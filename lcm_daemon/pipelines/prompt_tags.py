"""Tags in a prompt, as of stable-diffusion-webui: `<lora:ink:0.8>` adds 0.8 to the weight of the live LoRA `ink`.

A tag does not belong to the text that is encoded. It counts for the whole prompt, also inside one of several texts.
While prompts blend, it counts by the share of its prompt, so that the LoRA glides with the words. The fader of the LoRA
stays what it is: its value and that of the tags are added.

A tag names a LoRA by its name in the recipe, or by the name of its file without the ending, as other tools do. Of
several numbers (`<lora:ink:0.5:0.8>`, `<lora:ink:te=0.5:unet=0.8>`) the one for the UNet counts: here a LoRA has one
weight. `<lyco:...>` means the same. A LoRA that is not live cannot be moved; its tag has no effect.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lcm_daemon.recipes.parts import LORA_LIMIT, Lora

_TAG = re.compile(r"<(lora|lyco|hypernet):([^<>]{1,200})>")
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Tag:
    """A tag of a prompt.

    Attributes:
        kind: "lora" or "hypernet".
        name: As written.
        weight: None if it is not written as a number.
    """

    kind: str
    name: str
    weight: float | None


@functools.lru_cache(maxsize=256)
def tags(prompt: str) -> tuple[Tag, ...]:
    """The tags of a prompt, in order."""
    return tuple(_tag(match[1], match[2]) for match in _TAG.finditer(prompt)) if "<" in prompt else ()


def without_tags(prompt: str) -> str:
    """The prompt without its tags."""
    return _TAG.sub("", prompt) if "<" in prompt else prompt


def _tag(kind: str, content: str) -> Tag:
    name, *rest = (piece.strip() for piece in content.split(":"))
    named = dict(piece.split("=", 1) for piece in rest if "=" in piece)
    numbers = [piece for piece in rest if piece and "=" not in piece]
    given = named.get("unet") or (numbers[1:2] or [named.get("te") or (numbers or ["1"])[0]])[0]
    return Tag("hypernet" if kind == "hypernet" else "lora", name, _number(given))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def names_of(lora: Lora) -> frozenset[str]:
    """The names by which tags know a LoRA, in lower case."""
    file = PurePath(lora.model.replace("\\", "/")).name.removesuffix(_SUFFIX)
    return frozenset(name.lower() for name in (lora.name, file) if name)


class PromptLoras:
    """Adds what the tags of prompts say to the weights of a recipe's live LoRAs. loras: the recipe's."""

    def __init__(self, loras: Sequence[Lora]) -> None:
        live = [lora for lora in loras if lora.name]
        # The name in the recipe goes before the name of another LoRA's file.
        self._names = {name: lora.name for lora in live for name in names_of(lora)}
        self._names |= {lora.name.lower(): lora.name for lora in live}

    def __bool__(self) -> bool:
        return bool(self._names)

    def weights(self, faders: Mapping[str, float], prompts: Iterable[tuple[str, float]]) -> Mapping[str, float]:
        """The weights of one frame; `faders` itself where no prompt has a tag.

        Args:
            faders: By name of the LoRA.
            prompts: The prompts with their shares.
        """
        moved: dict[str, float] = {}
        for prompt, share in prompts:
            for tag in tags(prompt):
                name = self._names.get(tag.name.lower(), "")
                if tag.kind == "lora" and name in faders and tag.weight is not None:
                    moved[name] = moved.get(name, faders[name]) + share * tag.weight
        if not moved:
            return faders
        return {**faders, **{name: min(max(weight, -LORA_LIMIT), LORA_LIMIT) for name, weight in moved.items()}}
