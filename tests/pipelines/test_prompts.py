from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import lcm_daemon
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from lcm_daemon.pipelines.components import Components, TextEncoder
    from lcm_daemon.pipelines.prompts import (
        CHUNKS_LIMIT,
        CLIP_LENGTH,
        Embedding,
        PromptEncoder,
        emphasize,
        spherical_mean,
    )

BUILTIN = Path(lcm_daemon.__file__).parent / "models" / "builtin"
WORDS = st.lists(st.sampled_from([*tiny.WORDS, "a", ",", "zebra", "(lava:1.4)", "[deep]", "é", "\ud800"]), max_size=9)
LONG = " ".join("abcdefghij" * 9)  # 90 tokens: 75 and 15


def make_encoder(tokenizer, model) -> TextEncoder:
    """A text encoder that keeps what it was run on."""
    model.eval().requires_grad_(False).seen = []
    model.register_forward_pre_hook(lambda _, inputs: model.seen.append(inputs[0].tolist()))
    return TextEncoder(tokenizer, model)


def make_components(encoders, **changes) -> Components:
    return Components(**{"unet": None, "vae": None, "text_encoders": tuple(encoders), "schedule": {}, "loras": None,
                         "device": torch.device("cpu"), "dtype": torch.float32, **changes})


def make_parts(folder: Path, widths=(32,), tokens: int = 77, projected: bool = False, **changes) -> Components:
    """Components with text encoders: SD's one, SDXL's two, of which the second pads with another token."""
    torch.manual_seed(3)
    encoders = []
    for number, width in enumerate(widths):
        vocabulary = tiny.write_tokenizer(folder / f"tokenizer_{number}", tokens)
        tokenizer = CLIPTokenizer.from_pretrained(folder / f"tokenizer_{number}",
                                                  **({"pad_token": "a"} if number else {}))
        last = number == len(widths) - 1
        kind = CLIPTextModelWithProjection if projected and last else CLIPTextModel
        encoders.append(make_encoder(tokenizer, kind(CLIPTextConfig(
            vocab_size=vocabulary, hidden_size=width, intermediate_size=64, num_hidden_layers=3,
            num_attention_heads=4, max_position_embeddings=tokens, bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1, projection_dim=24))))
    return make_components(encoders, **changes)


@pytest.fixture
def one(tmp_path) -> Components:
    return make_parts(tmp_path)


@pytest.fixture
def two(tmp_path) -> Components:
    return make_parts(tmp_path, (32, 40), projected=True, force_zeros=True)


@pytest.fixture(params=["one", "two"])
def parts(request) -> Components:
    return request.getfixturevalue(request.param)


def encode(encoder: PromptEncoder, text: str) -> Embedding:
    return encoder.embed([(text, 1.0)])


def runs(parts) -> int:
    return sum(len(encoder.model.seen) for encoder in parts.text_encoders)


def same(one: Embedding, other: Embedding, **tolerance) -> bool:
    pooled = (one.pooled is None and other.pooled is None) or torch.allclose(one.pooled, other.pooled, **tolerance)
    return pooled and one.states.shape == other.states.shape and torch.allclose(one.states, other.states, **tolerance)


# Against diffusers

TEXTS = ["", "lava", "deep blue ocean, glowing clouds", " red  fire ", "zebra 漢 \x00", "<|endoftext|> lava"]


