"""Where Ray has no place for an engine. With stand-ins for Ray."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.engine import EngineFailed
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.remote_engine import ROOM_SECONDS, WAITING_SECONDS, RemotePipeline


class FullCluster:
    """A cluster that has a place after a number of waits."""

    def __init__(self, waits: int) -> None:
        self._waits, self.ray = waits, self
        self.actor = SimpleNamespace(describe=SimpleNamespace(remote=lambda: "described"))

    def remote(self, actor: Any) -> Any:
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda: self.actor))

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        self._waits -= 1
        return ([], references) if self._waits >= 0 else (references, [])

    def get(self, reference: Any) -> dict[str, str]:
        return {"id": "1"}


def place(beside: bool, waits: int) -> tuple[Any, list[str]]:
    said: list[str] = []
    pipeline = RemotePipeline(Recipe("some"), (64, 64), EnginePlace(ray="10.0.0.5:6379", gpus=1.0), False)
    pipeline.loads_beside, pipeline._cluster = beside, FullCluster(waits)  # type: ignore[assignment]
    return pipeline._start_actor(said.append), said


def test_an_engine_waits_for_a_free_card() -> None:
    (_, description), said = place(beside=False, waits=1000)
    assert description == {"id": "1"}
    assert said[-1] == "waiting for a node of the Ray cluster at 10.0.0.5:6379 with a free CPU and 1 free GPUs"


def test_beside_engines_that_have_every_card_it_fails_as_without_memory_so_that_they_change_in_turn() -> None:
    waits = round(ROOM_SECONDS / WAITING_SECONDS)
    place(beside=True, waits=waits - 1)
    with pytest.raises(EngineFailed, match=r"no node of the Ray cluster at 10\.0\.0\.5:6379 has a free CPU") as caught:
        place(beside=True, waits=waits)
    assert (caught.value.failed.memory, caught.value.failed.retry) == (True, True)
