"""EngineSupervisor: keeps one engine rendering, replaces it when it fails, and steps down a ladder of recipes."""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from functools import singledispatchmethod
from typing import Any

import psutil

from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.metrics import Metrics, quantile_of
from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.channel import CLOSED
from lcm_daemon.processes.child import Child, Reaper, RestartLimit
from lcm_daemon.processes.protocol import Failed, FrameResult, Progress, Ready
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render import engine
from lcm_daemon.render.policy import EngineTimeouts, RestartPolicy

log = logging.getLogger(__name__)

# A frame may take this many times the usual before it counts as a hang. Eight steps in two passes (guidance above 1)
# are 16 times the work of one step in one, and the first frames of a kind take up to twice as long as later ones.
SLOWER = 32.0
STARVED = 10.0  # an engine on the CPU that is still at work may take this many deadlines
SPARE_PAUSE = 5.0  # seconds between two tries to start a spare
FIRST = 10.0  # the first frame after a start may take this many deadlines
LONGEST_FRAME = 1.0  # seconds between two frames that count as rendering; what is longer is waiting
REMEMBERED = 63  # frames whose time says what is usual

_FULL = (errno.ENOSPC, errno.ENOMEM)  # what a system says that has no room for another process


class EngineSupervisor:
    """One engine after another.

    ladder: the recipe the show asks for, then what to fall back to. A rung is left when its recipe cannot load at
    all, or after three failures in 60 s of rendering: the time that loading and dying take does not count. Below the
    last rung there is no engine: the alarm is raised, the failsafe shows, and from the top it is tried again every
    `patience.alarm` seconds. `duty` may say otherwise.
    guided: its frames may come with a guide.
    """

    def __init__(
        self, ladder: Sequence[Recipe], size: Size, metrics: Metrics, timeouts: EngineTimeouts, spare: bool = True,
        guided: bool = False, policy: RestartPolicy = RestartPolicy.PLAY,
    ) -> None:
        self.ladder, self.size, self.metrics, self.timeouts = ladder, size, metrics, timeouts
        self.guided, self.policy = guided, policy
        self.child: Child | None = None
        self.report: Any = None
        self.state = "starting"
        self.alarm = ""
        self.failure: Failed | None = None  # why there is no engine, and none will come by itself
        self.painted: deque[float] = deque(maxlen=REMEMBERED)  # seconds in the engine, of its last frames
        self.costs: list[float] = []  # the same of those frames that it really painted, until somebody takes them
        self._keeps_spare = spare
        self._spare: Child | None = None
        self._spare_warm = False  # it has imported its libraries, gently: until then a new process is quicker
        self._rung = 0
        self._begun = 0.0
        self._spare_at = 0.0
        self._looked, self._burned, self._toiling = 0.0, 0.0, False  # processor seconds of the engine, when last seen
        self._restarts = RestartLimit()
        self._played = 0.0  # seconds in which frames came back, of all engines
        self._answered: float | None = None  # when the last frame came, of this engine
        self._reaper = Reaper()
        self._newest: FrameResult | None = None

    @property
    def recipe(self) -> Recipe:
        return self.ladder[self._rung]

    @property
    def pid(self) -> int:
        """The engine's process; 0 while there is none."""
        return (self.child.pid if self.child else 0) or 0

    @property
    def ready(self) -> bool:
        return self.child is not None and self.report is not None

    @property
    def wanted(self) -> bool:
        """The engine waits for a frame."""
        return self.ready and self.child is not None and self.child.link.wanted

    def waitables(self) -> list[Any]:
        """What to wait on: the pipes say both that there is news and that a child is gone."""
        return [child.link.pipe for child in (self.child, self._spare) if child is not None]

    @property
    def fallen(self) -> bool:
        """It plays on a lower rung than the first."""
        return self._rung > 0

    @property
    def gone(self) -> bool:
        """No process is left of a stopped one: what it had on the device is free again."""
        self._reaper.visit()
        return self.child is None and self._spare is None and not len(self._reaper)

    def take_spare(self) -> Child | None:
        """Give the spare away, to an engine beside this one; None where there is none that lives and is warm."""
        if self._spare is None or not self._spare_warm or not self._spare.process.is_alive():
            return None
        spare, self._spare = self._spare, None
        return spare

    def start(self, now: float, spare: Child | None = None) -> None:
        """Put an engine on the present rung: a spare if there is one, else a new process."""
        self.failure = None
        try:
            self.child = spare or self.take_spare() or self._spawn(spare=False)
        except OSError as error:
            self._cannot_start(error, now)
            return
        self.report, self.state, self._begun, self._answered = None, "loading", now, None
        self.painted.clear()
        self.child.link.tell(engine.LoadRecipe(self.recipe))

    def _cannot_start(self, error: OSError, now: float) -> None:
        self.child, self._begun, self.state, self.alarm = None, now, "alarm", f"no engine can be started: {error}"
        if self.policy is RestartPolicy.TRIAL:
            self.failure = Failed(self.alarm, memory=error.errno in _FULL)
        else:
            log.error("%s; next try in %.0f s", self.alarm, self.timeouts.alarm)

    def submit(
        self, frame: Frame, values: Mapping[str, Value | Blend], now: float, guide: Frame | None = None
    ) -> bool:
        """Hand a frame over if the engine wants one."""
        if not self.wanted or self.child is None:
            return False
        try:
            return self.child.link.submit(frame, values, now, guide)
        except CLOSED:
            return False  # `step` sees the same closed pipe and replaces the engine

    def step(self, now: float) -> Frame | None:
        """Hear the engine, notice its death or its silence, keep the spare; return the newest rendered frame if any."""
        self._reaper.visit()
        if self._spare is not None:
            self._hear_spare(self._spare)
        if self.child is None:
            if self.failure is None and now - self._begun >= self.timeouts.alarm:
                self.start(now)
            return None
        frame = self._hear(self.child, now)
        if self.child is not None and self._overdue(now):
            self._replace("does not answer", now)
        self._keep_spare(now)
        return frame

    def stop(self, seconds: float = 1.0) -> None:
        """End the engine and the spare for good, and wait up to `seconds` for each."""
        self.failure = Failed("stopped", retry=False)
        for child in (self.child, self._spare):
            if child is not None:
                self._reaper.bury(child)
        self.child = self._spare = None
        self._reaper.visit(seconds)

    def _hear(self, child: Child, now: float) -> Frame | None:
        self._newest = None
        try:
            for message in child.link.receive():
                self._take(message, now)
                if self.child is not child:  # the message ended it
                    return None
        except CLOSED:
            self._replace("died", now)
            return None
        return child.link.take(self._newest) if self._newest else None

    @singledispatchmethod
    def _take(self, message: object, now: float) -> None:
        raise TypeError(f"the engine said {message!r}")

    @_take.register
    def _(self, message: Progress, now: float) -> None:
        self.state = message.text

    @_take.register
    def _(self, message: Ready, now: float) -> None:
        self.report, self.state = message.report, "rendering"
        self.metrics.time("engine/load", now - self._begun)
        report = message.report
        log.info("rendering with %s on %s, %s, %dx%d", report.model, report.device, report.dtype, *report.size)

    @_take.register
    def _(self, message: FrameResult, now: float) -> None:
        if self._newest is not None and self.child is not None:
            self.child.link.release(self._newest)
            self.metrics.count("dropped/rendered")
        self._newest = message
        self._note_answer(now)
        seconds = message.seconds.get("render", 0.0)
        self.painted.append(seconds)
        if len(message.seconds) > 1:  # a frame passed through or left out has no parts
            self.costs = [*self.costs[1 - REMEMBERED:], seconds]
        self.metrics.count("engine/rendered")
        for part, spent in message.seconds.items():
            self.metrics.time(f"engine/{part}", spent)

    def _note_answer(self, now: float) -> None:
        """An engine that paints is no alarm, and the time that it paints is what its failures are counted against."""
        self.alarm = "" if self._rung == 0 else self.alarm
        self._played += 0.0 if self._answered is None else min(now - self._answered, LONGEST_FRAME)
        self._answered = now

    @_take.register
    def _(self, message: Failed, now: float) -> None:
        self._replace(message.text, now, message.retry, message.memory)

    def _overdue(self, now: float) -> bool:
        if self.child is None:
            return False
        if self.report is None:
            return now - self._begun > self.timeouts.loading
        silence = now - min(self.child.link.unanswered.values(), default=now)
        toils = silence > self.timeouts.frame - 1.5 and self._toils(self.child, now)
        if silence <= self.timeouts.frame:
            return False
        usual = SLOWER * quantile_of(sorted(self.painted), 0.5) if self.painted else FIRST * self.timeouts.frame
        return silence > max(usual, STARVED * self.timeouts.frame if toils else 0.0)

    def _toils(self, child: Child, now: float) -> bool:
        """Whether an engine on the CPU is at work: one that other programs starve is slow, and no hang.

        Looked at once a second. On a GPU it says nothing, for there a hang burns processor time as well.
        """
        if now - self._looked >= 1.0:
            try:
                times = psutil.Process(child.pid).cpu_times()
            except psutil.Error:
                return False
            self._toiling = times.user + times.system - self._burned > 0.1
            self._looked, self._burned = now, times.user + times.system
        return self._toiling and str(self.report.device).startswith("cpu")

    def _replace(self, reason: str, now: float, retry: bool = True, memory: bool = False) -> None:
        """Kill the engine and start the next one: on this rung, a lower one, or none for a while."""
        log.warning("engine %s (%s): %s", self.child.pid if self.child else None, self.recipe.name, reason)
        if self.child is not None:
            self._reaper.bury(self.child)
        self.child, self.report, self._begun = None, None, now
        if self.policy is RestartPolicy.TRIAL or (self.policy is RestartPolicy.YIELD and memory):
            self.failure, self.state = Failed(reason, retry, memory), "failed"
            return
        self.metrics.count("engine/replaced")
        if retry and self._restarts.spend(self._played):
            self.alarm = f"{self.recipe.name}: {reason}" if self._restarts.spent > 1 else self.alarm
            self.start(now)
        else:
            self._step_down(reason, now)

    def _step_down(self, reason: str, now: float) -> None:
        self.alarm = f"{self.recipe.name}: {reason}"
        if self._rung + 1 < len(self.ladder):
            self._rung += 1
            log.error("going on with the recipe %r", self.recipe.name)
            self.start(now)
        else:
            self._rung, self.state = 0, "alarm"
            log.error("no engine; the failsafe shows, next try in %.0f s", self.timeouts.alarm)

    def _keep_spare(self, now: float) -> None:
        wanted = self._keeps_spare and self.policy is RestartPolicy.PLAY and bool(self.painted)
        if self._spare is None and wanted and now >= self._spare_at:
            self._spare_at = now + SPARE_PAUSE  # one that cannot start, or dies at once, is not tried in every tick
            try:
                self._spare, self._spare_warm = self._spawn(spare=True), False
            except OSError as error:
                log.warning("no spare engine: %s", error)

    def _hear_spare(self, spare: Child) -> None:
        try:
            self._spare_warm = bool(spare.link.receive()) or self._spare_warm
        except CLOSED:
            self.metrics.count("engine/spare_died")
            self._reaper.bury(spare)
            self._spare = None

    def _spawn(self, spare: bool) -> Child:
        level = logging.getLogger().level
        return Child("lcm-engine", engine.run, self.size, self.recipe.pipeline, spare, level, guided=self.guided)