@pytest.mark.parametrize("text", TEXTS)
def test_one_encoder_equals_diffusers(one, text) -> None:
    pipeline = StableDiffusionPipeline(
        vae=None, text_encoder=one.text_encoders[0].model, tokenizer=one.text_encoders[0].tokenizer, unet=None,
        scheduler=EulerDiscreteScheduler(steps_offset=1), safety_checker=None, feature_extractor=None)
    positive, negative = pipeline.encode_prompt(text, "cpu", 1, True, negative_prompt="red clouds")
    pair = PromptEncoder(one).pair([("red clouds", 1.0)], [(text, 1.0)])
    assert pair.pooled is None
    torch.testing.assert_close(pair.states, torch.cat([negative, positive]), rtol=0, atol=1e-6)
    torch.testing.assert_close(encode(PromptEncoder(one), text).states, positive, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("negative", [None, "red clouds"])
@pytest.mark.parametrize("force_zeros", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_two_encoders_equal_diffusers(two, text, force_zeros, negative) -> None:
    first, second = two.text_encoders
    pipeline = StableDiffusionXLPipeline(
        vae=None, text_encoder=first.model, text_encoder_2=second.model, tokenizer=first.tokenizer,
        tokenizer_2=second.tokenizer, unet=None, scheduler=EulerDiscreteScheduler(steps_offset=1),
        force_zeros_for_empty_prompt=force_zeros, add_watermarker=False)
    states, negative_states, pooled, negative_pooled = pipeline.encode_prompt(
        text, device="cpu", do_classifier_free_guidance=True, negative_prompt=negative)
    pair = PromptEncoder(replace(two, force_zeros=force_zeros)).pair([(negative or "", 1.0)], [(text, 1.0)])
    torch.testing.assert_close(pair.states, torch.cat([negative_states, states]), rtol=0, atol=1e-6)
    torch.testing.assert_close(pair.pooled, torch.cat([negative_pooled, pooled]), rtol=0, atol=1e-6)
    assert bool(pair.states[0].any()) == (negative is not None or not force_zeros)


def test_a_model_with_only_the_second_encoder_uses_its_last_layer_but_one(two) -> None:
    alone = PromptEncoder(replace(two, text_encoders=two.text_encoders[1:]))
    both = encode(PromptEncoder(two), "lava")
    torch.testing.assert_close(encode(alone, "lava").states, both.states[..., 32:], rtol=0, atol=1e-6)


# Encoders of fewer tokens than CLIP's

@pytest.fixture(scope="module")
def builtin() -> Components:
    tokenizer = CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer")
    model = CLIPTextModel.from_pretrained(BUILTIN / "text_encoder", dtype=torch.float32)
    return make_components([make_encoder(tokenizer, model)])


def as_before(parts, text: str) -> torch.Tensor:
    tokenizer, model = parts.text_encoders[0].tokenizer, parts.text_encoders[0].model
    tokens = tokenizer(text, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
    return model(tokens.input_ids)[0]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=60).filter(lambda text: not set(text) & set("()[]\\") and "::" not in text)
       | st.lists(st.sampled_from(tiny.WORDS), max_size=30).map(" ".join))
@example(text="\x1flava\x85 \u3000")
def test_plain_prompts_of_the_builtin_model_are_what_the_tokenizer_makes_of_them(builtin, text) -> None:
    assert torch.equal(encode(PromptEncoder(builtin), text).states, as_before(builtin, text))


def test_the_builtin_model_truncates_a_long_prompt(builtin) -> None:
    encoder = PromptEncoder(builtin)
    long = " ".join(["lava"] * 14)
    assert encoder.tokens == 16 == encode(encoder, LONG).states.shape[1]
    assert torch.equal(encode(encoder, long).states, encode(encoder, f"{long} ocean (clouds:1.5)").states)


# Emphasis

def test_emphasis_of_1_changes_nothing(parts) -> None:
    encoder = PromptEncoder(parts)
    assert same(encode(encoder, "a (red:1.0) lava"), encode(encoder, "a red lava"))


def test_emphasis_moves_its_own_tokens_from_the_empty_prompt(parts) -> None:
    encoder = PromptEncoder(parts)
    plain, weighed, empty = (encode(encoder, text) for text in ("a red lava", "a (red:1.5) lava", ""))
    expected = plain.states.clone()
    expected[:, 2] = empty.states[:, 2] + 1.5 * (plain.states[:, 2] - empty.states[:, 2])  # start, a, red
    torch.testing.assert_close(weighed.states, expected, rtol=0, atol=1e-5)
    assert plain.pooled is None or torch.allclose(weighed.pooled, plain.pooled, atol=1e-6)


def test_emphasis_of_0_leaves_the_empty_prompts_state() -> None:
    states, empty = torch.randn(2, 4, 8), torch.randn(4, 8)
    factors = torch.tensor([[1.0, 0.0, 2.0, -1.0], [0.3, 1.0, 1.0, 1.0]])
    moved = emphasize(states, empty, factors)
    assert torch.equal(moved[0, 0], states[0, 0])
    assert torch.equal(moved[0, 1], empty[1])
    torch.testing.assert_close(moved[0, 2] - empty[2], 2 * (states[0, 2] - empty[2]))
    torch.testing.assert_close(moved[0, 3] - empty[3], empty[3] - states[0, 3])
    assert torch.equal(moved[1, 1:], states[1, 1:])


def test_escapes_reach_the_tokenizer_as_plain_text(one) -> None:
    encode(PromptEncoder(one), r"lava \(red\)")
    tokenizer = one.text_encoders[0].tokenizer
    assert one.text_encoders[0].model.seen[0][0] == tokenizer("lava (red)", padding="max_length").input_ids


# Long prompts

def test_a_long_prompt_is_encoded_in_separate_chunks(parts) -> None:
    encoder = PromptEncoder(parts)
    long = encode(encoder, LONG)
    first, second = " ".join(LONG.split()[:75]), " ".join(LONG.split()[75:])
    assert encoder.tokens == CLIP_LENGTH
    expected = torch.cat([encode(encoder, first).states, encode(encoder, second).states], dim=1)
    torch.testing.assert_close(long.states, expected, rtol=0, atol=1e-5)
    assert long.pooled is None or torch.allclose(long.pooled, encode(encoder, first).pooled, atol=1e-6)


@pytest.mark.parametrize(("tokens", "chunks"), [(0, 1), (1, 1), (75, 1), (76, 2), (150, 2), (151, 3),
                                                (1000, CHUNKS_LIMIT)])
def test_number_of_chunks(one, tokens, chunks) -> None:
    assert encode(PromptEncoder(one), "a " * tokens).states.shape == (1, chunks * CLIP_LENGTH, 32)


def test_a_short_prompt_is_padded_beside_a_long_one(parts) -> None:
    encoder = PromptEncoder(parts)
    short, long, empty = (encode(encoder, text) for text in ("lava", LONG, ""))
    pair = encoder.pair([("lava", 1.0)], [(LONG, 1.0)])
    assert torch.equal(pair.states[0], torch.cat([short.states, empty.states], dim=1)[0])
    assert torch.equal(pair.states[1], long.states[0])
    turned = encoder.pair([(LONG, 1.0)], [("lava", 1.0)])
    assert torch.equal(turned.states, pair.states.flip(0))


def test_a_blank_negative_prompt_is_padded_with_zeros(two) -> None:
    pair = PromptEncoder(two).pair([(" ", 1.0)], [(LONG, 1.0)])
    assert pair.states.shape == (2, 2 * CLIP_LENGTH, 72)
    assert not pair.states[0].any()
    assert not pair.pooled[0].any()
    assert pair.states[1].any()


# Blends

def test_the_ends_of_a_blend_are_the_prompts_themselves(parts) -> None:
    encoder = PromptEncoder(parts)
    lava, ocean = encode(encoder, "lava"), encode(encoder, "deep ocean")
    for texts, expected in (([("lava", 1.0), ("deep ocean", 0.0)], lava), ([("lava::0 deep ocean::2", 1.0)], ocean),
                            ([("lava", 0.0), ("deep ocean", 1.0)], ocean), ([("lava", 0.4), ("lava", 0.6)], lava)):
        assert encoder.embed(texts).states is expected.states


def test_a_blend_keeps_the_mean_length_of_every_token(parts) -> None:
    encoder = PromptEncoder(parts)
    lava, ocean = encode(encoder, "lava").states, encode(encoder, "deep ocean").states
    blend = encoder.embed([("lava", 0.7), ("deep ocean", 0.3)]).states
    for part in (slice(0, 32), slice(32, None)):
        lengths = [states[..., part].norm(dim=-1) for states in (lava, ocean, blend)]
        torch.testing.assert_close(lengths[2], 0.7 * lengths[0] + 0.3 * lengths[1])


def test_weights_in_the_text_multiply_with_shares(parts) -> None:
    encoder = PromptEncoder(parts)
    inside, beside = encoder.embed([("lava::0.7 ocean::0.3", 1.0)]), encoder.embed([("lava", 0.7), ("ocean", 0.3)])
    assert same(inside, beside)
    both = encoder.embed([("lava::0.7 ocean::0.3", 0.5), ("clouds", 0.5)])
    assert same(both, encoder.embed([("lava", 0.35), ("clouds", 0.5), ("ocean", 0.15)]), atol=1e-5)


def test_a_blend_of_a_blank_negative_prompt_grows_out_of_zeros(two) -> None:
    encoder = PromptEncoder(two)
    pair = encoder.pair([("", 0.75), ("lava", 0.25)], [("ocean", 1.0)])
    torch.testing.assert_close(pair.states[0], 0.25 * encode(encoder, "lava").states[0], rtol=0, atol=1e-6)


def test_a_blend_of_a_short_and_a_long_prompt_is_as_long_as_the_long_one(parts) -> None:
    encoder = PromptEncoder(parts)
    assert encoder.embed([("lava", 0.5), (LONG, 0.5)]).states.shape[1] == 2 * CLIP_LENGTH
    assert encoder.embed([("lava", 1.0), (LONG, 0.0)]).states.shape[1] == CLIP_LENGTH


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(WORDS.map(" ".join) | st.just("ocean::2 lava::1") | st.text(max_size=20),
                          st.sampled_from([0.0, 1e-9, 0.2, 0.5, 1.0])), max_size=5))
