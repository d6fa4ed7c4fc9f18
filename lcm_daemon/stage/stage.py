"""Stage: assembles a show and owns the tick. Sources in, engine and failsafe, sinks out; controllers by the desk.

    source ─► newest frame ─► engine (another process) ─► newest render ─► failsafe ─► every sink, once a tick
                  ▲                    values of this moment ride along
                 desk (another process): what OSC and panel ask for

One thread does all of this: it waits for whatever comes first, the children's messages, a new input frame, or the
next beat. Nothing it calls may block; it copies pixels and keeps time.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.connection import wait

from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.clock import Clock, MonotonicClock, Ticker, raise_timer_resolution
from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import Change, CommandRequest, ParameterState, RequestQueue
from lcm_daemon.desk.desk import DeskConfig
from lcm_daemon.desk.desk_supervisor import DeskSupervisor
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.failsafe import Failsafe, blend, load_slate
from lcm_daemon.render.governor import Governor
from lcm_daemon.render.player import Player, RenderInput
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.render.transition import RecipeTransition
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.resume_file import ResumeFile
from lcm_daemon.stage.status import Status
from lcm_daemon.stage.systemd_notify import SystemdNotifier
from lcm_daemon.stage.value_origin import begun_by, last_move, parameter_states
from lcm_daemon.stage.wakeup import WakeupPipe
from lcm_daemon.transports.factory import build_sink, build_source
from lcm_daemon.transports.runner import Runner

log = logging.getLogger(__name__)

_REFUSALS = ("refused", "unknown", "malformed")  # how the desk's counters of what it did not take end
PREVIEW = 1 / 15  # seconds between two pictures for the panel
ENDING = 1.0  # seconds each thread and process gets to end by itself


class Stage:
    """A running show."""

    def __init__(self, show: Show, clock: Clock | None = None, resume_file: ResumeFile | None = None) -> None:
        self.show = show
        self.clock = clock or MonotonicClock()
        self.metrics = Metrics()
        self.resume_file = resume_file or ResumeFile()
        look, recipes = self.resume_file.begin(self.clock.now()), show.catalogue()
        recipe = look.recipe_to_start(recipes, show.recipe) if look else show.recipe
        self._fallback = show.fallback
        self.transition = RecipeTransition(recipe, self._build_player, self.metrics, show.crossfade, show.timeouts.alarm)
        governor = Governor(show.target_fps, self.metrics) if show.target_fps else None
        self.switcher = RecipeSwitcher(recipes, self.transition, governor, self.metrics)
        self.parameters = Parameters(show.table(recipe), show.start(recipe), show.glides)
        self.automation = Automation(
            show.cues, show.modulators, self.parameters, self.switcher.cue, show.side, self.metrics
        )
        self.automation.recipe = recipe.name
        if look:
            self.automation.restore(look, self.clock.now())
        self.source = build_source(show.source, "source", show.size, self.metrics, self._arrived)
        self.guide = build_source(show.guide, "guide", show.size, self.metrics, self._arrived)
        self.sinks = [runner for plan in show.sinks if (runner := build_sink(plan, show.size, show.fps, self.metrics))]
        self._pumped = {type(runner.endpoint) for runner in self._runners()}
        self.desk = DeskSupervisor(
            DeskConfig(show.name, self.parameters.shown(), self.parameters.targets(), show.desk, tuple(recipes),
                  browser_source=show.browser_source), show.size, self.metrics,
        )
        self.failsafe = Failsafe(show.failsafe, show.size, load_slate(show.slate, show.size, show.name))
        self.values: Mapping[str, Value | Blend] = self.automation.evaluate(self.clock.now())
        self.output: Frame | None = None
        self._picture: Pixels | None = None  # of the last beat, before the master dims it
        self.stopping = False
        self._wakeup = WakeupPipe()
        self._watchdog = SystemdNotifier()
        self._hungry = False  # an engine waits for an input that has not come yet
        self._adopted = recipe  # whose table of parameters is in force
        self._beats = 0
        self._previewed = 0.0
        self._blank = Frame(solid(show.size), 0, self.clock.now())
        self._status = Status(self.metrics)
        self._ticker = Ticker(show.fps, self.clock)  # begins anew when the show does

    # --- its ends ---

    def _build_player(self, recipe: Recipe, policy: RestartPolicy) -> Player:
        plain = [replace(recipe, accelerate="none")] if recipe.accelerate not in ("auto", "none") else []
        ladder, show = (recipe, *plain, self._fallback), self.show
        engine = EngineSupervisor(
            ladder, show.size, self.metrics, show.timeouts, show.spare, show.guide is not None, policy
        )
        return Player(recipe, [engine], show.start(recipe), self.metrics)

    def _runners(self) -> list[Runner]:
        return [runner for runner in (self.source, self.guide, *self.sinks) if runner is not None]

    def describe(self) -> str:
        """The opening screen, without the optional sinks that were left out."""
        return self.show.describe([sink.label for sink in self.sinks])

    # --- life ---

    def run(self, seconds: float | None = None, opened: Callable[[], None] = lambda: None) -> None:
        """Play until `stop` is called, or for so many seconds. Raises LcmDaemonError if the show cannot open.

        opened: called once, when the desk listens and the ends are being opened.
        """
        sys.setswitchinterval(0.0005)  # a busy sink thread then delays the tick by 0.7 ms at most, not by 7
        raise_timer_resolution()
        try:
            self._open()
            opened()
            self._watchdog.ready()
            ticker = self._ticker = Ticker(self.show.fps, self.clock)
            end = None if seconds is None else self.clock.now() + seconds
            while not self.stopping and (end is None or self.clock.now() < end):
                self._serve_until(ticker.due)
                self.metrics.time("tick/late", ticker.advance())
                self._tick()
            self.resume_file.forget()
            self._watchdog.stopping()
        finally:
            self._close()

    def stop(self) -> None:
        """End the show at the next beat; may be called from a signal handler."""
        self.stopping = True
        self._wakeup.ring()

    def kill(self) -> None:
        """End every child process at once."""
        self.transition.stop(0.0)
        self.desk.stop(0.0)

    def _open(self) -> None:
        now = self.clock.now()
        self.desk.open(self.parameters.targets(), now)
        for runner in self._runners():
            runner.start()
        self.transition.start(now)
        gc.collect()
        gc.freeze()  # what is here now stays: later collections need not look at it

    def _close(self) -> None:
        for runner in self._runners():
            runner.stop()
        self.transition.stop(ENDING)
        self.desk.stop(ENDING)
        for runner in self._runners():
            if not runner.join(ENDING):
                log.warning("%s did not end in time", runner.label)
        self.automation.close()
        self.resume_file.close()
        self._wakeup.close()

    # --- between two beats ---

    def _serve_until(self, due: float) -> None:
        """Attend to whatever comes, until the beat is due."""
        while True:
            self._attend()
            left = due - self.clock.now()
            if left <= 0 or self.stopping:
                return
            if left < 0.0015:  # waiting on pipes is only good to the millisecond; sleep is not
                self.clock.sleep(left)
                return
            waitables = [self._wakeup.rope, *self.desk.waitables(), *self.transition.waitables()]
            with contextlib.suppress(InterruptedError):  # Ctrl-C on Windows: its handler has seen to it
                wait(waitables, left - 0.001)

    def _attend(self) -> None:
        try:
            now = self.clock.now()
            self._wakeup.clear()
            for pending in self.desk.step(self.parameters.targets(), now):
                self._obey(pending, now)
            self.desk.tell(self.automation.update(now, time.strftime("%H:%M"), self.desk.kept.get("tempo")))
            starved = self._input() is None and self.values["mode"] != "text"
            self._adopt(self.transition.step(now, starved), now)
            self._follow(now)
            self.switcher.govern(self.parameters.targets(), now)
            self.switcher.upgrade()
            self._feed()
        except Exception:  # noqa: BLE001 - as for the tick: it goes on, whatever fails here
            self._shout("attending failed")

    def _obey(self, pending: RequestQueue, now: float) -> None:
        for step in pending:
            self.desk.tell(self._command(step, now) if isinstance(step, CommandRequest) else self._move(step, now))

    def _command(self, call: CommandRequest, now: float) -> list[Change]:
        return _COMMANDS[call.name](self, call) if call.name in _COMMANDS else self.automation.execute(call, now)

    def _move(self, change: Change, now: float) -> list[Change]:
        if change.name not in self.parameters.table:  # it has gone with its recipe meanwhile
            return []
        value = self.parameters.set(change.name, change.value, now, change.origin)
        return [Change(change.name, value, change.origin)]

    def _reset(self, call: CommandRequest) -> list[Change]:
        self.automation.panic()
        self.transition.hold(self.clock.now())
        changed = self.parameters.reset(f"panic/{call.origin}")
        return [Change(name, value, call.origin) for name, value in changed.items()]

    def _change_recipe(self, call: CommandRequest) -> list[Change]:
        self.switcher.change(str(call.arguments[0]))
        return []

    def _change_size(self, call: CommandRequest) -> list[Change]:
        width, height = call.arguments
        self.switcher.resize(int(width), int(height))
        return []

    def _adopt(self, frame: Frame | None, now: float) -> None:
        """Note how long a rendered frame has been on its way."""
        if frame is not None:
            self.metrics.time("latency", now - frame.time)

    def _follow(self, now: float) -> None:
        """The parameters are those of the recipe whose picture it is. Values that nobody has moved go along with it."""
        recipe = self.transition.recipe
        if recipe is self._adopted:
            return
        before, values = self.show.start(self._adopted), self.parameters.targets()
        self._adopted, self.parameters.start = recipe, self.show.start(recipe)
        self.parameters.replace_table(self.show.table(recipe))
        for name, value in self.parameters.start.items():
            if name in values and values[name] == before[name] != value and self.parameters.is_untouched(name):
                self.parameters.follow_recipe(name, now)
        self.desk.adopt(self.parameters.shown())
        self.desk.tell(self.automation.recipe_started(recipe.name, now))

    def _input(self) -> Frame | None:
        return self.source.newest if self.source else None

    def _feed(self) -> None:
        """Hand the newest input and the values of this moment to every engine that waits, if either is new."""
        waiting = [player for player in self.transition.players if player.wanted]
        self._hungry = bool(waiting)  # first the flag, then the look: no arrival falls in between
        if not waiting:
            return
        now = self.clock.now()
        values = self.switcher.lay_over(self.automation.values)
        frame = self._input()
        if frame is None and values["mode"] != "text":
            return
        guide = self.guide.newest if self.guide else None
        number = self._beats if self._moves_by_itself(values) else 0
        for player in waiting:
            player.feed(RenderInput(frame or self._blank, guide, self._as_for(player, values), number), now)
        self._hungry = any(player.wanted for player in waiting)

    def _as_for(self, player: Player, values: Mapping[str, Value | Blend]) -> Mapping[str, Value | Blend]:
        """The values as its recipe has them: while two play, what nobody has moved is for each as its own says."""
        if player.recipe is self._adopted:
            return values
        start = self.parameters.start
        own = {name: value for name, value in player.begins.items()
               if name in values and values[name] == start[name] and self.parameters.is_untouched(name)}
        return {**values, **own}

    def _moves_by_itself(self, values: Mapping[str, Value | Blend]) -> bool:
        """Every beat is another picture, though neither input nor values have changed."""
        moves = values["mode"] == "text" or values["noise"] == "walking" or self.transition.recipe.stream_batch
        return moves or bool(values["feedback"])

    def _arrived(self) -> None:
        """A new input frame is there (on the source's thread)."""
        if self._hungry:
            self._wakeup.ring()

    # --- the beat ---

    def _tick(self) -> None:
        try:
            now = self.clock.now()
            self.values = self.automation.evaluate(now)
            if self._picture is None or not self.values["freeze"]:
                self._picture = self._choose(now)
            self.output = Frame(self._dim(self._picture), self._beats, now)
            self._beats += 1
            for sink in self.sinks:
                sink.post(self.output)
            self._tell_desk(now)
            self._pump()
            self._watchdog.alive(now)
        except Exception:  # noqa: BLE001 - the top of the tick: nothing may stop it
            self._shout("a tick failed")

    def _dim(self, picture: Pixels) -> Pixels:
        """As bright as the master says; a frozen picture is dimmed too."""
        master = self.values["master"]
        assert isinstance(master, float)
        return picture if master >= 1.0 else blend(self._blank.pixels, picture, master)

    def _choose(self, now: float) -> Pixels:
        source = self._input()
        rendered, age = self.transition.picture(now)
        return self.failsafe.choose(rendered, age, source.pixels if source else None)

    def _tell_desk(self, now: float) -> None:
        if self._status.due(now):
            self.desk.tell([], self._collect_status(now), self._stand(now))
            self.resume_file.keep(self.automation.current_look(self.switcher.playing), now)
        if self.output is not None and now - self._previewed >= PREVIEW:
            self._previewed = now
            self.desk.show(self.output, now)

    def _stand(self, now: float) -> Mapping[str, ParameterState]:
        """Every parameter: where it was set to, what it is at this moment, and by whom."""
        moved = self.automation.values
        begun = begun_by(self.show, self._adopted)
        return parameter_states(self.parameters, moved, self.switcher.lay_over(moved), begun, self.show.modulators)

    def _collect_status(self, now: float) -> Mapping[str, Value]:
        change, engine = self.transition, self.transition.leading.engines[0]
        rendered, age = change.picture(now)
        return self._status.collect(now, {
            "show": self.show.name,
            "recipe": engine.recipe.name,
            "size": "{}x{}".format(*engine.recipe.size),
            "change": change.describe(),
            **self.automation.status(),
            "moved": last_move(self.parameters),
            "governor": self.switcher.describe(),
            "error": change.error,
            "engine": engine.state,
            "engine_pid": engine.pid,
            "desk_pid": self.desk.pid,
            "alarm": "; ".join(e.alarm for e in change.leading.engines if e.alarm),
            "source": f"{self.source.label}: {self.source.state}" if self.source else "none",
            "sinks": "; ".join(f"{sink.label}: {sink.state}" for sink in self.sinks) or "none",
            "missed": self._ticker.skipped,
            "failsafe": self.failsafe.active(rendered is not None, age),
            **({"guide": f"{self.guide.label}: {self.guide.state}"} if self.guide else {}),
            "refused": sum(n for path, n in self.desk.counts.items() if path.endswith(_REFUSALS)),
        })

    def _pump(self) -> None:
        for end in self._pumped:
            end.pump()

    def _shout(self, what: str) -> None:
        count = self.metrics.count("tick/failed")
        if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a fault in every tick must not fill the log
            log.exception("%s (%d times)", what, count)


_COMMANDS: Mapping[str, Callable[[Stage, CommandRequest], list[Change]]] = {
    "panic": Stage._reset,
    "recipe": Stage._change_recipe,
    "size": Stage._change_size,
}
