"""What in a prompt has no effect here, though it has one in other tools. Such a prompt plays all the same."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

from lcm_daemon.core.suggestions import nearest
from lcm_daemon.pipelines.prompt_tags import Tag, names_of, tags
from lcm_daemon.recipes.parts import Lora
from lcm_daemon.recipes.recipe import Recipe

PROMPTS = ("prompt", "prompt_b", "negative_prompt")
# In a text of capitals alone AND is a word as any other.
_AND = re.compile(r"\bAND\b")
# [from:to:when], [from::when], [to:when]; and [a|b], which takes turns.
_EDIT = re.compile(r"\[[^\[\]]{0,300}:\s*[0-9]*\.?[0-9]+\s*\]")
_TURNS = re.compile(r"\[[^\[\]|]{1,200}\|[^\[\]]{0,300}\]")
_EMBEDDING = re.compile(r"(?<!\w)embedding:([^\s()\[\]:,]{1,100})")
_NEGATIVE_SHARE = re.compile(r"::\s*-\s*(?:\.?[0-9])")


def notes(name: str, prompt: str, recipe: Recipe) -> tuple[str, ...]:
    """What the sender of a prompt should know: sentences without a full stop; nothing for most prompts.

    Args:
        name: Of the parameter: "prompt", "prompt_b" or "negative_prompt".
        prompt: Its text.
        recipe: What plays.
    """
    if not any(mark in prompt for mark in ("<", "[", ":", "AND")):
        return ()
    found = (*_syntax(prompt), *_tags(name, prompt, recipe.loras), *_words(prompt, recipe))
    return tuple(f"{name}: {note}" for note in found)


@functools.lru_cache(maxsize=64)
def _syntax(prompt: str) -> tuple[str, ...]:
    found = []
    if _AND.search(prompt) and prompt != prompt.upper():
        found.append("AND is read as a word; `ocean::0.7 lava::0.3` mixes two prompts")
    if match := _EDIT.search(prompt):
        found.append(f"{match[0]:.60} is read as words: a prompt does not change between the steps of a frame")
    if match := _TURNS.search(prompt):
        found.append(f"{match[0]:.60} is read as words: a prompt does not change between the steps of a frame")
    if _NEGATIVE_SHARE.search(prompt):
        found.append("a share below 0 counts as 0; what not to render belongs into negative_prompt")
    return tuple(found)


def _words(prompt: str, recipe: Recipe) -> Iterator[str]:
    known = [part.word for part in recipe.embeddings]
    for match in _EMBEDDING.finditer(prompt):
        word = match[1].lower().removesuffix(".safetensors")
        if word not in known:
            yield (f"{match[0]:.60} is read as words: the recipe has no embedding of that name"
                   + (nearest(word, known) if known else ""))


def _tags(name: str, prompt: str, loras: Sequence[Lora]) -> Iterator[str]:
    for tag in tags(prompt):
        if reason := _why_unused(name, tag, loras):
            yield f"<{tag.kind}:{tag.name:.40}> has no effect: {reason}"


def _why_unused(name: str, tag: Tag, loras: Sequence[Lora]) -> str:
    if tag.kind == "hypernet":
        return "hypernetworks are not supported"
    if tag.weight is None:
        return "its weight is not a number"
    if name == "negative_prompt":
        return "it belongs into the prompt"
    fitting = [lora for lora in loras if tag.name.lower() in names_of(lora)]
    if not fitting:
        known = sorted(lora.name for lora in loras if lora.name)
        return "the recipe has no LoRA of that name" + (nearest(tag.name, known) if known else "")
    if not any(lora.name for lora in fitting):
        return "the recipe gives that LoRA no name, so its weight cannot move"
    return ""
