"""The compiled form: when it is loaded beside the quick one, when it waits, and what follows its failure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.pipelines.base import DeviceMemory, Report
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.recipes.prepared import Prepared, PreparedForm, digest_of, installed_torch
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import ChangeEnd, Outcome, RecipeState, RecipeVariant
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.engine_supervisor import Rendered
from lcm_daemon.render.player import Player
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.render.transition import START_PAUSE, Phase, RecipeTransition
from lcm_daemon.render.upgrade import FIRST_PAUSE, STABLE, Upgrade
from tests.conftest import ManualClock

SIZE = (16, 16)
QUICK = RecipeVariant(Recipe("own", accelerate="compile"))
COMPILED = replace(QUICK, accelerator="compile")
OTHER = RecipeVariant(Recipe("other", accelerate="none"))
GIB = 1 << 30
REPORT = Report("own", "stand-in", "float16", SIZE)
PLACE = EnginePlace()


@dataclass
class Engine:
    """An EngineSupervisor's face. It delivers a frame in every step once it is ready."""

    variant: RecipeVariant
    policy: RestartPolicy
    ready: bool = False
    downgraded: bool = False
    failure: Failed | None = None
    memory: DeviceMemory | None = None
    fallen: bool = False
    substitutes: bool = False
    service: float = 0.0
    latency: float = 0.0
    last_result_at: float = 0.0
    pid: int = 1
    alarm: str = ""
    state: str = "starting"
    report: Report = REPORT
    place: EnginePlace = PLACE
    frames: int = 0

    def start(self, now: float, spare: Any = None, beside: bool = False) -> None:
        self.beside = beside

    def stop(self, seconds: float = 1.0) -> None:
        self.ready, self.failure = False, Failed("stopped")

    gone = True

    def pop_spare(self) -> None:
        return None

    def waitables(self) -> list[Any]:
        return []

    def step(self, now: float) -> list[Rendered]:
        self.frames += self.ready
        return [Rendered("", Frame(solid(SIZE), self.frames, now))] if self.ready else []


class Rig:
    """A RecipeTransition and an Upgrade on a clock that the test moves."""

    def __init__(self, clock: ManualClock, prepared: Prepared | None = None) -> None:
        self.clock, self.silent, self.made = clock, False, list[Engine]()
        prepared = prepared or Prepared()
        self.state = RecipeState(prepared.form_of(QUICK))
        self.played: list[RecipeVariant] = []
        self.ends: list[ChangeEnd] = []
        self.state.on_playing.append(self.played.append)
        self.state.on_end.append(self.ends.append)
        self.transition = RecipeTransition(self.state, self._build, Metrics(), seconds=0.5)
        self.upgrade = Upgrade(self.transition, prepared)
        self.transition.start(clock.now())

    def _build(self, variant: RecipeVariant, policy: RestartPolicy) -> Player:
        self.made.append(Engine(variant, policy))
        return Player(variant, [self.made[-1]], {}, Metrics())  # type: ignore[list-item]

    @property
    def newest(self) -> Engine:
        return self.made[-1]

    def step(self, seconds: float = 0.0) -> None:
        """Let time pass, in steps of a tenth of a second."""
        for _ in range(max(1, round(seconds / 0.1))):
            self.clock.sleep(min(seconds, 0.1))
            self.transition.step(self.clock.now(), False)
            self.state.announce()
            self.upgrade.step(self.clock.now(), lambda: self.silent)

    def load(self) -> None:
        """The newest engine is ready, and takes over."""
        self.newest.ready = True
        self.step(2.0)

    def crash(self) -> None:
        """The engine that plays dies, and its supervisor starts the quick form in its place."""
        self.newest.downgraded, self.newest.variant = True, self.newest.variant.quick
        self.step()


@pytest.fixture
def rig(clock: ManualClock) -> Rig:
    return Rig(clock)


def test_the_quick_form_plays_first_and_the_compiled_one_loads_beside_it(rig: Rig) -> None:
    assert QUICK.rendered.accelerate != "compile"
    assert rig.newest.variant == QUICK
    rig.step(1.0)
    assert len(rig.made) == 1, "nothing is loaded beside an engine that loads"
    rig.newest.ready = True
    rig.step(1.0)
    assert (rig.newest.variant, rig.newest.beside) == (COMPILED, True)
    assert COMPILED.rendered.accelerate == "compile"
    assert rig.transition.current.variant == QUICK
    rig.load()
    assert rig.played == [COMPILED]
    assert [(end.variant, end.outcome) for end in rig.ends] == [(COMPILED, Outcome.DONE)]
    rig.step(60.0)
    assert len(rig.made) == 2


