"""Textual inversion and clip_skip, held to diffusers' own loader and pipelines on tiny models with random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.parts import TextualInversion
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
    from safetensors.torch import save_file

    from lcm_daemon.pipelines.components import Components, load_components
    from lcm_daemon.pipelines.learned_words import learn_words, read_vectors
    from lcm_daemon.pipelines.prompts import PromptEncoder
    from tests.pipelines.test_prompts import encode, make_parts

Tensors = Mapping[str, "torch.Tensor"]


def read(part: str, file: Path, reading: Callable[[Path], Any]) -> Any:
    try:
        return reading(file)
    except ValueError as error:
        raise RecipeError(f"{part} at {file.name} cannot be loaded: {error}") from error


def write(folder: Path, name: str, tensors: Tensors) -> Path:
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / name)
    return folder / name


def learned(parts: Components, *files: Path, names: tuple[str, ...] = ()) -> Components:
    """The components with the words of these files."""
    named = [TextualInversion(str(file), name) for file, name in zip(files, names or ("",) * len(files), strict=True)]
    return replace(parts, text_encoders=learn_words(parts.text_encoders, named, files, read))


def random_rows(count: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Components:
    return make_parts(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Components:
    """As SDXL's published configuration, which names a wrong end token for the second encoder."""
    parts = make_parts(tmp_path_factory.mktemp("two"), (32, 40), projected=True, force_zeros=True)
    parts.text_encoders[1].model.text_model.eos_token_id = 2
    return parts


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> Callable[[str], Components]:
    """A copy of a module's components, as words are added in place."""
    def copied(name: str) -> Components:
        parts: Components = request.getfixturevalue(name)
        return replace(parts, text_encoders=copy.deepcopy(parts.text_encoders))

    return copied


def pipeline_of(parts: Components) -> Any:
    first, last = parts.text_encoders[0], parts.text_encoders[-1]
    common = {"vae": None, "unet": None, "scheduler": EulerDiscreteScheduler(steps_offset=1),
              "text_encoder": first.model, "tokenizer": first.tokenizer}
    if len(parts.text_encoders) == 1:
        return StableDiffusionPipeline(**common, safety_checker=None, feature_extractor=None)
    return StableDiffusionXLPipeline(**common, text_encoder_2=last.model, tokenizer_2=last.tokenizer,
                                     add_watermarker=False)


@pytest.mark.parametrize("count", [1, 3])
def test_a_word_is_what_diffusers_loads(fresh: Callable[[str], Components], count: int, tmp_path: Path) -> None:
    file = write(tmp_path, "learned_embeds.safetensors", {"<cat-toy>": random_rows(count, 32, 1)})
    theirs, ours = pipeline_of(fresh("one")), PromptEncoder(learned(fresh("one"), file))
    theirs.load_textual_inversion(file)
    for text in ("a <cat-toy>", "red <cat-toy>, deep ocean", "lava"):
        expected, _ = theirs.encode_prompt(text, "cpu", 1, False)
        torch.testing.assert_close(encode(ours, text).states, expected, rtol=0, atol=1e-6)
    assert not torch.allclose(encode(ours, "a <cat-toy>").states, encode(ours, "a cat").states, atol=1e-2)


def test_a_word_of_sdxl_is_what_diffusers_loads(fresh: Callable[[str], Components], tmp_path: Path) -> None:
    rows = {"clip_l": random_rows(2, 32, 1), "clip_g": random_rows(2, 40, 2)}
    file, parts = write(tmp_path, "style.safetensors", rows), fresh("two")
    parts.text_encoders[1].model.text_model.eos_token_id = parts.text_encoders[1].tokenizer.eos_token_id
    theirs, ours = pipeline_of(parts), PromptEncoder(learned(fresh("two"), file))
    for key, encoder in zip(rows, parts.text_encoders, strict=True):  # as its documentation says
        theirs.load_textual_inversion(rows[key], token="style", text_encoder=encoder.model, tokenizer=encoder.tokenizer)
    states, _, pooled, _ = theirs.encode_prompt("a style of lava", device="cpu", do_classifier_free_guidance=False)
    found = encode(ours, "a style of lava")
    torch.testing.assert_close(found.states, states, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.pooled, pooled, rtol=0, atol=1e-6)


def test_all_layouts_and_names_are_read(fresh: Callable[[str], Components], tmp_path: Path) -> None:
    rows, pair = random_rows(2, 32, 1), {"clip_l": random_rows(2, 32, 1), "clip_g": random_rows(2, 40, 2)}
    a1111 = write(tmp_path, "EasyNegative.safetensors", {"emb_params": rows})
    assert read_vectors(a1111).word == ""
    encoder = PromptEncoder(learned(fresh("one"), a1111))
    assert torch.equal(encode(encoder, "a easynegative").states,
                       encode(encoder, "a embedding:EasyNegative.safetensors").states)
    named = PromptEncoder(learned(fresh("one"), a1111, names=("Bad",)))
    assert torch.equal(encode(named, "a bad").states, encode(encoder, "a easynegative").states)
    single = write(tmp_path, "one.safetensors", {"<toy>": rows[0]})
    both_names = PromptEncoder(learned(fresh("one"), single))
    assert torch.equal(encode(both_names, "a <toy>").states, encode(both_names, "a one").states)
    kohya = write(tmp_path, "a.safetensors", pair)
    advanced = write(tmp_path, "b.safetensors", {"text_encoders_0": pair["clip_l"], "text_encoders_1": pair["clip_g"]})
    xl = PromptEncoder(learned(fresh("two"), kohya, advanced))
    assert torch.equal(encode(xl, "a,").states, encode(xl, "b,").states)
    assert not torch.equal(encode(xl, "a,").states, encode(xl, "c,").states)


