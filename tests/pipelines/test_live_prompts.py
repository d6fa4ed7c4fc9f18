"""Prompts in fixed memory: the same embeddings as `PromptEncoder` makes, with nothing written while nothing changes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.components import Components
    from lcm_daemon.pipelines.live_prompts import LivePrompts
    from lcm_daemon.pipelines.numbers import Numbers
    from lcm_daemon.pipelines.prompts import Embedding, PromptEncoder
    from tests.pipelines.test_prompts import make_parts

Rows = tuple[Sequence[tuple[str, float]], ...]

LONG = " ".join("abcdefghij" * 9)  # two chunks
MOVES: list[Rows] = [
    ([("lava", 1.0)],), ([("lava", 0.7), ("ocean", 0.3)],), ([("lava", 0.6), ("ocean", 0.4)],),
    ([("lava", 0.3), ("(ocean:1.3)", 0.7)],), ([("", 1.0)], [("lava", 1.0)]),
    ([("fire", 1.0)], [("lava", 0.5), ("sky", 0.5)]), ([("", 1.0)], [(LONG, 0.5), ("sky", 0.5)]), ([("lava", 1.0)],),
    ([("a::0.2 b::0.5 c", 1.0)],),
]


@pytest.fixture(params=["one encoder", "two encoders"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> Components:
    if request.param == "one encoder":
        return make_parts(tmp_path)
    return make_parts(tmp_path, (32, 40), projected=True, force_zeros=True)


def live_prompts(parts: Components, is_cached: bool) -> LivePrompts:
    return LivePrompts(PromptEncoder(parts), Numbers(torch.device("cpu")), is_cached)


def frame(live: LivePrompts, rows: Rows) -> tuple[Embedding, list[Hashable]]:
    """One frame: where its prompts are, and the keys of what has run."""
    embedding, works = live.prepare(rows), live.pending()
    for _, work in works:
        work()
    return embedding, [key for key, _ in works]


def expected(parts: Components, rows: Rows) -> Embedding:
    encoder = PromptEncoder(parts)
    return encoder.embed(rows[0]) if len(rows) == 1 else encoder.pair(*rows)


def same(one: Embedding, other: Embedding) -> bool:
    """Texts are blended in another order, which may round otherwise."""
    if one.pooled is None or other.pooled is None:
        return one.pooled is other.pooled and torch.allclose(one.states, other.states, atol=1e-5)
    return torch.allclose(one.pooled, other.pooled, atol=1e-5) and torch.allclose(one.states, other.states, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("is_cached", [False, True])
def test_the_embeddings_are_the_encoders(parts: Components, is_cached: bool) -> None:
    live, places = live_prompts(parts, is_cached), dict[torch.Size, int]()
    for rows in MOVES:
        embedding, _ = frame(live, rows)
        assert same(embedding, expected(parts, rows)), rows
        assert places.setdefault(embedding.states.shape, embedding.states.data_ptr()) == embedding.states.data_ptr()


@pytest.mark.parametrize("is_cached", [False, True])
def test_nothing_runs_while_the_prompts_are_the_same(parts: Components, is_cached: bool) -> None:
    live = live_prompts(parts, is_cached)
    assert frame(live, MOVES[1])[1]
    assert frame(live, MOVES[1])[1] == []


def test_a_glide_is_one_recordable_work_whatever_its_texts(parts: Components) -> None:
    live = live_prompts(parts, is_cached=False)
    first, then = frame(live, MOVES[1])[1], frame(live, MOVES[2])[1]
    assert first == [None, *then]
    assert then == [("blend", (2,), 1)]
    assert frame(live, MOVES[3])[1] == first
    assert frame(live, ([("lava", 0.6), ("(ocean:1.3)", 0.4)],))[1] == then, "the larger share has changed sides"


@pytest.mark.slow
def test_texts_are_encoded_again_when_the_encoders_change(parts: Components) -> None:
    """The new tokens are written once; then each frame is one work, whose key does not depend on the texts."""
    live = live_prompts(parts, is_cached=False)
    keys = []
    for rows in (MOVES[6], MOVES[3], MOVES[3], ([("sky", 0.5), ("(lava:1.2)", 0.5)],)):
        live.change_encoders()
        scale_weights(parts)
        embedding, made = frame(live, rows)
        assert same(embedding, expected(parts, rows)), rows
        keys.append(made)
    assert keys[2] == keys[1][1:]
    assert [len(made) for made in keys] == [2, 2, 1, 2]
    embedding, _ = frame(live, MOVES[0])
    assert same(embedding, expected(parts, MOVES[0])), "no embedding from before is in the cache"


@pytest.mark.slow
def test_the_cached_kind_encodes_again_too(parts: Components) -> None:
    live = live_prompts(parts, is_cached=True)
    frame(live, MOVES[0])
    live.change_encoders()
    scale_weights(parts)
    assert same(frame(live, MOVES[0])[0], expected(parts, MOVES[0]))


def scale_weights(parts: Components) -> None:
    with torch.inference_mode():
        for encoder in parts.text_encoders:
            for weight in encoder.model.parameters():
                weight.mul_(1.01)
