"""Compiled engines in real processes: the quick form plays at once, whatever dies; the compiled one comes back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.pipelines.base import Report
from lcm_daemon.processes.protocol import Failed, Progress, Ready
from lcm_daemon.recipes.prepared import Prepared
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import RecipeState, RecipeVariant
from lcm_daemon.render.engine_silence import LONGEST_QUICK_LOAD
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.player import Player, RenderInput
from lcm_daemon.render.policy import EngineTimeouts, RestartPolicy, describe_memory
from lcm_daemon.render.spare import Spare
from lcm_daemon.render.transition import RecipeTransition
from lcm_daemon.render.upgrade import Upgrade
from tests.conftest import ManualClock
from tests.rigs import compiling_pipeline
from tests.rigs.compiling_pipeline import COMPILED, QUICK, compiling_recipe

SIZE = (64, 48)
VALUES = Parameters().targets()
AT_ONCE = 8.0  # seconds, with a cold start of a process beside other tests; a compilation never ends by itself here


class Show:
    """What the stage does with its engines, without sources and sinks."""

    def __init__(self, recipe: Recipe, loads_spare: bool = False) -> None:
        self.metrics, self._loads_spare = Metrics(), loads_spare
        self.state = RecipeState(RecipeVariant(recipe))
        self.transition = RecipeTransition(self.state, self._build, self.metrics, seconds=0.0)
        self.upgrade = Upgrade(self.transition, Prepared())
        self.red: int | None = None  # of the newest result
        self._by = 0  # process id of the engine that rendered it
        self.transition.start(time.perf_counter())
        self._frames = 0

    def _build(self, variant: RecipeVariant, policy: RestartPolicy) -> Player:
        quick = variant.quick.rendered if variant.accelerator else None
        engine = EngineSupervisor((variant.rendered,), SIZE, self.metrics, EngineTimeouts(frame=20.0), policy=policy,
                                  quick=quick, spare=Spare(self.metrics, loads=True) if self._loads_spare else None)
        return Player(variant, [engine], {}, self.metrics)

    @property
    def engine(self) -> EngineSupervisor:
        return self.transition.leading.engines[0]

    def play(self, until: Callable[[], object], seconds: float = 60.0) -> float:
        """Play until the condition holds; returns the seconds that took."""
        begun = time.perf_counter()
        while not until():
            now = time.perf_counter()
            assert now < begun + seconds, f"{self.engine.state}; {self.transition.describe()}; {self.engine.alarm}"
            if result := self.transition.step(now, False):
                self.red, self._by = int(result.pixels[0, 0, 0]), self.engine.pid
            self.state.announce()
            self.upgrade.step(now, lambda: False)
            self._frames += 1
            for player in self.transition.players:
                player.send(RenderInput(Frame(solid(SIZE), self._frames, now), None, VALUES), now)
            time.sleep(0.002)
        return time.perf_counter() - begun

    def kill(self) -> float:
        """Kill the engine that plays; returns the seconds until another one has delivered a result."""
        first = self.engine.pid
        os.kill(first, signal.SIGKILL)
        return self.play(lambda: self._by != first)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Show]]:
    monkeypatch.setattr("lcm_daemon.render.engine.run", compiling_pipeline.run)
    made: list[Show] = []

    def make(**options: Any) -> Show:
        made.append(Show(compiling_recipe(tmp_path / "gate"), **options))
        return made[-1]

    yield make
    for show in made:
        show.transition.stop(1.0)


@pytest.mark.slow
def test_a_killed_compiled_engine_paints_again_at_once_and_the_compiled_one_follows(
    play: Callable[..., Show], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate, show = tmp_path / "gate", play()
    assert show.play(lambda: show.red == QUICK) < AT_ONCE
    show.play(lambda: "compiling the denoiser" in show.transition.describe())
    assert show.engine.memory is not None
    assert describe_memory(show.engine.memory) == "20.0 of 24.0 GiB free"
    gate.touch()
    show.play(lambda: show.red == COMPILED)
    assert show.state.playing.accelerator == "compile"
    assert show.engine.report.dtype == "beside"
    gate.unlink()
    assert show.kill() < AT_ONCE
    assert (show.red, show.state.playing.accelerator, show.engine.alarm) == (QUICK, "", "")
    assert show.engine.report.dtype == "returns"
    assert "the engine compiled by compile has failed; it plays without that" in caplog.text
    show.play(lambda: "compiling the denoiser" in show.transition.describe())
    gate.touch()
    show.play(lambda: show.red == COMPILED)
    assert show.state.playing.accelerator == "compile"


@pytest.mark.slow
def test_a_spare_that_has_loaded_the_quick_form_takes_over_within_a_frame(
    play: Callable[..., Show], tmp_path: Path
) -> None:
    gate, show = tmp_path / "gate", play(loads_spare=True)
    gate.touch()
    show.play(lambda: show.red == COMPILED and show.engine.spare.loaded is not None)
    gate.unlink()
    assert show.kill() < 0.5, "it only renders a frame"
    assert show.red == QUICK
    gate.touch()
    show.play(lambda: show.red == COMPILED and show.engine.spare.loaded is not None)
    assert show.kill() < 0.5, "the next one was there again"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[EngineSupervisor, Any]]:
    """A supervisor whose engine says what the test wants."""

    class Silent:
        def __init__(self) -> None:
            self.channel = self.process = self
            self.pid, self.unanswered, self.pipe, self.messages, self.loaded = 1, {}, None, list[Any](), list[Any]()

        def receive(self) -> list[Any]:
            messages, self.messages = self.messages, []
            return messages

        def send_without_credit(self, message: Any) -> None:
            self.loaded.append(message.recipe)

        def is_alive(self) -> bool:
            return True

        def kill(self) -> None: ...

        def wait(self, seconds: float) -> bool:
            return True

    def make(**options: Any) -> tuple[EngineSupervisor, list[Any]]:
        made: list[Any] = []
        engine = EngineSupervisor((Recipe("own", accelerate="compile"), Recipe("safe")), SIZE, Metrics(),
                                  EngineTimeouts(loading=600.0), **options)
        monkeypatch.setattr(engine, "_spawn", lambda spare: made.append(Silent()) or made[-1])
        return engine, made

    return make


def test_a_compilation_of_an_hour_is_no_hang_and_ten_minutes_of_nothing_are(silent: Any, clock: ManualClock) -> None:
    engine, made = silent()
    engine.start(clock.now())
    for _ in range(720):
        clock.sleep(5.0)
        made[-1].messages.append(Progress("compiling the denoiser: 5 min"))
        engine.step(clock.now())
    assert len(made) == 1
    for seconds, expected in ((599, 1), (2, 2)):
        for _ in range(seconds):
            clock.sleep(1.0)
            engine.step(clock.now())
        assert len(made) == expected


def test_what_was_prepared_and_is_late_makes_way_for_the_quick_form(silent: Any, clock: ManualClock) -> None:
    """Nothing else plays: another card, or another driver, compiles for minutes."""
    engine, made = silent(quick=Recipe("own", accelerate="none"))
    engine.start(clock.now())
    clock.sleep(LONGEST_QUICK_LOAD + 1.0)
    made[-1].messages.append(Progress("compiling the denoiser: 1 min"))
    engine.step(clock.now())
    assert [recipe.accelerate for child in made for recipe in child.loaded] == ["compile", "none"]
    assert engine.downgraded
    assert not engine.fallen


def test_a_compiled_recipe_that_can_never_load_is_replaced_by_its_quick_form(silent: Any, clock: ManualClock) -> None:
    engine, made = silent(quick=Recipe("own", accelerate="none"))
    engine.start(clock.now())
    made[-1].messages.append(Failed("no compiler", retry=False))
    engine.step(clock.now())
    assert (engine.recipe.name, engine.recipe.accelerate, engine.downgraded) == ("own", "none", True)
    made[-1].messages.append(Ready(Report("own", "stand-in", "", SIZE)))
    engine.step(clock.now())
    assert engine.ready


def test_a_loaded_spare_that_hangs_is_found_within_the_deadline(
    silent: Any, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is warm, so its first frame has no more time than others."""
    engine, made = silent(spare=Spare(Metrics(), loads=True))
    assert engine.spare is not None
    engine.start(clock.now())
    engine.frame_times.append(0.02)
    made[0].messages.append(Ready(Report("own", "stand-in", "", SIZE)))
    engine.step(clock.now())
    made[1].messages.append(Progress("waiting"))
    engine.step(clock.now())
    made[1].messages.append(Ready(Report("own", "stand-in", "", SIZE)))
    engine.step(clock.now())
    with caplog.at_level("INFO"):
        engine.on_failure("died", clock.now())
    assert engine.child is made[1]
    assert "engine: the loaded spare takes over" in caplog.messages
    made[1].unanswered[0] = clock.now()
    for _ in range(2):
        clock.sleep(engine.timeouts.frame / 2 + 0.05)
        engine.step(clock.now())
    assert engine.child is not made[1]
