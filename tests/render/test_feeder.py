"""The feeder: whose frame a player gets, when visitors play too."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.feeder import Feeder, SessionInput
from lcm_daemon.render.player import RenderInput
from lcm_daemon.render.turns import Turns

VALUES = {"mode": "image", "noise": "fixed", "feedback": 0.0, "prompt": "sea"}
BLANK = Frame(solid((8, 8)), 0, 0.0)


class Engine:
    """Stands for a player with one engine: it accepts one frame until `finish`, and no input twice in a row."""

    def __init__(self, name: str) -> None:
        self.variant, self.start_values = RecipeVariant(Recipe(name)), dict[str, object]()
        self.accepts_frame = True
        self.sent: list[RenderInput] = []
        self.last: dict[str, RenderInput] = {}

    def send(self, render_input: RenderInput, now: float) -> bool:
        if not self.accepts_frame or self.last.get(render_input.session) == render_input:
            return False
        self.last[render_input.session] = render_input
        self.sent.append(render_input)
        self.accepts_frame = False
        return True


class Rig:
    """A feeder with a source and sessions whose frames a test sets."""

    def __init__(self, share: float, *names: str) -> None:
        self.player = Engine("ink")
        transition: Any = SimpleNamespace(
            players=[self.player], leading=self.player, state=SimpleNamespace(playing=self.player.variant))
        self.transition = transition
        self.own: Frame | None = BLANK
        self.frames: dict[str, Frame | None] = {name: Frame(solid((8, 8)), 0, 0.0) for name in names}
        self.values: dict[str, dict[str, Any]] = {}
        parameters: Any = SimpleNamespace(start={}, is_untouched=lambda name: True)
        self.feeder = Feeder(transition, parameters, BLANK, Turns(share), self._sessions)

    def _sessions(self, source: Frame | None, values: Any, now: float) -> list[SessionInput]:
        return [SessionInput(name, frame, {**values, **self.values.get(name, {})})
                for name, frame in self.frames.items()]

    def feed(self, tick: int = 0) -> None:
        source: Any = SimpleNamespace(newest=self.own)
        self.player.accepts_frame = True
        self.feeder.feed(source, None, VALUES, tick, float(tick))

    def move(self, tick: int) -> None:
        """Give every customer a new frame."""
        pixels = solid((8, 8), (tick % 256, tick // 256, 0, 255))
        self.own = Frame(pixels, tick, float(tick))
        self.frames = {name: Frame(pixels, tick, float(tick)) for name in self.frames}

    @property
    def served(self) -> Counter[str]:
        return Counter(sent.session for sent in self.player.sent)


def test_where_all_move_the_stage_has_its_share_and_sessions_the_same_part() -> None:
    rig = Rig(0.5, "1", "2", "3")
    for tick in range(120):
        rig.move(tick)
        rig.feed(tick)
    assert rig.served == {"": 60, "1": 20, "2": 20, "3": 20}


def test_what_one_customer_does_not_need_the_others_have() -> None:
    rig = Rig(0.5, "1", "2")
    for tick in range(60):
        still = rig.own, rig.frames["2"]
        rig.move(tick)
        rig.own, rig.frames["2"] = still if tick else (rig.own, rig.frames["2"])
        rig.feed(tick)
    assert rig.served == {"": 1, "2": 1, "1": 58}


def test_each_session_is_rendered_from_its_own_input_and_values() -> None:
    rig = Rig(0.5, "1", "2")
    rig.values = {"1": {"prompt": "ink"}, "2": {"prompt": "fire"}}
    rig.move(7)
    for _ in range(3):
        rig.feed()
    found = {sent.session: sent for sent in rig.player.sent}
    assert {name: sent.values["prompt"] for name, sent in found.items()} == {"": "sea", "1": "ink", "2": "fire"}
    assert found["1"].frame is rig.frames["1"]
    assert found[""].frame is rig.own


def test_a_session_without_a_frame_waits_unless_it_needs_none() -> None:
    rig = Rig(0.5, "1", "2")
    rig.frames, rig.values = {"1": None, "2": None}, {"2": {"mode": "text"}}
    for tick in range(4):
        rig.feed(tick)
    assert set(rig.served) == {"", "2"}


def test_without_a_share_the_stage_renders_nothing_of_its_own() -> None:
    rig = Rig(0.0, "1")
    for tick in range(6):
        rig.move(tick)
        rig.feed(tick)
    assert rig.served == {"1": 6}


def test_a_recipe_that_loads_renders_the_stages_picture_only() -> None:
    rig = Rig(0.5, "1")
    following: Any = Engine("wash")
    rig.transition.players.append(following)
    for tick in range(10):
        rig.move(tick)
        following.accepts_frame = True
        rig.feed(tick)
    assert {sent.session for sent in following.sent} == {""}
    assert rig.served == {"": 5, "1": 5}


def test_walking_noise_of_one_session_makes_new_pictures_of_that_session_alone() -> None:
    rig = Rig(0.5, "1", "2")
    rig.values = {"1": {"noise": "walking"}}
    for tick in range(10):
        rig.feed(tick)
    assert rig.served == {"": 1, "1": 8, "2": 1}
