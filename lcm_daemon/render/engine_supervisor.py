"""EngineSupervisor: keeps one engine rendering, replaces it when it fails, and steps down a ladder of recipes."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.metrics import Metrics, quantile_of
from lcm_daemon.core.parameters import Value
from lcm_daemon.pipelines.base import DeviceMemory
from lcm_daemon.processes.channel import CLOSED
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.protocol import EndSession, Failed, FrameResult, Progress, Ready
from lcm_daemon.processes.supervisor import ChildSupervisor
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render import engine
from lcm_daemon.render.engine_facts import describe_engine
from lcm_daemon.render.engine_place import EnginePlace, start_engine
from lcm_daemon.render.engine_silence import EngineSilence
from lcm_daemon.render.policy import EngineTimeouts, RestartPolicy
from lcm_daemon.render.spare import Spare

log = logging.getLogger(__name__)

LONGEST_FRAME = 1.0  # seconds between two results that count as rendering; longer gaps are waiting
SERVICE_FRAMES = 5  # frames that say how fast the engine is at present
RECENT_FRAMES = 63  # frames whose times define what is usual

FIRST_PAUSE = 1.0  # seconds until the next try where the system has no room for an engine; then twice that, and so on


class Rendered(NamedTuple):
    """A result, and whose it is: "" for the stage's own picture, else the number of a visitor's session."""

    session: str
    frame: Frame


class EngineSupervisor(ChildSupervisor):
    """One engine after another.

    A rung of the ladder is left when its recipe cannot load at all, or after three failures in 60 s of rendering; time
    spent loading and dying does not count. Below the last rung no engine runs: the alarm is raised, the failsafe
    shows, and the ladder is tried again from the top every `timeouts.alarm` seconds. `policy` may say otherwise.

    A compiled recipe takes minutes to load. The engine that replaces one renders its quick form, which then is the
    first rung; the compiled one is loaded again beside it, as any other change.

    Args:
        ladder: The recipe that the show asks for, then what to fall back to.
        size: (width, height) of the frames in pixels.
        spare: A process that waits for the next start, shared with the other engines of a show; None for none.
        guided: Whether frames may come with a guide frame.
        quick: The quick form of the first rung, where that is a compiled recipe.
        place: Where the engine runs.
    """

    kind = "engine"

    def __init__(
        self, ladder: Sequence[Recipe], size: Size, metrics: Metrics, timeouts: EngineTimeouts,
        spare: Spare | None = None, guided: bool = False, policy: RestartPolicy = RestartPolicy.ALWAYS,
        quick: Recipe | None = None, place: EnginePlace = EnginePlace(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(metrics)
        self._quick, self.downgraded = quick, False  # downgraded: the quick form has replaced the compiled one
        self.ladder, self.size, self.timeouts = ladder, size, timeouts
        self.guided, self.policy, self.spare, self.place = guided, policy, spare, place
        self.node = ""  # the machine that it runs on; "" for this one
        self.report: Any = None  # of the loaded pipeline; None while it loads
        self.in_flight = 1  # frames that the engine renders at once
        self.memory: DeviceMemory | None = None  # of the device, as the engine last reported it
        self.state = "starting"
        self.alarm = ""
        self.failure: Failed | None = None  # why no engine runs, and none will be started
        self.frame_times: deque[float] = deque(maxlen=RECENT_FRAMES)  # seconds in the engine, of its last frames
        self.rendered = 0  # frames so far
        self._latencies: deque[float] = deque(maxlen=SERVICE_FRAMES)  # seconds from request to result
        self.service = 0.0  # seconds from one frame to the next, lately; 0 before the first
        self.costs: deque[float] = deque(maxlen=RECENT_FRAMES)  # the same, of frames that were rendered; see pop_costs
        self.may_fall: Callable[[], bool] = lambda: True  # whether another recipe may be rendered in place of its own
        self._rung = 0
        self._silence = EngineSilence(timeouts)
        self._pause, self._next_pause = timeouts.alarm, FIRST_PAUSE  # seconds between two tries to start an engine
        self._returns = False  # the engine takes the place of a dead one, and a faster one will follow
        self._progress_at = 0.0  # when the loading engine last said that it makes progress
        self._rendering_time = 0.0  # seconds in which results arrived, of all engines
        self._last_result: float | None = None  # when this engine's last result arrived
        self._results: list[Rendered] = []  # of this step

    @property
    def recipe(self) -> Recipe:
        """The recipe of the present rung."""
        return self.ladder[self._rung]

    @property
    def last_result_at(self) -> float:
        """When its last result arrived, in monotonic seconds."""
        return self._last_result if self._last_result is not None else -math.inf

    @property
    def latency(self) -> float:
        """Median seconds from the request of a frame to its result, lately; 0 before the first."""
        return quantile_of(sorted(self._latencies), 0.5) if self._latencies else 0.0

    @property
    def ready(self) -> bool:
        """Whether an engine has loaded and is warm."""
        return self.child is not None and self.report is not None

    @property
    def accepts_frame(self) -> bool:
        return self.ready and self.child is not None and self.child.channel.accepts_frame

    @property
    def frames_under_way(self) -> int:
        """Frames that were sent, and whose results have not come."""
        return len(self.child.channel.unanswered) if self.child is not None else 0

    @property
    def fallen(self) -> bool:
        """Whether a lower rung than the first is playing."""
        return self._rung > 0

    @property
    def substitutes(self) -> bool:
        """Whether it renders another recipe than the one that was asked for."""
        return self.recipe.name != self.ladder[0].name

    @property
    def gone(self) -> bool:
        """Whether no process is left after `stop`: the device's memory is free again."""
        self._reaper.reap()
        return self.child is None and (self.spare is None or self.spare.gone) and not len(self._reaper)

    def waitables(self) -> list[Any]:
        return [*super().waitables(), *(self.spare.waitables() if self.spare is not None else [])]

    # --- frames ---

    def send_frame(
        self, frame: Frame, values: Mapping[str, Value | Blend], now: float, guide: Frame | None = None,
        session: str = "", between: int = 0,
    ) -> bool:
        """Send a frame of a session to the engine if it accepts one; return whether it was sent.

        between: How many pictures to make between the result before and this one.
        """
        if not self.ready or self.child is None:
            return False
        try:
            return self.child.channel.send_frame(frame, values, now, guide, session, between)
        except CLOSED:
            return False  # `step` finds the same closed pipe and replaces the engine

    def end_session(self, session: str) -> None:
        """Let the engine forget a session; one that has not loaded knows none."""
        if self.ready and self.child is not None:
            self.child.channel.send_without_credit(EndSession(session))

    def step(self, now: float) -> list[Rendered]:
        """Read the engine's messages, replace an engine that died or hangs, keep a spare; return every result."""
        self._results = []
        if self.spare is not None:
            self.spare.read()
        self.poll(now)
        if self.child is not None:
            self._keep_spare(now)
        return self._results

    def pop_costs(self) -> list[float]:
        """Seconds that each frame took which was rendered since the last call."""
        costs = list(self.costs)
        self.costs.clear()
        return costs

    def on_message(self, message: Any, child: Child, now: float) -> None:
        match message:
            case FrameResult():
                self._on_result(message, child, now)
            case Progress():
                self.state, self._progress_at = message.text, now
            case Ready():
                self._on_ready(message)
                self.metrics.time("engine/load", now - self.started_at)
                self._log_rendering()
            case DeviceMemory():
                self.memory = message
            case Failed():
                self._replace(message, now)
            case _:
                raise TypeError(f"unknown message from the engine: {message!r}")

    @property
    def _label(self) -> str:
        """For log lines, after the word "engine"."""
        return f" {self.place.name}" if self.place.name else ""

    def _on_ready(self, ready: Ready) -> None:
        self.report, self.in_flight, self.node, self.state = ready.report, ready.in_flight, ready.node, "rendering"

    def _log_rendering(self) -> None:
        report, node = self.report, f" on {self.node}" if self.node else ""
        log.info("engine%s: rendering %s on %s%s, %s, %dx%d", self._label, report.model, report.device, node,
                 report.dtype, *report.size)

    def _on_result(self, result: FrameResult, child: Child, now: float) -> None:
        latency = now - child.channel.requested[result.slot]
        self.metrics.time("engine/latency", latency)
        self._latencies.append(latency)
        self.rendered += 1
        session = child.channel.sessions.get(result.slot, "")
        self._results.append(Rendered(session, child.channel.read_result(result)))
        if self._rung == 0:
            self.alarm = ""
        if self._last_result is not None:
            self._rendering_time += min(now - self._last_result, LONGEST_FRAME)
        self._last_result = now
        seconds = result.seconds.get("render", 0.0)
        self.frame_times.append(seconds)
        self.service = quantile_of(sorted(list(self.frame_times)[-SERVICE_FRAMES:]), 0.5)
        if len(result.seconds) > 1:  # a frame that was passed through or skipped has no parts
            self.costs.append(seconds)
        self.metrics.count("engine/rendered")
        for part, spent in result.seconds.items():
            self.metrics.time(f"engine/{part}", spent)

    # --- start and stop ---

    def start(self, now: float, spare: Child | None = None, beside: bool = False) -> None:
        """Start an engine on the present rung: from a spare if there is one, else from a new process.

        beside: Another engine renders while this one loads.
        """
        self.failure, self.started_at, self._progress_at = None, now, now
        self.report, self._last_result = None, None
        if spare is None and self._take_loaded_spare():
            return
        self.frame_times.clear()
        self._latencies.clear()
        self.service = 0.0
        try:
            self.child = spare or self.pop_spare() or self._spawn(spare=False)
        except OSError as error:
            self._on_spawn_error(error)
            return
        self.state, self._next_pause = "loading", FIRST_PAUSE
        self.child.channel.send_without_credit(engine.LoadRecipe(self.recipe, beside, self._returns))

    def start_next(self, now: float) -> None:
        if self.failure is None and now - self.started_at >= self._pause:
            self.start(now)

    def _spawn(self, spare: bool) -> Child:
        place = EnginePlace() if spare else self.place
        return start_engine(place, self.size, self.recipe.pipeline, self.guided, spare)

    def _on_spawn_error(self, error: OSError) -> None:
        self.child, self.state, self.alarm = None, "alarm", f"no engine can be started: {error}"
        if self.policy is RestartPolicy.NEVER:
            self.failure = Failed(self.alarm, memory=error.errno in engine.NO_ROOM)
        else:
            self._pause = min(self._next_pause, self.timeouts.alarm)
            self._next_pause = 2.0 * self._pause
            log.error("engine%s: %s; the failsafe shows, next try in %g s", self._label, self.alarm, self._pause)

    def stop(self, seconds: float = 1.0) -> None:
        """Kill the engine and the spare for good, and wait up to `seconds` for the end of each."""
        self.failure = Failed("stopped", retry=False)
        if self.spare is not None:
            self.spare.drop(seconds)
        super().stop(seconds)

    def hold(self, reason: str) -> None:
        """Start no engine until `resume`, such as while another one needs the memory."""
        self.failure, self.state = Failed(reason), reason

    def resume(self) -> None:
        """Start an engine in the next step, if none runs."""
        if self.failure is not None:
            self.failure, self.started_at = None, -math.inf

    def climb(self, now: float) -> None:
        """Leave a lower rung of the ladder: render the recipe again that was asked for."""
        self.kill_child()
        self._rung, self.alarm = 0, ""
        self.start(now)

    # --- failures ---

    def is_hung(self, child: Child, now: float) -> bool:
        pid, silence = child.pid or 0, self._silence
        if self.report is None:
            is_prepared = self._quick is not None and self.policy is RestartPolicy.ALWAYS
            return (silence.hangs_at_load(pid, self._progress_at, now)
                    or (is_prepared and silence.loads_slowly(pid, self.started_at, now)))
        on_cpu = str(self.report.device).startswith("cpu") and not self.place.is_remote
        usual = quantile_of(sorted(self.frame_times), 0.5) if self.frame_times else None
        return silence.hangs_at_frame(pid, self._oldest_at(child, now), now, usual, on_cpu)

    def _oldest_at(self, child: Child, now: float) -> float:
        """When the engine began with the oldest frame under way; `now` if there is none.

        A frame behind another one has waited for it: it counts from that one's result.
        """
        sent = min(child.channel.unanswered.values(), default=now)
        return sent if self._last_result is None else max(sent, self._last_result)

    def on_failure(self, reason: str, now: float) -> None:
        self._replace(Failed(reason, lost=self.place.is_remote), now)

    def _replace(self, failed: Failed, now: float) -> None:
        """Kill the engine and start the next one: on this rung, a lower one, or none for a while."""
        spares_memory = self.policy is RestartPolicy.UNLESS_OUT_OF_MEMORY and failed.memory
        is_last = self.policy is RestartPolicy.NEVER or spares_memory
        log.warning("engine%s %s (%s): %s%s", self._label, self.pid or "", self.recipe.name, failed.text,
                    "" if is_last else "; it is replaced")
        self.report_end(failed, describe_engine(self))
        self.kill_child()
        self._returns = self._quick is not None or self.downgraded or bool(self.report and self.report.upgrade)
        self.report, self.started_at = None, now
        if is_last:
            self.failure, self.state = failed, "failed"
            return
        self.metrics.count("engine/replaced")
        if self._quick is not None:
            self.ladder, self._quick, self.downgraded = (self._quick, *self.ladder[1:]), None, True
            failed = replace(failed, retry=True)
        if failed.retry and (failed.lost or self.restarts.allows(self._rendering_time)):
            if self.restarts.recent > 1:
                self.alarm = f"{self.recipe.name}: {failed.text}"
            self.start(now)
        else:
            self._step_down(failed.text, now)

    def _step_down(self, reason: str, now: float) -> None:
        self.alarm = f"{self.recipe.name}: {reason}"
        below = self.ladder[self._rung + 1:]
        if below and (below[0].name == self.recipe.name or self.may_fall()):
            self._rung += 1
            log.error("engine%s: falling back to the recipe %r", self._label, self.recipe.name)
            self.start(now)
        else:
            self._rung, self.state, self._pause = 0, "alarm", self.timeouts.alarm
            log.error("engine%s: every recipe failed; %s, next try in %.0f s", self._label,
                      "other engines render" if below else "the failsafe shows", self.timeouts.alarm)

    # --- the spare ---

    def pop_spare(self) -> Child | None:
        """Give the spare away, to an engine beside this one; None if there is none that is alive and warm."""
        return self.spare.pop() if self.spare is not None else None

    def _keep_spare(self, now: float) -> None:
        if self.spare is not None and self.policy is RestartPolicy.ALWAYS and self.frame_times:
            self.spare.keep(now, self._quick or self.recipe, self.memory, lambda: self._spawn(spare=True))

    def _take_loaded_spare(self) -> bool:
        """Continue with the spare if it has loaded the recipe, or is loading it; return whether it has."""
        found = self.spare.pop_loaded(self.recipe) if self.spare is not None else None
        if found is None:
            return False
        self.child, ready = found
        self.state = "loading"
        if ready is None:
            self.frame_times.clear()
        else:  # it is warm: a first frame that takes longer than others is a hang
            self._on_ready(ready)
            log.info("engine: the loaded spare takes over")
            self._log_rendering()
        return True
