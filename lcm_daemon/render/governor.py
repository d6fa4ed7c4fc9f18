"""Governor: holds a rendered rate by asking less of the engine, and more again as soon as there is room.

It is told what the frames took and what the parameters are, and answers with a level: what is left out for now. The
level is laid over the values that ride with a frame; the values on the board stay what they are.

It does not hunt. How much a level saves is learnt whenever it is entered or left, so that going back up is a prediction
(cost now, times what the level saved last time) and no trial. A way up that proves too much all the same is tried again
after pauses that double.
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

log = logging.getLogger(__name__)

INTERVALS = (2, 4)  # times less often that a ControlNet looks
SCALES = (0.75, 0.5)  # of the sides of the rendered picture
MOST = 16  # a ControlNet's longest interval
WINDOW = 1.0  # seconds of frames that are judged together
FEWEST = 4  # frames that are judged together
PASSED_OVER = 2  # frames after a step that may still be of the level before
SLOW = 1.03  # of the budget: more than this is too slow
ROOM = 0.92  # of the budget: what a higher level may be predicted to cost
CALM = 5  # windows with room before a step up
SIZE_PAUSE = 20.0  # seconds between two steps of size, each of which loads an engine
HELD = 10.0  # seconds a step up must hold not to have been in vain
LONGEST = 300.0  # seconds between two steps up, however often they were in vain

Values = Mapping[str, Value | Blend]


@dataclass(frozen=True)
class Level:
    """What is left out: ControlNets look `interval` times less often, `steps` fewer, and both sides times `size`."""

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
    """From everything down to the least, for these values: first ControlNets, then steps, then size."""
    controls = any(_number(values[name]) > 0 for name in _controls(values))
    found = [Level(), *(Level(interval) for interval in INTERVALS if controls)]
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
    """From one level to the next; a frame cost so much before it, with so many steps asked for."""

    before: Level
    after: Level
    cost: float
    steps: int
    up: bool


class Governor:
    """Decides once a window. `target`: pictures a second."""

    def __init__(self, target: float, metrics: Metrics) -> None:
        self.target, self.metrics = target, metrics
        self.level = Level()
        self._saved: dict[tuple[Level, Level, int], float] = {}  # (upper, lower, steps) -> cost of upper / of lower
        self.reset()

    def reset(self) -> None:
        """Another recipe: begin with everything, and learn anew."""
        self.level = Level()
        self._saved.clear()
        self._shrinks = True
        self._quiet = 0.0  # seconds to stay on a level before the next step up
        self._stepped = self._resized = self._raised = -math.inf
        self._step: _Step | None = None  # the last one, until its effect is known
        self._calm = 0
        self.pause()

    def pause(self) -> None:
        """Forget the frames of this window: they were not painted under plain conditions."""
        self._costs: list[float] = []
        self._begun: float | None = None
        self._skip = PASSED_OVER

    def refuse_size(self, scale: float) -> None:
        """The size asked for could not be had, and it is `scale` still. No smaller one is asked for again."""
        self.level, self._step = Level(self.level.interval, self.level.steps, scale), None
        self._shrinks = False
        self.pause()

    def lay_over(self, values: Values) -> Values:
        """The values that ride with the next frame."""
        level = self.level
        if level.interval == 1 and level.steps == 0:
            return values
        changed: dict[str, Value | Blend] = {"steps": max(1, _steps(values) - level.steps)}
        for name in _controls(values):
            interval = f"{name.removesuffix('weight')}interval"
            changed[interval] = min(MOST, int(_number(values[interval])) * level.interval)
        return {**values, **changed}

    def judge(
        self, costs: Sequence[float], values: Values, scales: Sequence[float], now: float, engines: int = 1
    ) -> None:
        """Take in what frames cost (seconds in the engine), and set `level` anew if it is time for it.

        values: as on the board.   scales: the sizes that the recipe can be rendered at, below its own.
        """
        ladder = levels(values, [scale for scale in scales if self._shrinks or scale >= self.level.size])
        self.level = self._nearest(ladder)
        for cost in costs:
            if self._skip > 0:
                self._skip -= 1
                continue
            self._begun = now if self._begun is None else self._begun
            self._costs.append(cost)
        if self._begun is None or now - self._begun < WINDOW or len(self._costs) < FEWEST:
            return
        cost, budget, place = _mean(self._costs), engines / self.target, ladder.index(self.level)
        self._costs, self._begun = [], None
        self._learn(cost, _steps(values))
        if -math.inf < self._raised <= now - HELD:  # the step up has held
            self._quiet, self._raised = 0.0, -math.inf
        if cost > SLOW * budget:
            self._calm = 0
            self._descend(ladder, place, cost, _steps(values), now)
        else:
            self._climb(ladder, place, cost, budget, _steps(values), now)

    def _nearest(self, ladder: Sequence[Level]) -> Level:
        """The present level, or where the values have moved below it, the lowest that leaves out no more."""
        here = self.level
        fitting = [e for e in ladder if e.interval <= here.interval and e.steps <= here.steps and e.size >= here.size]
        return fitting[-1]

    def _learn(self, cost: float, steps: int) -> None:
        """What the step to this level has saved, or cost."""
        step, self._step = self._step, None
        if step is None or step.after != self.level or step.steps != steps:
            return
        key = (step.after, step.before, steps) if step.up else (step.before, step.after, steps)
        ratio = cost / step.cost if step.up else step.cost / cost
        self._saved[key] = min(max(ratio, 1.0), _most(*key))  # beyond either, something else changed at the same time

    def _descend(self, ladder: Sequence[Level], place: int, cost: float, steps: int, now: float) -> None:
        if place + 1 >= len(ladder):
            return
        if self._raised > -math.inf:  # the step up was in vain
            self._quiet, self._raised = min(max(2 * self._quiet, HELD), LONGEST), -math.inf
        self._go(_Step(self.level, ladder[place + 1], cost, steps, up=False), now)

    def _climb(self, ladder: Sequence[Level], place: int, cost: float, budget: float, steps: int, now: float) -> None:
        if place == 0:
            return
        upper = ladder[place - 1]
        key = (upper, self.level, steps)
        fits = cost * self._saved.get(key, _most(*key)) <= ROOM * budget
        self._calm = self._calm + 1 if fits else 0
        if self._calm >= CALM and now - self._stepped >= self._quiet:
            self._go(_Step(self.level, upper, cost, steps, up=True), now)

    def _go(self, step: _Step, now: float) -> None:
        resizes, way = step.before.size != step.after.size, "up" if step.up else "down"
        if resizes and now - self._resized < SIZE_PAUSE:
            return
        self._step, self.level, self._stepped, self._calm = step, step.after, now, 0
        self._resized = now if resizes else self._resized
        self._raised = now if step.up else self._raised
        self.metrics.count(f"governor/{way}")
        log.info("governor: %.1f fps of %g, a step %s: %s", 1 / step.cost, self.target, way,
                 step.after.describe() or "everything")
        self.pause()


def scale_size(size: Size, scale: float) -> Size:
    """A smaller size to render at, in multiples of 64 pixels: every UNet halves its latents three times."""
    width, height = (max(64, round(side * scale / 64) * 64) if scale < 1.0 else side for side in size)
    return width, height


def scales_of(size: Size) -> list[float]:
    """Those of the governor's sizes that make a picture of this size smaller, each a smaller one."""
    found = [1.0]
    for scale in SCALES:
        width, height = scale_size(size, scale)
        before = scale_size(size, found[-1])
        if width * height < before[0] * before[1]:
            found.append(scale)
    return found[1:]


def _most(upper: Level, lower: Level, steps: int) -> float:
    """The most that one level can cost of the one below it: all of the work in what was left out."""
    if upper.size != lower.size:
        return 1.1 * (upper.size / lower.size) ** 2  # attention costs more than by the pixel
    if upper.steps != lower.steps:
        return (steps - upper.steps) / (steps - lower.steps)
    return 1.5  # three ControlNets beside a UNet, each 0.4 of it: 2.2 against 1.6


def _mean(costs: Sequence[float]) -> float:
    """Of all but the slowest, which may have met a disk or a collection; of few, of all."""
    kept = sorted(costs)[:-1] if len(costs) >= 10 else costs
    return sum(kept) / len(kept)
