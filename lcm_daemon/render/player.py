"""Player: one recipe at work. Its engines, what they were last given, and the newest picture that came back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.policy import RestartPolicy


@dataclass(frozen=True)
class RenderInput:
    """What a picture is made of at this moment. Two of the same parts would give the same picture twice.

    guide: the second source's newest frame, None where there is none.   beat: counts where every beat is a picture.
    """

    frame: Frame
    guide: Frame | None
    values: Mapping[str, Value | Blend]
    beat: int = 0


class Player:
    """Feeds the engines of one recipe with the newest of everything, and keeps the newest of what they paint.

    begins: every parameter of the recipe's table, as it stands while nobody has moved it.
    """

    def __init__(
        self, recipe: Recipe, engines: Sequence[EngineSupervisor], begins: Mapping[str, Value], metrics: Metrics
    ) -> None:
        self.recipe, self.engines, self.begins, self.metrics = recipe, list(engines), begins, metrics
        self.rendered: Frame | None = None
        self.rendered_at = 0.0
        self._values: dict[str, Value | Blend] = dict(begins)
        self._fed: RenderInput | None = None  # what the last job was made of
        self._fed_to = 0  # the process that got it
        self._jobs = 0

    @property
    def wanted(self) -> bool:
        """One of its engines waits for a frame."""
        return any(engine.wanted for engine in self.engines)

    @property
    def ready(self) -> bool:
        """One of its engines has loaded and is warm."""
        return any(engine.ready for engine in self.engines)

    @property
    def fallen(self) -> bool:
        """Its recipe does not work: what plays is the ladder's next."""
        return any(engine.fallen for engine in self.engines)

    @property
    def failure(self) -> Failed | None:
        """Why it will paint no more; None while it may."""
        return next((engine.failure for engine in self.engines if engine.failure), None)

    def assign(self, policy: RestartPolicy) -> None:
        """Say what is done from now on when an engine fails."""
        for engine in self.engines:
            engine.policy = policy

    def start(self, now: float, spare: Child | None = None) -> None:
        for engine in self.engines:
            engine.start(now, spare)
            spare = None

    def stop(self, seconds: float = 0.0) -> None:
        """End its engines, waiting up to `seconds` for each; `gone` says when they are."""
        for engine in self.engines:
            engine.stop(seconds)

    @property
    def gone(self) -> bool:
        return all(engine.gone for engine in self.engines)

    def take_spare(self) -> Child | None:
        return next((spare for engine in self.engines if (spare := engine.take_spare())), None)

    def take_costs(self) -> list[float]:
        """What the frames cost that were painted since the last call, seconds in an engine each."""
        costs = [cost for engine in self.engines for cost in engine.costs]
        for engine in self.engines:
            engine.costs = []
        return costs

    def waitables(self) -> list[Any]:
        return [waitable for engine in self.engines for waitable in engine.waitables()]

    def step(self, now: float) -> Frame | None:
        """Hear the engines; return the newest picture if one has come."""
        frames = [frame for engine in self.engines if (frame := engine.step(now)) and self._keep(frame, now)]
        return frames[-1] if frames else None

    def _keep(self, frame: Frame, now: float) -> bool:
        """Keep a rendered frame, unless a newer one from another engine came first."""
        if self.rendered is not None and frame.number <= self.rendered.number:
            self.metrics.count("dropped/rendered")
            return False
        self.rendered, self.rendered_at = frame, now
        return True

    def inherit(self, other: Player) -> None:
        """Show another's last picture until the first of its own."""
        if other.rendered is not None:
            self.rendered, self.rendered_at = replace(other.rendered, number=-1), other.rendered_at

    def feed(self, material: RenderInput, now: float) -> None:
        """Hand the material to an engine that waits, unless one that lives has had it already."""
        making = RenderInput(material.frame, material.guide, self._complete(material.values), material.beat)
        for engine in self.engines:
            if making == self._fed and any(other.pid == self._fed_to for other in self.engines):
                return
            if engine.wanted:
                self._hand_over(making, engine, now)

    def _hand_over(self, making: RenderInput, engine: EngineSupervisor, now: float) -> None:
        is_new = self._fed is None or making.frame is not self._fed.frame
        time = making.frame.time if is_new else now  # an old input painted again: its age is not the engine's doing
        if engine.submit(Frame(making.frame.pixels, self._jobs, time), making.values, now, making.guide):
            self._fed, self._fed_to, self._jobs = making, engine.pid, self._jobs + 1

    def _complete(self, values: Mapping[str, Value | Blend]) -> Mapping[str, Value | Blend]:
        """Every parameter of this recipe's table: one that is not among `values` stays as it was."""
        self._values = {name: values.get(name, before) for name, before in self._values.items()}
        return self._values
