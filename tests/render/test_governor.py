"""The governor before a machine that is only arithmetic, so that an hour of a show is played in a second."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.state import scale_size
from lcm_daemon.render.governor import LONGEST_QUIET, SCALES, SIZE_PAUSE, Governor, Level, levels, scales_of

VALUES: dict[str, Any] = {
    "prompt": "ink", "steps": 4, "control/canny/weight": 1.0, "control/canny/start": 0.0, "control/canny/interval": 1,
}
PLAIN: dict[str, Any] = {"prompt": "ink", "steps": 4}


class Machine:
    """Paints frames one after another. `load` is how many times slower than alone it is just now."""

    def __init__(self, target: float, values: dict[str, Any], noise: float = 0.0) -> None:
        self.governor, self.metrics = Governor(target, Metrics()), Metrics()
        self.governor.metrics = self.metrics
        self.values, self.load, self.now, self.noise = dict(values), 1.0, 1000.0, noise
        self.scales: tuple[float, ...] = SCALES
        self.random = random.Random(0)
        self.changes: list[tuple[float, Level]] = []

    def cost(self) -> float:
        """Seconds a frame: 5 ms of encoding and decoding, 10 ms a step, 4 ms a ControlNet's look; by the area."""
        values: Any = self.governor.apply(self.values)
        resume_file = values.get("control/canny/weight", 0.0) / values.get("control/canny/interval", 1)
        plain = 0.005 + values["steps"] * (0.010 + 0.004 * resume_file)
        return float(plain * self.governor.level.size**2 * self.load * (1 + self.noise * self.random.uniform(-1, 1)))

    def play(self, seconds: float) -> Machine:
        end = self.now + seconds
        while self.now < end:
            before, cost = self.governor.level, self.cost()
            self.now += cost
            self.governor.judge([cost], self.values, self.scales, self.now)
            if self.governor.level != before:
                self.changes.append((self.now, self.governor.level))
        return self

    @property
    def fps(self) -> float:
        return 1 / self.cost()


def test_the_levels_go_from_controls_over_steps_to_size() -> None:
    assert levels({**VALUES, "steps": 3}, SCALES) == [
        Level(), Level(2), Level(4), Level(4, 1), Level(4, 2), Level(4, 2, 0.75), Level(4, 2, 0.5),
    ]
    assert levels({**VALUES, "control/canny/weight": 0.0, "steps": 1}, (0.5,)) == [Level(), Level(1, 0, 0.5)]


@pytest.mark.slow
def test_where_there_is_room_nothing_is_left_out() -> None:
    machine = Machine(10.0, VALUES, noise=0.2).play(600)
    assert machine.changes == []
    assert machine.governor.apply(machine.values) is machine.values


@pytest.mark.slow
@pytest.mark.parametrize("target", [17.0, 20.0, 30.0, 50.0, 100.0])
def test_it_steps_down_until_the_rate_is_held_and_then_stays(target: float) -> None:
    machine = Machine(target, VALUES, noise=0.1).play(120)
    assert machine.fps > 0.9 * target
    settled = len(machine.changes)
    assert machine.play(900).changes[settled:] == []
    assert machine.metrics.total("governor/down") - machine.metrics.total("governor/up") <= settled


def test_only_what_rides_with_the_frame_changes() -> None:
    machine = Machine(40.0, VALUES).play(60)
    assert machine.values == VALUES
    rides = machine.governor.apply(machine.values)
    assert (rides["control/canny/interval"], rides["control/canny/weight"], rides["prompt"]) == (4, 1.0, "ink")
    assert rides["steps"] == 1


@pytest.mark.slow
def test_it_comes_back_once_the_load_is_gone() -> None:
    machine = Machine(15.0, VALUES, noise=0.1).play(30)
    assert machine.governor.level == Level()
    machine.load = 3.0
    machine.play(120)
    assert machine.fps > 0.9 * 15
    assert machine.governor.level.size < 1.0 or machine.governor.level.steps > 0
    machine.load = 1.0
    assert machine.play(300).governor.level == Level()


@pytest.mark.slow
def test_a_load_that_comes_and_goes_does_not_make_it_hunt() -> None:
    """Every ten seconds another load: it goes down with the first, and what follows costs a few steps an hour."""
    machine = Machine(16.0, PLAIN, noise=0.05)
    for second in range(0, 3600, 10):
        machine.load = 1.6 if second % 20 else 1.0
        machine.play(10)
    assert machine.fps > 0.9 * 16
    late = [when for when, _ in machine.changes if when > 1000.0 + 1800]
    assert len(late) < 1800 / LONGEST_QUIET * 4


@pytest.mark.slow
@pytest.mark.parametrize("load", [1.02, 1.06, 1.1, 1.3, 1.7])
def test_just_beyond_the_budget_it_finds_a_level_and_keeps_it(load: float) -> None:
    machine = Machine(1 / 0.045, PLAIN, noise=0.15)
    machine.load = load
    machine.play(300)
    assert len(machine.play(1800).changes) <= 12


@pytest.mark.slow
def test_sizes_change_at_most_every_twenty_seconds() -> None:
    machine = Machine(300.0, PLAIN).play(300)
    sizes = [when for (when, level), (_, last) in zip(machine.changes[1:], machine.changes, strict=False)
             if level.size != last.size]
    assert len(sizes) == 2
    assert sizes[1] - sizes[0] >= SIZE_PAUSE


def test_a_size_that_cannot_be_had_is_given_up() -> None:
    machine = Machine(100.0, PLAIN).play(10)
    assert machine.governor.level == Level(1, 3, 0.75)
    machine.governor.refuse_size(1.0)
    assert machine.play(60).governor.level == Level(1, 3)


def test_sizes_are_such_that_every_unet_takes_them() -> None:
    assert scale_size((512, 512), 0.75) == (384, 384)
    assert scale_size((1000, 600), 0.5) == (512, 320)
    assert scale_size((520, 72), 1.0) == (520, 72), "as it was asked for"
    assert scales_of((512, 512)) == [0.75, 0.5]
    assert scales_of((128, 128)) == [0.5], "three quarters round to the whole"
    assert scales_of((64, 64)) == []


def test_frames_under_other_conditions_do_not_count() -> None:
    governor = Governor(30.0, Metrics())
    for frame in range(100):
        governor.judge([1.0], PLAIN, (), 1000.0 + frame)
        governor.pause()
    assert governor.level == Level()


def test_values_that_move_take_the_level_along() -> None:
    machine = Machine(24.0, VALUES).play(60)
    assert machine.governor.level.interval == 4
    machine.values = {**PLAIN, "steps": 1}  # the ControlNet is gone, and there is one step
    machine.play(0.1)
    assert machine.governor.level == Level()


@pytest.mark.parametrize("change", [
    lambda machine: machine.governor.reset(), lambda machine: setattr(machine, "load", 0.2),
])
def test_another_recipe_begins_with_everything(change: Callable[[Machine], None]) -> None:
    machine = Machine(40.0, PLAIN).play(60)
    assert machine.governor.level != Level()
    change(machine)
    machine.play(0.01 if machine.load == 1.0 else 120)
    assert machine.governor.level == Level()


def test_several_engines_share_the_work() -> None:
    governor = Governor(30.0, Metrics())
    for frame in range(200):
        governor.judge([0.06], PLAIN, (), 1000.0 + frame * 0.03, engines=2)
    assert governor.level == Level()
