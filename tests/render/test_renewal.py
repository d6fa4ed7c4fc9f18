"""Engines are replaced by new ones while they render."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.pipelines.base import DeviceMemory
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.state import RecipeState, RecipeVariant
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.player import Player, RenderInput
from lcm_daemon.render.policy import EngineTimeouts, RestartPolicy
from lcm_daemon.render.renewal import IDLE_SECONDS, Renewal
from lcm_daemon.render.transition import RecipeTransition
from tests.render.test_player import SIZE, START, Flying, an_input, player_of


class Engine(Flying):
    """An engine that can be renewed. It loads when the test says so."""

    def __init__(self, pid: int, ready: bool = True) -> None:
        super().__init__(pid, 1)
        self.ready, self.memory, self.rendered = ready, None, 0
        self.place = EnginePlace("cpu")
        self.may_fall: Callable[[], bool] | None = None

    def deliver(self) -> None:
        self.finish()
        self.rendered += 1


class Bench:
    """A renewal of the engines of one player, and what it does."""

    def __init__(self, *engines: Engine) -> None:
        self.player, self.made, self.metrics = player_of(*engines), [], Metrics()
        self.asked: list[dict[str, Any]] = []
        self.transition: Any = SimpleNamespace(
            current=self.player, changing=False, ask=lambda variant, **how: self.asked.append(how))
        self.renewal = Renewal(self.transition, self._build, self.metrics)

    def _build(self, player: Player, engine: Any) -> Any:
        self.made.append(Engine(10 + len(self.made), ready=False))
        return self.made[-1]

    def ask(self, *engines: Any) -> Bench:
        for engine in engines:
            self.renewal.ask(engine, "a test")
        return self

    def step(self, now: float) -> list[int]:
        """One tick; returns the process ids of the engines that the player has after it."""
        self.player.step(now)
        self.renewal.step(now)
        return [engine.pid for engine in self.player.engines]


def test_the_old_engine_renders_until_the_new_one_has_delivered() -> None:
    old = Engine(1)
    bench = Bench(old).ask(old)
    assert bench.step(0.0) == [1, 10]
    new = bench.made[0]
    assert (new.log, new.policy, bench.player.accepts_frame) == (["start"], RestartPolicy.NEVER, True)
    new.ready = True
    assert bench.step(1.0) == [1, 10], "it has loaded, and has rendered nothing"
    bench.player.send(an_input(), 1.0)
    bench.player.send(an_input(strength=0.1), 1.1)
    assert len(new.under_way) == 1
    new.deliver()
    assert bench.step(1.2) == [10]
    assert (old.ready, new.policy, bench.renewal.busy) == (False, RestartPolicy.ALWAYS, False)
    assert bench.metrics.total("engine/renewed") == 1


def test_without_input_the_new_engine_takes_over_when_it_has_loaded() -> None:
    old = Engine(1)
    bench = Bench(old).ask(old)
    bench.step(0.0)
    bench.made[0].ready = True
    assert bench.step(1.0) == [1, 10]
    assert bench.step(1.0 + IDLE_SECONDS) == [10]


def test_engines_are_renewed_one_after_another() -> None:
    first, second = Engine(1), Engine(2)
    bench = Bench(first, second).ask(first, second, first)
    assert bench.step(0.0) == [1, 2, 10]
    bench.made[0].ready, bench.made[0].rendered = True, 1
    assert bench.step(1.0) == [2, 10]
    assert bench.step(1.1) == [2, 10, 11]
    bench.made[1].ready, bench.made[1].rendered = True, 1
    assert bench.step(2.0) == [10, 11]
    assert not bench.renewal.busy


def test_a_new_engine_that_fails_leaves_the_old_one_alone() -> None:
    old = Engine(1)
    bench = Bench(old).ask(old)
    bench.step(0.0)
    bench.made[0].failure = Failed("no such model")
    assert bench.step(1.0) == [1]
    assert (old.ready, bench.renewal.busy, bench.metrics.total("engine/not_renewed")) == (True, False, 1)


def test_a_change_of_the_recipe_comes_first() -> None:
    old = Engine(1)
    bench = Bench(old).ask(old)
    bench.step(0.0)
    bench.transition.changing = True
    assert bench.step(1.0) == [1]
    assert not bench.renewal.busy
    bench.ask(old)
    assert bench.step(2.0) == [1], "it waits"
    bench.transition.current = player_of(Engine(3))
    bench.transition.changing = False
    bench.step(3.0)
    assert (len(bench.made), bench.renewal.busy) == (1, False), "the engines of another player are new"


def test_a_process_that_was_replaced_is_new_already() -> None:
    old = Engine(1)
    bench = Bench(old).ask(old)
    old.pid = 2
    assert (bench.step(0.0), bench.made) == ([2], [])


@pytest.mark.parametrize("known_before", [True, False])
def test_the_only_engine_is_swapped_where_memory_does_not_suffice_for_two(known_before: bool) -> None:
    old = Engine(1)
    bench = Bench(old).ask(old)
    if known_before:
        old.memory = DeviceMemory(free=2 << 30, total=24 << 30, used=20 << 30)
        bench.step(0.0)
        assert bench.made == []
    else:
        bench.step(0.0)
        bench.made[0].failure = Failed("CUDA out of memory", memory=True)
        assert bench.step(1.0) == [1]
    assert bench.asked == [{"alone": True, "reload": True}]
    assert not bench.renewal.busy


def test_one_of_several_engines_makes_room_for_the_new_one() -> None:
    first, second = Engine(1), Engine(2)
    first.memory = DeviceMemory(free=0, total=24 << 30, used=20 << 30)
    bench = Bench(first, second).ask(first)
    first.gone = False
    assert bench.step(0.0) == [2]
    assert bench.step(1.0) == [2], "the process of the old one has not ended"
    first.gone = True
    assert bench.step(2.0) == [2, 10]
    assert (bench.made[0].policy, bench.renewal.busy) == (RestartPolicy.ALWAYS, False)


@pytest.mark.slow
def test_a_real_engine_is_renewed_without_a_gap() -> None:
    variant, metrics = RecipeVariant(load_recipe("passthrough")), Metrics()

    def engine() -> EngineSupervisor:
        return EngineSupervisor([variant.rendered], SIZE, metrics, EngineTimeouts())

    transition = RecipeTransition(
        RecipeState(variant), lambda variant, policy: Player(variant, [engine()], START, metrics), metrics)
    renewal = Renewal(transition, lambda player, old: engine(), metrics)
    transition.start(time.perf_counter())
    asked_at, results, pids = 0.0, list[float](), set[int]()
    number, end = 0, time.perf_counter() + 60.0
    try:
        while metrics.total("engine/renewed") == 0 or len(pids) < 2:
            now = time.perf_counter()
            assert now < end, transition.current.engines[0].state
            player = transition.current
            if transition.step(now, False) is not None:
                results.append(now)
                pids |= {each.pid for each in player.engines if each.rendered}
            if not asked_at and len(results) == 20:
                asked_at = now
                renewal.ask(player.engines[0], "a test")
            renewal.step(now)
            if player.send(RenderInput(Frame(solid(SIZE), number, now), None, START), now):
                number += 1
            time.sleep(0.001)
        taken = results[-1] - asked_at
        assert len(results) > 20 * taken, "it rendered on while the new one started"
        assert (len(player.engines), player.engines[0].pid in pids, metrics.total("engine/replaced")) == (1, True, 0)
    finally:
        transition.stop(5.0)
