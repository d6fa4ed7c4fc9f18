"""NodeEngine: frames in the order of their turns, sessions, failures as messages. Without Ray."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.errors import MissingIntegration, RecipeError
from lcm_daemon.core.frame import Size, solid
from lcm_daemon.pipelines.base import Pipeline, Report
from lcm_daemon.processes.protocol import Failed, Progress
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render import node_engine
from lcm_daemon.render.engine_place import RAW
from lcm_daemon.render.node_engine import Loaded, LoadOrder, LogLine, NodeEngine, NodeRequest, NodeResult

SIZE = (32, 16)
RECIPE = Recipe("noting", pipeline="timed_copy")


class Noting(Pipeline):
    """Adds the guide to the input; notes sessions and their ends."""

    def _load(self, progress: Any) -> Report:
        if self.recipe.title:
            raise RecipeError(self.recipe.title)
        progress("warming up")
        self.noted: list[str] = []
        return Report("noting", "cpu", "uint8", self.size)

    def _enter(self, session: str) -> None:
        self.noted.append(session)

    def end_session(self, session: str) -> None:
        self.noted.append(f"end {session}")

    def _render(self, frame: Any, values: Any, out: Any, guide: Any) -> dict[str, float]:
        if values.get("fails"):
            raise MemoryError
        out[:] = frame if guide is None else frame + guide
        return {"denoise": 0.1}


def test_what_cannot_be_built_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(recipe: Recipe, size: Size) -> Noting:
        raise MissingIntegration("torch", "the package torch is not installed", "pip install torch")

    monkeypatch.setattr(node_engine, "build", build)
    failed = NodeEngine(LoadOrder(RECIPE, SIZE, False, False, False, RAW)).load()
    assert isinstance(failed, Failed)
    assert "the package torch is not installed" in failed.text


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> NodeEngine:
    monkeypatch.setattr(node_engine, "build", Noting)
    engine = NodeEngine(LoadOrder(RECIPE, SIZE, True, False, False, RAW))
    assert isinstance(engine.load(), Loaded)
    return engine


def request(
    turn: int, session: str = "", guided: bool = False, ended: tuple[str, ...] = (), **values: Any,
) -> NodeRequest:
    guide = solid(SIZE, (5, 5, 5, 0)) if guided else None
    return NodeRequest(turn, turn % 5, solid(SIZE, (turn, 0, 0, 255)), guide, values, session, ended)


def red(result: NodeResult | Failed) -> int:
    assert isinstance(result, NodeResult)
    assert isinstance(result.frame, np.ndarray)
    return int(result.frame[0, 0, 0])


def test_calls_that_arrive_out_of_order_are_rendered_in_order(engine: NodeEngine) -> None:
    with ThreadPoolExecutor(4) as pool:
        later = [pool.submit(engine.render, each) for each in (request(2, "b", ended=("a",)), request(1, "a"))]
        assert red(engine.render(request(0))) == 0
        assert [red(each.result(10)) for each in later] == [2, 1]
    assert engine._pipeline.noted == ["", "a", "end a", "b"]  # type: ignore[attr-defined]


def test_a_guide_travels_and_times_are_durations(engine: NodeEngine) -> None:
    result = engine.render(request(0, guided=True))
    assert red(result) == 5
    assert isinstance(result, NodeResult)
    assert set(result.seconds) == {"render", "denoise", "node"}
    assert 0 <= result.seconds["render"] <= result.seconds["node"] < 10


def test_messages_are_progress_and_warnings(engine: NodeEngine) -> None:
    logging.getLogger("lcm_daemon.some").warning("late\nand long")
    assert engine.messages() == [Progress("warming up"), LogLine(logging.WARNING, "lcm_daemon.some", "late")]
    assert engine.messages(0.01) == []


def test_failures_are_messages(engine: NodeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = engine.render(request(0, fails=True))
    assert isinstance(failed, Failed)
    assert failed.memory
    recipe = replace(RECIPE, title="weights are missing")
    lacking = NodeEngine(LoadOrder(recipe, SIZE, False, False, False, RAW))
    assert lacking.load() == Failed("weights are missing", retry=False)