def test_without_a_word_nothing_changes(fresh: Callable[[str], Components], tmp_path: Path) -> None:
    file = write(tmp_path, "style.safetensors", {"clip_l": random_rows(1, 32, 1), "clip_g": random_rows(1, 40, 2)})
    before = encode(PromptEncoder(fresh("two")), "lava")
    after = encode(PromptEncoder(learned(fresh("two"), file)), "lava")
    assert torch.equal(before.states, after.states)
    assert torch.equal(before.pooled, after.pooled)


@pytest.mark.parametrize(("tensors", "line"), [
    ({"emb_params": (2, 48)}, "it is for a text encoder of width 48, this model is a text encoder of width 32"),
    ({"emb_params": (2, 768)}, "it is for SD 1.x (width 768), this model is a text encoder of width 32"),
    ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "it is for SDXL (width 768 and 1280), this model is"),
    ({"clip_l": (2, 32), "clip_g": (1, 40)}, "it has another number of vectors for each text encoder"),
    ({"a": (2, 32), "b": (2, 32)}, "its keys are not those of an embedding: a, b"),
    ({"emb_params": (2, 3, 32)}, "its keys are not those of an embedding: emb_params"),
    ({"lora_te_x.lora_up.weight": (2, 32)}, "it is a LoRA, not an embedding"),
])
def test_another_file_is_one_line(one: Components, tensors: Mapping[str, tuple[int, ...]], line: str,
                                  tmp_path: Path) -> None:
    file = write(tmp_path, "style.safetensors", {key: torch.zeros(shape) for key, shape in tensors.items()})
    with pytest.raises(RecipeError) as caught:
        learned(one, file)
    assert str(caught.value).startswith(f"embedding at style.safetensors cannot be loaded: {line}")


def test_a_pickle_is_refused(one: Components, tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    torch.save({"string_to_param": {"*": torch.zeros(1, 32)}}, file)
    with pytest.raises(RecipeError, match="cannot be loaded: it is a pickle"):
        learned(one, file)


def test_two_of_one_word_are_refused(fresh: Callable[[str], Components], tmp_path: Path) -> None:
    first = write(tmp_path, "first.safetensors", {"<toy>": random_rows(1, 32, 1)})
    second = write(tmp_path, "second.safetensors", {"<toy>": random_rows(1, 32, 2)})
    with pytest.raises(RecipeError, match="another one has the word '<toy>'; give it a name of its own"):
        learned(fresh("one"), first, second)
    learned(fresh("one"), first, second, names=("", "other"))


# clip_skip

@pytest.mark.parametrize("skip", [1, 2, 3])
def test_clip_skip_of_one_encoder(one: Components, skip: int) -> None:
    """diffusers counts the layers that are skipped, other programs the layer from the end: one more."""
    encoder, model = PromptEncoder(replace(one, clip_skip=skip)), one.text_encoders[0].model
    tokens = one.text_encoders[0].tokenizer("deep lava", padding="max_length", return_tensors="pt").input_ids
    output = model(tokens, output_hidden_states=True)
    expected = model.final_layer_norm(output.hidden_states[-skip])  # as StableDiffusionPipeline.encode_prompt
    torch.testing.assert_close(encode(encoder, "deep lava").states, expected, rtol=0, atol=1e-6)
    if skip == 1:
        assert torch.equal(encode(encoder, "deep lava").states, encode(PromptEncoder(one), "deep lava").states)


@pytest.mark.parametrize(("ours", "theirs"), [(0, None), (1, None), (2, None), (3, 1)])
def test_clip_skip_of_sdxl_equals_diffusers(two: Components, ours: int, theirs: int | None) -> None:
    states, _, pooled, _ = pipeline_of(two).encode_prompt("deep lava", device="cpu", do_classifier_free_guidance=False,
                                                          clip_skip=theirs)
    found = encode(PromptEncoder(replace(two, clip_skip=ours)), "deep lava")
    torch.testing.assert_close(found.states, states, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.pooled, pooled, rtol=0, atol=1e-6)


def test_a_layer_that_does_not_exist_is_refused(one: Components) -> None:
    with pytest.raises(RecipeError, match="clip_skip: 4 is more than the text encoder's 3 layers"):
        PromptEncoder(replace(one, clip_skip=4))


def test_a_recipe_adds_a_word(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    file = write(tmp_path, "toy.safetensors", {"emb_params": random_rows(2, 32, 1)})
    recipe = recipe_of(checkpoint("epsilon"), embeddings=(TextualInversion(str(file)),), clip_skip=2)
    parts = load_components(recipe, torch.device("cpu"), torch.float32, lambda line: None)
    encoder, plain = PromptEncoder(parts), PromptEncoder(replace(parts, clip_skip=0))
    assert not torch.equal(encode(encoder, "a toy").states, encode(encoder, "a boy").states)
    assert not torch.equal(encode(encoder, "a toy").states, encode(plain, "a toy").states)
    missing = replace(recipe, embeddings=(TextualInversion(str(tmp_path / "absent.safetensors")),))
    with pytest.raises(RecipeError, match=r"absent\.safetensors"):
        load_components(missing, torch.device("cpu"), torch.float32, lambda line: None)
