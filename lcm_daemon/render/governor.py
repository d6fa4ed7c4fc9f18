"""Governor: holds a rendered frame rate by asking less of the engine, and asks more again as soon as there is room.

It is given what frames cost and what the parameters are, and answers with a level: what is reduced at the moment. The
level is applied to the values that are sent with a frame; the parameters keep the values that were set.

It does not oscillate. How much a level saves is measured whenever it is entered or left, so a step back up is a
prediction (present cost, times what the level saved last time) and not a trial. A step up that turns out to be too
slow is tried again after pauses that double.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lcm_daemon.core.frame import Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.recipes.state import scale_size

log = logging.getLogger(__name__)

INTERVAL_FACTORS = (2, 4)  # a ControlNet is run this many times less often
SCALES = (0.75, 0.5)  # factors on the sides of the rendered size
LONGEST_INTERVAL = 16  # frames, of a ControlNet
JUDGE_SECONDS = 1.0  # frames of this long are judged together
FEWEST_FRAMES = 4  # frames that are judged together
SKIPPED_FRAMES = 2  # frames after a step that may still be of the level before
TOO_SLOW = 1.03  # share of the budget above which frames are too slow
ROOM = 0.92  # share of the budget that a higher level may be predicted to cost
CALM_WINDOWS = 5  # windows with room before a step up
SIZE_PAUSE = 20.0  # seconds between two steps of size, each of which loads an engine
HELD_SECONDS = 10.0  # how long a step up must hold to count as a success
LONGEST_QUIET = 300.0  # seconds between two steps up, however often they failed

Values = Mapping[str, Value | Blend]


@dataclass(frozen=True)
class Level:
    """What is reduced.

    Args:
        interval: ControlNets run this many times less often.
        steps: Steps taken away.
        size: Factor on both sides of the rendered size.
    """

    interval: int = 1
    steps: int = 0
    size: float = 1.0

    def describe(self) -> str:
        parts = [
            f"ControlNets {self.interval} times less often" if self.interval > 1 else "",
            f"steps -{self.steps}" if self.steps else "",
            f"size x{self.size:g}" if self.size < 1.0 else "",
        ]
        return ", ".join(part for part in parts if part)


def levels(values: Values, scales: Sequence[float]) -> list[Level]:
    """Every level for these values, from nothing reduced to the most: first ControlNets, then steps, then size."""
    controls = any(_number(values[name]) > 0 for name in _controls(values))
    found = [Level(), *(Level(factor) for factor in INTERVAL_FACTORS if controls)]
    found += [Level(found[-1].interval, fewer) for fewer in range(1, _steps(values))]
    return [*found, *(Level(found[-1].interval, found[-1].steps, scale) for scale in scales)]


def _controls(values: Values) -> list[str]:
    return [name for name in values if name.startswith("control/") and name.endswith("/weight")]


def _steps(values: Values) -> int:
    return int(_number(values["steps"]))


def _number(value: Value | Blend) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


@dataclass(frozen=True)
class _Step:
    """From one level to the next. `cost`: of a frame before it, in seconds; `steps`: those that were asked for."""

    before: Level
    after: Level
    cost: float
    steps: int
    up: bool


class Governor:
    """Decides once a window.

    Args:
        target: Rendered frames a second to hold.
    """

    def __init__(self, target: float, metrics: Metrics) -> None:
        self.target, self.metrics = target, metrics
        self.level = Level()
        self._savings: dict[tuple[Level, Level, int], float] = {}  # (upper, lower, steps): cost of upper / of lower
        self.reset()

    def reset(self) -> None:
        """Another recipe plays: start with nothing reduced, and measure again."""
        self.level = Level()
        self._savings.clear()
        self._may_shrink = True
        self._quiet = 0.0  # seconds to stay on a level before the next step up
        self._stepped_at = self._resized_at = self._raised_at = -math.inf
        self._step: _Step | None = None  # the last one, until its effect is measured
        self._calm = 0
        self.pause()

    def pause(self) -> None:
        """Discard the frames of this window: they were not rendered under normal conditions."""
        self._costs: list[float] = []
        self._window_start: float | None = None
        self._skip = SKIPPED_FRAMES

    def refuse_size(self, scale: float) -> None:
        """The requested size could not be loaded, and `scale` remains. No smaller one is requested again."""
        self.level, self._step = Level(self.level.interval, self.level.steps, scale), None
        self._may_shrink = False
        self.pause()

    def apply(self, values: Values) -> Values:
        """The values that are sent with the next frame."""
        level = self.level
        if level.interval == 1 and level.steps == 0:
            return values
        changed: dict[str, Value | Blend] = {"steps": max(1, _steps(values) - level.steps)}
        for name in _controls(values):
            interval = f"{name.removesuffix('weight')}interval"
            changed[interval] = min(LONGEST_INTERVAL, int(_number(values[interval])) * level.interval)
        return {**values, **changed}

    def judge(
        self, costs: Sequence[float], values: Values, scales: Sequence[float], now: float, engines: int = 1
    ) -> None:
        """Record what frames cost, and choose another `level` at the end of a window.

        Args:
            costs: Seconds in the engine, a number per frame.
            values: Every parameter's value, as it was set.
            scales: Sizes that the recipe can be rendered at, below its own.
            now: Monotonic seconds.
            engines: Number of engines that render at the same time.
        """
        ladder = levels(values, [scale for scale in scales if self._may_shrink or scale >= self.level.size])
        self.level = self._nearest(ladder)
        for cost in costs:
            if self._skip > 0:
                self._skip -= 1
                continue
            if self._window_start is None:
                self._window_start = now
            self._costs.append(cost)
        started = self._window_start
        if started is None or now - started < JUDGE_SECONDS or len(self._costs) < FEWEST_FRAMES:
            return
        cost, budget, place = _mean(self._costs), engines / self.target, ladder.index(self.level)
        self._costs, self._window_start = [], None
        self._measure_saving(cost, _steps(values))
        if -math.inf < self._raised_at <= now - HELD_SECONDS:  # the step up has held
            self._quiet, self._raised_at = 0.0, -math.inf
        if cost > TOO_SLOW * budget:
            self._calm = 0
            self._step_down(ladder, place, cost, _steps(values), now)
        else:
            self._step_up(ladder, place, cost, budget, _steps(values), now)

    def _nearest(self, ladder: Sequence[Level]) -> Level:
        """The present level; where the values have moved below it, the lowest level that reduces no more."""
        here = self.level
        fitting = [e for e in ladder if e.interval <= here.interval and e.steps <= here.steps and e.size >= here.size]
        return fitting[-1]

    def _measure_saving(self, cost: float, steps: int) -> None:
        """Record what the step to this level has saved, or cost."""
        step, self._step = self._step, None
        if step is None or step.after != self.level or step.steps != steps:
            return
        key = (step.after, step.before, steps) if step.up else (step.before, step.after, steps)
        ratio = cost / step.cost if step.up else step.cost / cost
        self._savings[key] = min(max(ratio, 1.0), _largest_ratio(*key))  # outside: something else changed as well

    def _step_down(self, ladder: Sequence[Level], place: int, cost: float, steps: int, now: float) -> None:
        if place + 1 >= len(ladder):
            return
        if self._raised_at > -math.inf:  # the step up has failed
            self._quiet, self._raised_at = min(max(2 * self._quiet, HELD_SECONDS), LONGEST_QUIET), -math.inf
        self._go(_Step(self.level, ladder[place + 1], cost, steps, up=False), now)

    def _step_up(
        self, ladder: Sequence[Level], place: int, cost: float, budget: float, steps: int, now: float
    ) -> None:
        if place == 0:
            return
        upper = ladder[place - 1]
        key = (upper, self.level, steps)
        fits = cost * self._savings.get(key, _largest_ratio(*key)) <= ROOM * budget
        self._calm = self._calm + 1 if fits else 0
        if self._calm >= CALM_WINDOWS and now - self._stepped_at >= self._quiet:
            self._go(_Step(self.level, upper, cost, steps, up=True), now)

    def _go(self, step: _Step, now: float) -> None:
        resizes, direction = step.before.size != step.after.size, "up" if step.up else "down"
        if resizes and now - self._resized_at < SIZE_PAUSE:
            return
        self._step, self.level, self._stepped_at, self._calm = step, step.after, now, 0
        if resizes:
            self._resized_at = now
        if step.up:
            self._raised_at = now
        self.metrics.count(f"governor/{direction}")
        log.info("governor: %.1f of %g fps; step %s: %s", 1 / step.cost, self.target, direction,
                 step.after.describe() or "nothing reduced")
        self.pause()


def scales_of(size: Size) -> list[float]:
    """SCALES that make a frame of this size smaller, each smaller than the one before."""
    found = [1.0]
    for scale in SCALES:
        width, height = scale_size(size, scale)
        before = scale_size(size, found[-1])
        if width * height < before[0] * before[1]:
            found.append(scale)
    return found[1:]


def _largest_ratio(upper: Level, lower: Level, steps: int) -> float:
    """The most that one level can cost of the one below it: all of the work is in what was reduced."""
    if upper.size != lower.size:
        return 1.1 * (upper.size / lower.size) ** 2  # attention costs more than in proportion to the pixels
    if upper.steps != lower.steps:
        return (steps - upper.steps) / (steps - lower.steps)
    return 1.5  # three ControlNets beside a UNet, each 0.4 of it: 2.2 against 1.6


def _mean(costs: Sequence[float]) -> float:
    """The mean without the slowest frame, which a disk or a garbage collection may have delayed; of few, of all."""
    kept = sorted(costs)[:-1] if len(costs) >= 10 else costs
    return sum(kept) / len(kept)
