"""Player: one recipe variant with its engines. Sends them the newest input, keeps their newest result."""

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
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.policy import RestartPolicy


@dataclass(frozen=True)
class RenderInput:
    """What a frame is rendered from. Two equal inputs would give the same result twice.

    Args:
        frame: The newest input frame.
        guide: The newest frame of the second source, None where there is none.
        values: Every parameter's value at this moment.
        tick: Number of the tick where each tick gives another result (walking noise, feedback, ...), else 0.
    """

    frame: Frame
    guide: Frame | None
    values: Mapping[str, Value | Blend]
    tick: int = 0


def _work(engine: EngineSupervisor) -> int:
    return engine.frames_under_way


class Player:
    """The engines of one recipe variant.

    Args:
        variant: What the engines render.
        engines: Their supervisors.
        start_values: Value of every parameter of the recipe until somebody sets it.
    """

    def __init__(
        self, variant: RecipeVariant, engines: Sequence[EngineSupervisor], start_values: Mapping[str, Value],
        metrics: Metrics,
    ) -> None:
        self.variant, self.engines, self.start_values, self.metrics = variant, list(engines), start_values, metrics
        self.result: Frame | None = None  # the newest one
        self.result_at = 0.0  # when it arrived, or was last known to be what the newest input gives
        self._values: dict[str, Value | Blend] = dict(start_values)
        self._sent: RenderInput | None = None  # the last one
        self._sent_to = 0  # process id of the engine that got it
        self._requests = 0

    @property
    def accepts_frame(self) -> bool:
        """Whether one of its engines accepts a frame."""
        return any(engine.accepts_frame for engine in self.engines)

    @property
    def ready(self) -> bool:
        """Whether one of its engines has loaded and is warm."""
        return any(engine.ready for engine in self.engines)

    @property
    def fallen(self) -> bool:
        """Whether the recipe failed, and a lower rung of the ladder plays in its place."""
        return any(engine.fallen for engine in self.engines)

    @property
    def failure(self) -> Failed | None:
        """Why it will render no more; None while it may."""
        return next((engine.failure for engine in self.engines if engine.failure), None)

    @property
    def gone(self) -> bool:
        """Whether every process of a stopped player has ended."""
        return all(engine.gone for engine in self.engines)

    def adopt(self, start_values: Mapping[str, Value]) -> None:
        """Go on rendering for another show, whose parameters have these values until they are set."""
        self.start_values = start_values
        self._values = {**start_values, **{name: value for name, value in self._values.items() if name in start_values}}

    def follow_downgrade(self) -> bool:
        """Take over that an engine renders the quick form since the compiled one has failed; return whether it does."""
        if not self.variant.accelerator or not any(engine.downgraded for engine in self.engines):
            return False
        self.variant = self.variant.quick
        return True

    def set_policy(self, policy: RestartPolicy) -> None:
        """Say what happens when an engine fails."""
        for engine in self.engines:
            engine.policy = policy

    def start(self, now: float, spare: Child | None = None, beside: bool = False) -> None:
        """Start the engines, unless they run already. beside: Another player's engines render while these load."""
        if self.ready:
            return
        for engine in self.engines:
            engine.start(now, spare, beside)
            spare = None

    def stop(self, seconds: float = 0.0) -> None:
        """Kill the engines, waiting up to `seconds` for each; `gone` says when they have ended."""
        for engine in self.engines:
            engine.stop(seconds)

    def pop_spare(self) -> Child | None:
        return next((spare for engine in self.engines if (spare := engine.pop_spare())), None)

    def pop_costs(self) -> list[float]:
        """Seconds in an engine of each frame that was rendered since the last call."""
        return [cost for engine in self.engines for cost in engine.pop_costs()]

    def waitables(self) -> list[Any]:
        return [waitable for engine in self.engines for waitable in engine.waitables()]

    def step(self, now: float) -> Frame | None:
        """Read the engines' messages; return the newest result if one has arrived.

        A result older than one that another engine has already delivered is dropped and counted.
        """
        newest = None
        for engine in self.engines:
            frame = engine.step(now)
            if frame is None:
                continue
            if self.result is not None and frame.number <= self.result.number:
                self.metrics.count("dropped/rendered")
                continue
            newest = self.result = frame
            self.result_at = now
        return newest

    def inherit_result(self, other: Player) -> None:
        """Show another player's last result until the first of its own."""
        if other.result is not None:
            self.result, self.result_at = replace(other.result, number=-1), other.result_at

    def send(self, render_input: RenderInput, now: float) -> None:
        """Send an input to the engine with the least work, unless a live engine has had an equal one already."""
        request = replace(render_input, values=self._complete(render_input.values))
        for engine in sorted(self.engines, key=_work):
            if request == self._sent and any(other.pid == self._sent_to for other in self.engines):
                if self.result is not None and self.result.number == self._requests - 1:
                    self.result_at = now  # nothing is owed: an input that does not change makes no result old
                return
            if not engine.accepts_frame:
                continue
            is_new = self._sent is None or request.frame is not self._sent.frame
            time = request.frame.time if is_new else now  # the age of an input rendered again is not the engine's fault
            if engine.send_frame(Frame(request.frame.pixels, self._requests, time), request.values, now, request.guide):
                self._sent, self._sent_to, self._requests = request, engine.pid, self._requests + 1

    def _complete(self, values: Mapping[str, Value | Blend]) -> Mapping[str, Value | Blend]:
        """Every parameter of this recipe's table; one that is not among `values` keeps its last value."""
        self._values = {name: values.get(name, before) for name, before in self._values.items()}
        return self._values
