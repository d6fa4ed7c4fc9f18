"""The stand-in of a card refuses and spoils what a card would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from tests.rigs.card import CUDA, Card, plugged_in


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    with plugged_in(monkeypatch) as card:
        yield card


def test_a_replay_spoils_what_another_recording_has_allocated(card: Card) -> None:
    """A tensor that is first made inside a recording lies in memory that all recordings share."""
    source, graphs, made = torch.ones(2, device=CUDA), [], []
    for factor in (2.0, 3.0):
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(CUDA)
        with torch.cuda.graph(graph, stream=stream):
            made.append(source * factor)
        graphs.append(graph)
    first, second = graphs
    first.replay()
    assert made[0].tolist() == [2.0, 2.0]
    second.replay()
    assert made[1].tolist() == [3.0, 3.0]
    assert made[0].isnan().tolist() == [True, True]
    assert source.tolist() == [1.0, 1.0]


def test_numbers_of_the_host_are_no_part_of_a_recording(card: Card) -> None:
    torch.tensor([1.0], device=CUDA)
    assert [entry.kind for entry in card.log] == ["upload", "wait"]
    stream = torch.cuda.Stream(CUDA)
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"), torch.cuda.graph(
            torch.cuda.CUDAGraph(), stream=stream):
        torch.tensor([1.0], device=CUDA)


def test_the_next_launch_reports_the_error_of_a_failed_call(card: Card) -> None:
    numbers = torch.ones(2, device=CUDA)
    card.refuses_registration = True
    assert torch.cuda.cudart().cudaHostRegister(4096, 4096, 1) == 2
    with pytest.raises(RuntimeError, match="out of memory"):
        numbers.add_(1.0)
    assert numbers.add_(1.0).tolist() == [2.0, 2.0]