def test_any_prompts_give_finite_states_of_one_size(builtin, prompts) -> None:
    embedding = PromptEncoder(builtin).embed(prompts)
    assert embedding.states.shape == (1, 16, 128)
    assert embedding.states.isfinite().all()


# The mean on the sphere

def slerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """Shoemake's, written out in double precision, with the length between."""
    one, other = one.double(), other.double()
    lengths = one.norm(dim=-1, keepdim=True), other.norm(dim=-1, keepdim=True)
    one, other = one / lengths[0], other / lengths[1]
    angle = torch.acos((one * other).sum(-1, keepdim=True))
    direction = (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other) / torch.sin(angle)
    return direction * torch.lerp(*lengths, share)


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("likeness", [0.0, 0.9, 0.999])
def test_the_spherical_mean_of_two_vectors_is_slerp(share, likeness) -> None:
    torch.manual_seed(0)
    common = torch.randn(77, 64)
    one, other = (3 * (likeness * common + (1 - likeness) * torch.randn(77, 64)) for _ in range(2))
    mean = spherical_mean(torch.stack([one, other]), torch.tensor([1 - share, share]))[0]
    torch.testing.assert_close(mean.double(), slerp(one, other, share), rtol=0, atol=5e-5)


def test_the_spherical_mean_of_several_vectors_is_in_the_middle() -> None:
    corner = torch.eye(3)
    mean = spherical_mean(2 * corner, torch.full((3,), 1 / 3))[0]
    torch.testing.assert_close(mean, torch.full((3,), 2 / 3 ** 0.5))
    # The sum of the arcs to them, each by its share, vanishes: the definition of the mean.
    torch.manual_seed(1)
    vectors = torch.randn(5, 64) + 0.5
    shares = torch.tensor([0.1, 0.2, 0.3, 0.25, 0.15])
    mean, directions = (torch.nn.functional.normalize(v, dim=-1) for v in (spherical_mean(vectors, shares), vectors))
    cosine = (mean * directions).sum(-1, keepdim=True)
    across = torch.nn.functional.normalize(directions - cosine * mean, dim=-1)
    assert (shares[:, None] * cosine.acos() * across).sum(0).norm() < 6e-4


