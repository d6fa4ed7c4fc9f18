"""Tags of prompts. The right readings are those of stable-diffusion-webui's extra_networks_lora.py and its regex."""

from __future__ import annotations

import time

import pytest

from lcm_daemon.pipelines.prompt_syntax import mix, split
from lcm_daemon.pipelines.prompt_tags import PromptLoras, Tag, tags, without_tags
from lcm_daemon.recipes.parts import Lora

INK = Lora("/models/pastel_ink.safetensors", 0.0, "ink")
FILM = Lora("owner/name/film.safetensors", 0.5, "Film")
MERGED = Lora("/models/lcm.safetensors")


@pytest.mark.parametrize(("prompt", "expected"), [
    ("a cat", ()),
    ("a cat <lora:ink:0.8>", (Tag("lora", "ink", 0.8),)),
    ("<lora:ink> <lyco:film:-1>", (Tag("lora", "ink", 1.0), Tag("lora", "film", -1.0))),
    ("<lora:ink:0.5:0.8>", (Tag("lora", "ink", 0.8),)),
    ("<lora:ink:te=0.5:unet=0.8>", (Tag("lora", "ink", 0.8),)),
    ("<lora:ink:te=0.5>", (Tag("lora", "ink", 0.5),)),
    ("<lora:ink:much>", (Tag("lora", "ink", None),)),
    ("<lora:ink:nan> <lora:ink:inf>", (Tag("lora", "ink", None),) * 2),
    ("<hypernet:style:1>", (Tag("hypernet", "style", 1.0),)),
    ("<3 a <b> <lora>", ()),
])
def test_tags_are_read(prompt: str, expected: tuple[Tag, ...]) -> None:
    assert tags(prompt) == expected


def test_tags_are_no_part_of_the_texts() -> None:
    assert split("<lora:ink:0.8>a cat<lora:film:1>") == (("a cat", 1.0),)
    assert dict(split("ocean <lora:ink:1>::0.7 lava::0.3 <lora:film:1>")) == pytest.approx({"ocean": 0.7, "lava": 0.3})
    assert mix([("<lora:ink:0.8>", 1.0)]) == (("", 1.0),)
    assert mix([("cat <lora:ink:1>", 0.5), ("cat", 0.5)]) == (("cat", 1.0),), "the words do not change"
    assert without_tags("I <3 you") == "I <3 you"


def test_a_tag_is_added_to_the_fader_by_the_share_of_its_prompt() -> None:
    loras, faders = PromptLoras((INK, FILM, MERGED)), {"ink": 0.25, "Film": 0.5}
    assert loras.weights(faders, [("a cat", 1.0)]) is faders
    assert loras.weights(faders, [("cat <lora:INK:0.5>", 1.0)]) == {"ink": 0.75, "Film": 0.5}
    assert loras.weights(faders, [("cat <lora:ink:0.5>", 0.5), ("dog <lora:film:-1>", 0.5)]) == {
        "ink": 0.5, "Film": 0.0}
    assert loras.weights(faders, [("<lora:ink:9> <lora:film:-9>", 1.0)]) == {"ink": 4.0, "Film": -4.0}
    assert faders == {"ink": 0.25, "Film": 0.5}


def test_a_tag_names_the_file_too() -> None:
    loras = PromptLoras((INK, FILM))
    assert loras.weights({"ink": 0.0}, [("<lora:pastel_ink:0.5>", 1.0)]) == {"ink": 0.5}
    other = PromptLoras((Lora("/models/ink.safetensors", 0.0, "other"), INK))
    assert other.weights({"ink": 0.0, "other": 0.0}, [("<lora:ink:1>", 1.0)]) == {"ink": 1.0, "other": 0.0}


@pytest.mark.parametrize("prompt", ["<lora:lcm:1>", "<lora:absent:1>", "<hypernet:ink:1>", "<lora:ink:much>"])
def test_other_tags_move_nothing(prompt: str) -> None:
    faders = {"ink": 0.25}
    assert PromptLoras((INK, MERGED)).weights(faders, [(prompt, 1.0)]) is faders


def test_hostile_tags_take_linear_time() -> None:
    begun = time.process_time()
    for unit in ("<lora:", "<lora:a", "<lora:::::", "<lora:a=b:>", "<"):
        without_tags(unit * 100_000)
        tags.__wrapped__(unit * 100_000)
    assert time.process_time() - begun < 5.0