def test_a_crash_returns_the_quick_form_at_once_and_the_compiled_one_follows(rig: Rig) -> None:
    rig.newest.ready = True
    rig.step(1.0)
    rig.load()
    rig.crash()
    assert rig.played == [COMPILED, QUICK], "the account says what plays"
    assert rig.transition.current.variant == QUICK
    rig.step(START_PAUSE)
    assert rig.newest.variant == COMPILED
    rig.load()
    assert rig.played == [COMPILED, QUICK, COMPILED]
    rig.crash()
    rig.step(FIRST_PAUSE / 2)
    assert len(rig.made) == 3, "it failed again soon"
    assert "has failed; it is loaded again in" in rig.upgrade.waiting
    rig.step(FIRST_PAUSE)
    assert rig.newest.variant == COMPILED
    rig.load()
    rig.step(STABLE)
    rig.crash()
    rig.step(START_PAUSE)
    assert len(rig.made) == 5, "at once again"


def test_one_that_cannot_be_loaded_is_tried_once(rig: Rig) -> None:
    rig.newest.ready = True
    rig.step(1.0)
    rig.newest.failure = Failed("no compiler", retry=False)
    rig.step(60.0)
    assert len(rig.made) == 2
    assert rig.transition.phase is Phase.PLAYING
    assert rig.upgrade.waiting == ""


def test_one_that_was_given_up_for_another_recipe_comes_later(rig: Rig) -> None:
    rig.newest.ready = True
    rig.step(1.0)
    rig.transition.ask(OTHER)
    rig.step(1.0)
    assert rig.newest.variant == OTHER
    rig.load()
    rig.step(10.0)
    assert rig.newest.variant == OTHER, "it has no other form"
    rig.transition.ask(QUICK)
    rig.step(1.0)
    rig.load()
    assert rig.newest.variant == COMPILED


def too_full(rig: Rig) -> None:
    rig.newest.memory = DeviceMemory(free=5 * GIB, total=12 * GIB, used=6 * GIB)
    rig.newest.ready = True
    rig.step(60.0)


def test_where_two_do_not_fit_it_waits_for_a_silent_input(rig: Rig) -> None:
    too_full(rig)
    assert len(rig.made) == 1
    assert rig.upgrade.waiting == (
        "the form compiled by compile waits for another recipe or a silent input: 5.0 GiB of the device's memory are "
        "free, and it needs about 6.6")
    rig.silent = True
    rig.step(2.0)
    assert [engine.variant for engine in rig.made] == [QUICK, COMPILED]
    assert rig.made[0].failure is not None, "it has made room"
    assert not rig.newest.beside
    assert rig.transition.age(rig.clock.now()) == 0.0, "the last frame is held"
    rig.load()
    assert rig.played == [COMPILED]
    assert rig.upgrade.waiting == ""


def test_an_input_that_returns_brings_the_quick_form_back(rig: Rig) -> None:
    too_full(rig)
    rig.silent = True
    rig.step(2.0)
    rig.silent = False
    rig.step(1.0)
    assert [engine.variant for engine in rig.made] == [QUICK, COMPILED, QUICK]
    assert rig.ends[-1].outcome is Outcome.GIVEN_UP
    assert rig.transition.current.result is not None, "the held frame"
    rig.load()
    assert rig.state.playing == QUICK


def test_one_that_ran_out_of_memory_waits_as_if_that_had_been_known(rig: Rig) -> None:
    rig.newest.ready = True
    rig.step(1.0)
    rig.newest.failure = Failed("CUDA out of memory", memory=True)
    rig.step(1.0)
    assert "it did not fit beside the one that plays" in rig.upgrade.waiting
    rig.silent = True
    rig.step(2.0)
    assert len(rig.made) == 3
    rig.newest.failure = Failed("CUDA out of memory", memory=True)
    rig.step(60.0)
    assert [engine.variant for engine in rig.made[3:]] == [QUICK], "it does not fit alone: no more tries"


def form(variant: RecipeVariant, **changes: Any) -> PreparedForm:
    return replace(PreparedForm(digest_of(variant.rendered), "own", "512x512", "compile", installed_torch(), "a card",
                                True, 8.0), **changes)


@pytest.mark.parametrize(("changes", "first"), [
    ({}, COMPILED), ({"seconds": 90.0}, QUICK), ({"torch": "1.0"}, QUICK), ({"accelerator": "tensorrt"}, QUICK),
    ({"folder": "/nowhere/at/all"}, QUICK),
])
def test_what_was_prepared_and_loads_within_seconds_is_the_first_to_play(
    clock: ManualClock, changes: dict[str, Any], first: RecipeVariant
) -> None:
    rig = Rig(clock, Prepared([form(QUICK, **changes)]))
    assert rig.newest.variant == first


def test_a_size_of_the_governor_is_upgraded_only_if_it_was_prepared(clock: ManualClock) -> None:
    smaller = replace(QUICK, scale=0.75)
    for forms, upgraded in (([], False), ([form(smaller)], True)):
        rig = Rig(clock, Prepared(forms))
        rig.transition.current.variant = rig.state.playing = smaller
        rig.newest.ready = True
        rig.step(5.0)
        assert (len(rig.made) > 1) is upgraded
