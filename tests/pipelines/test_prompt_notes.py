from __future__ import annotations

import pytest

from lcm_daemon.pipelines.prompt_notes import notes
from lcm_daemon.recipes.parts import Lora, TextualInversion
from lcm_daemon.recipes.recipe import Recipe

RECIPE = Recipe("own", loras=(Lora("/models/pastel_ink.safetensors", 0.0, "ink"), Lora("/models/lcm.safetensors")),
                embeddings=(TextualInversion("/models/Easy.safetensors"),))


@pytest.mark.parametrize("prompt", [
    "a cat", "ocean::0.7 lava::0.3", "(red:1.3) [pale]", "BREAK", "a <lora:ink:0.5>", "<lora:pastel_ink:0.5>",
    "BLACK AND WHITE", "sand and ANDES", r"a \[b\] c", "[dimly lit: a room]", "I <3 you",
    "embedding:easy", "embedding:Easy.safetensors", "easy",
])
def test_what_is_read_as_meant_needs_no_note(prompt: str) -> None:
    assert notes("prompt", prompt, RECIPE) == ()


@pytest.mark.parametrize(("prompt", "line"), [
    ("a cat AND a dog", "prompt: AND is read as a word"),
    ("a [cat:dog:0.5]", "prompt: [cat:dog:0.5] is read as words"),
    ("a [cat:10]", "prompt: [cat:10] is read as words"),
    ("a [cat::0.5]", "prompt: [cat::0.5] is read as words"),
    ("a [cat|dog]", "prompt: [cat|dog] is read as words"),
    ("ocean::1 people::-0.5", "prompt: a share below 0 counts as 0"),
    ("<lora:inc:1>", "prompt: <lora:inc> has no effect: the recipe has no LoRA of that name; did you mean 'ink'?"),
    ("<lora:lcm:1>", "prompt: <lora:lcm> has no effect: the recipe gives that LoRA no name"),
    ("<lora:ink:much>", "prompt: <lora:ink> has no effect: its weight is not a number"),
    ("embedding:eazy", "prompt: embedding:eazy is read as words: the recipe has no embedding of that name; did you me"),
    ("<hypernet:x:1>", "prompt: <hypernet:x> has no effect: hypernetworks are not supported"),
])
def test_what_has_no_effect_is_told(prompt: str, line: str) -> None:
    found = notes("prompt", prompt, RECIPE)
    assert len(found) == 1
    assert found[0].startswith(line)


def test_a_lora_in_the_negative_prompt_is_told() -> None:
    assert notes("negative_prompt", "<lora:ink:1>", RECIPE) == (
        "negative_prompt: <lora:ink> has no effect: it belongs into the prompt",)
    assert notes("prompt", "<lora:ink:1>", Recipe("own")) == (
        "prompt: <lora:ink> has no effect: the recipe has no LoRA of that name",)