def test_a_third_text_fades_in_without_a_jump() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(3, 77, 64)
    two = spherical_mean(vectors[:2], torch.tensor([0.6, 0.4]))
    three = spherical_mean(vectors, torch.tensor([0.6, 0.4 - 1e-6, 1e-6]))
    torch.testing.assert_close(three, two, rtol=0, atol=1e-4)


@pytest.mark.parametrize("vectors", [[[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [-1.0, 0.0]],
                                     [[1e-20, 0.0], [1e18, 1e18]], [[0.0, 0.0], [2.0, 0.0]]])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_degenerate_vectors_stay_finite(vectors, share) -> None:
    mean = spherical_mean(torch.tensor(vectors), torch.tensor([1 - share, share]))
    assert mean.isfinite().all()
    assert mean.norm() <= torch.tensor(vectors).norm(dim=-1).max() * 1.001


# The cache

def test_a_text_is_encoded_once(parts) -> None:
    encoder = PromptEncoder(parts)
    encoder.embed([("lava", 1.0)])
    encoder.embed([("ocean", 1.0)])
    first = runs(parts)
    for step in range(20):
        encoder.embed([("lava", 1 - step / 20), ("ocean", step / 20)])
        encoder.embed([("lava::1 ocean::3", 1.0)])
        encoder.pair([("ocean", 1.0)], [("lava", step / 20), ("ocean", 1 - step / 20)])
    assert first == runs(parts) == 2 * len(parts.text_encoders)


def test_a_text_of_share_0_is_encoded_in_advance(parts) -> None:
    encoder = PromptEncoder(parts)
    encoder.embed([("lava", 1.0), ("ocean", 0.0)])
    before = runs(parts)
    encoder.embed([("lava", 0.9), ("ocean", 0.1)])
    assert runs(parts) == before


def test_an_unchanged_prompt_gives_the_same_object(parts) -> None:
    encoder = PromptEncoder(parts)
    still = [("lava", 0.5), ("ocean", 0.5)]
    assert encoder.embed(still) is encoder.embed(list(still))
    assert encoder.pair(still, still) is encoder.pair(still, still)


def test_after_clearing_the_cache_prompts_are_encoded_again(parts) -> None:
    encoder = PromptEncoder(parts)
    before = encode(encoder, "lava").states.clone()
    pair = encoder.pair([("", 1.0)], [("lava", 1.0)]).states.clone()
    with torch.no_grad():
        for text_encoder in parts.text_encoders:
            for weights in text_encoder.model.parameters():
                weights.mul_(1.1)
    assert torch.equal(encode(encoder, "lava").states, before)
    encoder.clear_cache()
    assert not torch.allclose(encode(encoder, "lava").states, before)
    assert not torch.allclose(encoder.pair([("", 1.0)], [("lava", 1.0)]).states, pair)


def test_embeddings_have_the_unets_dtype(tmp_path) -> None:
    parts = make_parts(tmp_path, (32, 40), projected=True, dtype=torch.float16)
    for encoder in parts.text_encoders:
        encoder.model.half()
    embedding = PromptEncoder(parts).embed([("(lava:1.3)", 0.5), ("ocean", 0.5)])
    assert {embedding.states.dtype, embedding.pooled.dtype} == {torch.float16}
    assert embedding.states.isfinite().all()
