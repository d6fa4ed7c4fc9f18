"""Player: one recipe variant with its engines. Hands the newest inputs out evenly, keeps the newest results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.protocol import Failed
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.cadence import Cadence
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.pacer import Pacer
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.render.result_order import Pace
from lcm_daemon.render.session_frames import INTERPOLATE, RenderInput, SessionFrames, keeps_memory

__all__ = ["Player", "RenderInput"]

RETRY_PAUSE = 2.0  # seconds after which an engine that is too slow to be in time gets another frame
LONGEST_WAIT = 10.0  # seconds that the first engine waits for the others before its frames are shown
OWN = ""  # the session of the stage's own picture


class Player:
    """The engines of one recipe variant.

    Frames of every session are numbered together. Within a session a result that is older than one that has been
    delivered is dropped and counted. A session whose values need memory from frame to frame keeps to one engine.

    Args:
        variant: What the engines render.
        engines: Their supervisors.
        start_values: Value of every parameter of the recipe until it is set.
        fps: Rate of the output.

    Attributes:
        cadence: When the pictures of the stage's own results are shown.
    """

    def __init__(
        self, variant: RecipeVariant, engines: Sequence[EngineSupervisor], start_values: Mapping[str, Value],
        metrics: Metrics, fps: float = 60.0,
    ) -> None:
        self.variant, self.engines, self.start_values, self.metrics = variant, list(engines), start_values, metrics
        self.result: Frame | None = None  # the newest one of the stage's own picture
        self.result_at = 0.0  # when it arrived, or was last known to be what the newest input gives
        self._values: dict[str, Value | Blend] = dict(start_values)
        self._sessions: dict[str, SessionFrames] = {OWN: SessionFrames()}
        self._requests = 0
        self._pacer, self.cadence = Pacer(), Cadence(fps)
        self._ready_since: float | None = None  # when its first engine was ready
        self._held_back = False  # a frame waits for its time
        self._parting: list[EngineSupervisor] = []  # engines that leave once another one renders
        self._leaving: list[EngineSupervisor] = []  # engines that have left, their processes not yet ended
        for engine in engines:
            engine.may_fall = partial(self._may_fall, engine)

    @property
    def accepts_frame(self) -> bool:
        """Whether one of its engines accepts a frame, now or as soon as it is `due`."""
        return any(engine.accepts_frame for engine in self._playing())

    @property
    def ready(self) -> bool:
        """Whether one of its engines has loaded and is warm."""
        return any(engine.ready for engine in self.engines)

    @property
    def sharing(self) -> int:
        """How many engines render the stage's own picture one after another: one where its frames need those before."""
        return 1 if self._sessions[OWN].bound else max(sum(engine.ready for engine in self._playing()), 1)

    @property
    def fallen(self) -> bool:
        """Whether the recipe failed, and no engine plays more than a lower rung of the ladder."""
        engines = self.engines
        return any(engine.fallen for engine in engines) and not any(e.ready and not e.fallen for e in engines)

    @property
    def failure(self) -> Failed | None:
        """Why it will render no more; None while one of its engines may."""
        failures = [engine.failure for engine in self.engines]
        if None in failures:
            return None
        return next((failure for failure in failures if failure and failure.memory), failures[0] if failures else None)

    @property
    def gone(self) -> bool:
        """Whether every process of a stopped player has ended."""
        return all(engine.gone for engine in [*self.engines, *self._leaving])

    @property
    def first(self) -> EngineSupervisor:
        """The engine whose report the status shows: the first that renders, else the first."""
        return next((engine for engine in self._playing() if engine.ready), self.engines[0])

    def is_complete(self, now: float) -> bool:
        """Whether every engine renders or has failed, or the others have kept the first one waiting for long.

        A compiled form waits for all: they may compile for minutes, and the quick form renders until then.
        """
        if len(self.engines) == 1 or all(each.ready or each.failure or each.alarm for each in self.engines):
            return True
        if self.variant.accelerator:
            return False
        return self._ready_since is not None and now - self._ready_since >= LONGEST_WAIT

    def adopt(self, start_values: Mapping[str, Value]) -> None:
        """Go on rendering for another show, whose parameters have these values until they are set."""
        self.start_values = start_values
        self._values = {**start_values, **{name: value for name, value in self._values.items() if name in start_values}}
        for session in [name for name in self._sessions if name != OWN]:
            self.end_session(session)

    def follow_downgrade(self) -> bool:
        """Take over that an engine renders the quick form since the compiled one has failed; return whether it does."""
        if not self.variant.accelerator or not any(engine.downgraded for engine in self.engines):
            return False
        self.variant = self.variant.quick
        return True

    def set_policy(self, policy: RestartPolicy) -> None:
        """Say what happens when an engine fails. With ALWAYS, engines that have failed beside others start again."""
        for engine in self.engines:
            engine.policy = policy
            if policy is RestartPolicy.ALWAYS and len(self.engines) > 1:
                engine.resume()

    def start(self, now: float, spare: Child | None = None, beside: bool = False) -> None:
        """Start the engines, unless they run already.

        Args:
            spare: A process of this machine for the first engine that runs here.
            beside: Another player's engines render while these load.
        """
        if self.ready:
            return
        for engine in self.engines:
            own, spare = (None, spare) if engine.place.is_remote else (spare, None)
            engine.start(now, own, beside)
        if spare is not None:
            spare.kill()

    def climb(self, now: float) -> None:
        """Load the recipe itself, in place of what engines load or render that fell back from it."""
        for engine in [each for each in self.engines if each.fallen]:
            engine.climb(now)

    def make_room(self) -> EnginePlace | None:
        """Stop one engine while others render on; return its place, or None if it is the only one that renders."""
        ready = [engine for engine in self.engines if engine.ready]
        if len(ready) < 2:
            return None
        ready[0].stop(0.0)
        return ready[0].place

    @property
    def has_room(self) -> bool:
        """Whether the processes of the engines that were stopped have ended."""
        return all(engine.gone for engine in self.engines if engine.failure)

    def hold(self) -> None:
        """Let no engine start itself in a later step: memory does not suffice yet."""
        for engine in self.engines:
            engine.hold("waiting for memory")

    def start_at(self, place: EnginePlace, now: float) -> None:
        """After `hold`, start the engine of one place, beside another player's engines; the others wait for ALWAYS."""
        for engine in self.engines:
            if engine.place == place:
                engine.start(now, None, True)

    def join(self, engine: EngineSupervisor, now: float) -> None:
        """Start a further engine; it gets frames once it has loaded."""
        engine.may_fall = partial(self._may_fall, engine)
        self.engines.append(engine)
        engine.start(now, None, True)

    def leave(self, engine: EngineSupervisor) -> None:
        """Stop an engine for good, while others render: if it is the only one, as soon as another one has loaded."""
        if engine not in self._parting:
            self._parting.append(engine)
        self._let_leave()

    def stay(self, engine: EngineSupervisor) -> None:
        """Keep an engine that was to leave."""
        self._parting = [other for other in self._parting if other is not engine]

    def _let_leave(self) -> None:
        stays = [engine for engine in self.engines if engine not in self._parting]
        renders = any(engine.ready for engine in self._parting) and not any(engine.ready for engine in stays)
        if renders and not all(engine.alarm or engine.failure for engine in stays):
            return
        for engine in self._parting:
            self.engines.remove(engine)
            if any(other.spare is engine.spare for other in self.engines):
                engine.spare = None  # theirs
            engine.stop(0.0)
        self._leaving += self._parting
        self._parting = []

    def stop(self, seconds: float = 0.0) -> None:
        """Kill the engines, waiting up to `seconds` for each; `gone` says when they have ended."""
        for wait in (0.0, seconds):  # they end at the same time
            for engine in self.engines:
                engine.stop(wait)

    def pop_spare(self) -> Child | None:
        return next((spare for engine in self.engines if (spare := engine.pop_spare())), None)

    def pop_costs(self) -> list[float]:
        """Seconds in an engine of each frame that was rendered since the last call."""
        return [cost for engine in self.engines for cost in engine.pop_costs()]

    def waitables(self) -> list[Any]:
        return list(dict.fromkeys(waitable for engine in self.engines for waitable in engine.waitables()))

    # --- frames ---

    def step(self, now: float) -> Frame | None:
        """Read the engines' messages; return the newest result of the stage's own picture if one has arrived."""
        self._held_back = False
        arrived = [result for engine in self.engines for result in engine.step(now)]
        self._watch(now)
        for session, frame in arrived:
            frames = self._sessions.get(session)  # None if it has ended
            if frames is not None and not frames.order.note_result(frame, now):
                self.metrics.count("dropped/rendered")
        pace, pids = self._pace(now), self._pids()
        for frames in self._sessions.values():
            while frames.order.due(pace, pids) <= now:
                if frames.result is not None:
                    self.metrics.count("dropped/rendered")
                frames.result, frames.current_at = frames.order.release(now), now
        own = self._sessions[OWN]
        newest, own.result = own.result, None
        if newest is not None:
            self.result, self.result_at = newest, now
            self.cadence.note(newest, now)
        return newest

    def picture(self, now: float) -> Pixels | None:
        """What to show of the stage's own picture at `now`: the newest result, or one of the pictures before it."""
        return None if self.result is None else self.cadence.picture(self.result, now)

    def _pace(self, now: float) -> Pace:
        return Pace.of([engine.service for engine in self._in_time(now) if engine.ready])

    def _in_time(self, now: float) -> list[EngineSupervisor]:
        """The engines whose results are not bound to come late; a slow one is tried again now and then."""
        engines = self._playing()
        fastest = min((engine.latency for engine in engines if engine.latency > 0.0), default=0.0)
        pace = Pace.of([engine.service for engine in engines if engine.ready])
        limit = fastest + pace.hold + pace.interval * len(self._sessions)
        return [each for each in engines if each.latency <= limit or now - each.last_result_at >= RETRY_PAUSE]

    def _pids(self) -> set[int]:
        return {engine.pid for engine in self.engines}

    def _watch(self, now: float) -> None:
        """Note the first engine that is ready; let one that fell back return once another renders the recipe."""
        self._leaving = [engine for engine in self._leaving if not engine.gone]
        if self._parting:
            self._let_leave()
        if self._ready_since is None and self.ready:
            self._ready_since = now
        if len(self.engines) > 1 and any(engine.ready and not engine.fallen for engine in self.engines):
            for engine in self.engines:
                if engine.substitutes:
                    engine.climb(now)

    def _may_fall(self, engine: EngineSupervisor) -> bool:
        """Whether an engine may render another recipe: one does where no other can render the recipe."""
        others = [other for other in self.engines if other is not engine]
        return not any(other.ready or other.fallen for other in others)

    def pop_session_results(self) -> dict[str, Frame]:
        """The newest result of every visitor's session that has arrived since the last call."""
        found: dict[str, Frame] = {}
        for session, frames in self._sessions.items():
            if frames.result is not None:
                found[session], frames.result = frames.result, None
        return found

    def current_at(self, session: str) -> float:
        """When a session's newest result arrived, or was last known to be what its newest input gives; 0 before."""
        frames = self._sessions.get(session)
        return frames.current_at if frames else 0.0

    def end_session(self, session: str) -> None:
        """Forget a visitor's session, here and in every engine. Results that are still under way are dropped."""
        if self._sessions.pop(session, None) is not None:
            for engine in self.engines:
                engine.end_session(session)

    def inherit_result(self, other: Player) -> None:
        """Show another player's last result until the first of its own."""
        if other.result is not None:
            self.result, self.result_at = replace(other.result, number=-1), other.result_at

    def due(self, now: float) -> float | None:
        """When there is more to do without a message, in monotonic seconds from `now` on; None for never.

        A frame that was held back may be sent then, or a result that waits is to be shown.
        """
        pace, pids = self._pace(now), self._pids()
        due = min(frames.order.due(pace, pids) for frames in self._sessions.values())
        if self._held_back and self.accepts_frame:
            due = min(due, self._pacer.due(pace.interval))
        return max(due, now) if due < math.inf else None

    def send(self, render_input: RenderInput, now: float) -> bool:
        """Send an input to the engine with the least work, unless its session has had an equal one already.

        Returns:
            Whether it was sent: not if nothing has changed, if every engine is busy, or if it is too soon, see `due`.
        """
        session = render_input.session
        frames = self._sessions.setdefault(session, SessionFrames())
        request = replace(render_input, values=self._complete(render_input))
        if frames.has_had(request, self._pids()):
            if frames.owes_nothing:  # an input that does not change makes no result old
                frames.current_at = now
                if session == OWN and self.result is not None:
                    self.result_at = now
            return False
        engine = self._choose(frames, request, now)
        if engine is None:
            return False
        is_new = frames.sent is None or request.frame is not frames.sent.frame
        time = request.frame.time if is_new else now  # the age of an input rendered again is not the engine's fault
        frame = Frame(request.frame.pixels, self._requests, time)
        makes_between = session == OWN and not engine.place.is_remote
        between = self.cadence.wanted(_pictures(request.values)) if makes_between else 0
        if not engine.send_frame(frame, request.values, now, request.guide, session, between):
            return False
        frames.note_sent(request, self._requests, engine.pid, now + engine.latency)
        self._requests += 1
        self._pacer.note_sent(now)
        return True

    def _playing(self) -> list[EngineSupervisor]:
        """The engines that render the recipe; without any, all: those too that had to fall back to another recipe."""
        return [engine for engine in self.engines if engine.ready and not engine.substitutes] or self.engines

    def _choose(self, frames: SessionFrames, request: RenderInput, now: float) -> EngineSupervisor | None:
        """The engine that gets the next frame of a session; None if none may have one now."""
        engines = self._playing()
        if len(engines) > 1 and keeps_memory(self.variant.recipe, request.values, request.session):
            engine = self._bound_engine(frames, engines)
            return engine if engine is not None and engine.accepts_frame else None
        frames.bound = 0
        if self._pacer.due(self._pace(now).interval) > now:
            self._held_back = True
            return None
        return min((engine for engine in self._in_time(now) if engine.accepts_frame), key=_work, default=None)

    def _bound_engine(self, frames: SessionFrames, engines: Sequence[EngineSupervisor]) -> EngineSupervisor | None:
        """The engine that keeps a session's memory: the one that it had, else the one with the fewest sessions."""
        ready = {engine.pid: engine for engine in engines if engine.ready}
        if frames.bound not in ready:
            bound = [other.bound for other in self._sessions.values()]
            frames.bound = min(ready, key=lambda pid: (bound.count(pid), _work(ready[pid])), default=0)
        return ready.get(frames.bound)

    def _complete(self, render_input: RenderInput) -> Mapping[str, Value | Blend]:
        """Every parameter of this recipe's table; one that is not among the values keeps its last value."""
        values = {name: render_input.values.get(name, before) for name, before in self._values.items()}
        if render_input.session == OWN:
            self._values = values
        return values


def _pictures(values: Mapping[str, Value | Blend]) -> int:
    """How many pictures the values want to be shown for each rendered one."""
    wanted = values.get(INTERPOLATE, 1)
    return wanted if isinstance(wanted, int) else 1


def _work(engine: EngineSupervisor) -> int:
    return engine.frames_under_way
