"""A player: several engines, several frames under way, the newest result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.engine_supervisor import Rendered
from lcm_daemon.render.player import Player, RenderInput

SIZE = (8, 8)
START = {"strength": 0.5, "seed": 1}


class Flying:
    """An EngineSupervisor's face: it takes up to `limit` frames, and returns them when the test says so."""

    def __init__(self, pid: int, limit: int) -> None:
        self.pid, self.limit = pid, limit
        self.under_way: list[tuple[int, Any]] = []  # number and values
        self.sessions: dict[int, str] = {}  # by number
        self.coming: list[Rendered] = []
        self.ready, self.substitutes, self.fallen, self.service = True, False, False, 0.0
        self.ended: list[str] = []

    @property
    def accepts_frame(self) -> bool:
        return len(self.under_way) < self.limit

    @property
    def frames_under_way(self) -> int:
        return len(self.under_way)

    def send_frame(self, frame: Frame, values: Any, now: float, guide: Frame | None = None, session: str = "") -> bool:
        assert self.accepts_frame
        self.under_way.append((frame.number, values))
        self.sessions[frame.number] = session
        return True

    def finish(self) -> int:
        """Finish the oldest frame; return its number."""
        number, _ = self.under_way.pop(0)
        self.coming.append(Rendered(self.sessions.pop(number), Frame(solid(SIZE), number, 0.0)))
        return number

    def end_session(self, session: str) -> None:
        self.ended.append(session)

    def step(self, now: float) -> list[Rendered]:
        return [self.coming.pop(0)] if self.coming else []


def player_of(*engines: Any) -> Player:
    return Player(RecipeVariant(load_recipe("passthrough")), engines, START, Metrics())


def an_input(**values: float) -> RenderInput:
    return RenderInput(Frame(solid(SIZE), 0, 0.0), None, {**START, **values})


def test_an_input_is_sent_once_however_many_frames_may_be_under_way() -> None:
    engine = Flying(1, 3)
    player, still = player_of(engine), an_input()
    for _ in range(5):
        player.send(still, 0.0)
    assert [number for number, _ in engine.under_way] == [0]
    player.send(replace(still, tick=1), 0.0)  # walking noise: another result each tick
    assert [number for number, _ in engine.under_way] == [0, 1]


def test_a_fader_is_a_change_on_the_next_frame_while_others_are_under_way() -> None:
    engine = Flying(1, 3)
    player, first = player_of(engine), an_input()
    for strength in (0.5, 0.6, 0.7):
        player.send(replace(first, values={**START, "strength": strength}), 0.0)
    assert [values["strength"] for _, values in engine.under_way] == [0.5, 0.6, 0.7]
    assert not player.accepts_frame


def test_a_result_ages_until_the_last_frame_under_way_is_back() -> None:
    engine = Flying(1, 2)
    player = player_of(engine)
    player.send(an_input(), 1.0)
    last = an_input(strength=0.9)
    player.send(last, 1.0)
    engine.finish()
    player.step(2.0)
    player.send(last, 3.0)  # nothing new; a frame is still owed
    assert player.result_at == 2.0
    engine.finish()
    player.step(4.0)
    player.send(last, 9.0)
    assert player.result_at == 9.0, "nothing is owed: the result is what the newest input gives"


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_two_engines_share_the_frames_and_the_newest_result_wins(limit: int) -> None:
    first, second = Flying(1, limit), Flying(2, limit)
    player = player_of(first, second)
    for value in range(2 * limit):
        player.send(an_input(strength=value / 10), 0.0)
    assert [number for number, _ in first.under_way] == list(range(0, 2 * limit, 2)), "the one with less work is next"
    assert [number for number, _ in second.under_way] == list(range(1, 2 * limit, 2))
    for _ in range(limit):
        second.finish()
    assert [frame.number for _ in range(limit) if (frame := player.step(1.0))] == list(range(1, 2 * limit, 2))
    for _ in range(limit):
        first.finish()
    assert [player.step(2.0) for _ in range(limit)] == [None] * limit
    assert player.result is not None
    assert player.result.number == 2 * limit - 1
    assert player.metrics.total("dropped/rendered") == limit


def test_the_last_input_is_sent_again_to_the_engine_that_replaces_a_dead_one() -> None:
    engine = Flying(1, 3)
    player, last = player_of(engine), an_input(strength=0.2)
    player.send(an_input(), 0.0)
    player.send(last, 0.0)
    engine.pid, engine.under_way = 2, []
    player.send(last, 1.0)
    assert [(number, values["strength"]) for number, values in engine.under_way] == [(2, 0.2)]
