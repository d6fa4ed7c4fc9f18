"""Stage: assembles a show and owns the tick. Sources in, engine and failsafe, sinks out; controllers through the desk.

    source ─► newest frame ─► engine (another process) ─► newest result ─► failsafe ─► every sink, once a tick
                  ▲                 values of this moment travel along
                 desk (another process): requests of OSC, MIDI and the page

One thread does all of this. It waits for whichever comes first: a message of a child, a new input frame, or the next
tick. Nothing that it calls may block.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Mapping

from lcm_daemon.audience.audience import audience_of
from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.clock import Clock, MonotonicClock, Ticker
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.thread_priority import TICK, end_keeping_time, keep_time, prepare_timing
from lcm_daemon.desk.desk_supervisor import DeskSupervisor
from lcm_daemon.processes.pipes import wait_for_any
from lcm_daemon.processes.prestarted import Prestarted
from lcm_daemon.recipes.prepared import Prepared
from lcm_daemon.recipes.state import ChangeEnd, Outcome, RecipeState, RecipeVariant
from lcm_daemon.render.feeder import Feeder
from lcm_daemon.render.governor import Governor
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.render.silence import InputSilence
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.alarms import Alarms
from lcm_daemon.stage.attendants import attendants
from lcm_daemon.stage.choices import Choices
from lcm_daemon.stage.desk_config import desk_config
from lcm_daemon.stage.desk_reports import DeskReports
from lcm_daemon.stage.dispatch import Dispatch
from lcm_daemon.stage.engines import Engines
from lcm_daemon.stage.guard import Guard
from lcm_daemon.stage.handover import Handover, leave
from lcm_daemon.stage.inputs import Inputs
from lcm_daemon.stage.output_picture import OutputPicture
from lcm_daemon.stage.outputs import Outputs
from lcm_daemon.stage.prompt_picture import PromptPicture
from lcm_daemon.stage.recipe_fetch import RecipeFetch
from lcm_daemon.stage.recipe_shelf import RecipeShelf
from lcm_daemon.stage.request_turns import RequestTurns
from lcm_daemon.stage.resume_file import ResumeFile
from lcm_daemon.stage.show_changes import show_changes
from lcm_daemon.stage.show_file import ShowFile
from lcm_daemon.stage.status_report import StatusReport
from lcm_daemon.stage.systemd_notify import SystemdNotifier
from lcm_daemon.stage.wakeup import WakeupPipe
from lcm_daemon.transports.runner import Runner

log = logging.getLogger(__name__)

MAX_LATENCY = 2.0  # seconds that a quantised cue starts before its beat at most, if the show says nothing
STOP_SECONDS = 1.0  # how long each thread and process may take to end


class Stage:
    """A running show.

    Args:
        show: The show.
        clock: Time; tests inject their own.
        resume_file: Where the state is kept that a run restores after a power cut; None keeps nothing.
        on_result: Called with every result of the leading engine and the time at which it arrived.
        prestarted: The process of the first desk, if it was started already.
        left: What the show before has left; None at the start of the daemon.
        show_file: The show's file, which controllers may save and reload.
    """

    def __init__(
        self, show: Show, clock: Clock | None = None, resume_file: ResumeFile | None = None,
        on_result: Callable[[Frame, float], None] = lambda frame, now: None, prestarted: Prestarted | None = None,
        left: Handover | None = None, show_file: ShowFile | None = None,
    ) -> None:
        self.show, self.on_result = show, on_result
        self._left = before = left or Handover()
        self.leaves: Handover | None = None  # what this show has left to the next one
        self.clock = clock or MonotonicClock()
        self.metrics = before.metrics
        self.resume_file = resume_file or ResumeFile()
        look, recipes = before.look if left else self.resume_file.restore(), show.catalogue()
        recipe = look.recipe_to_start(recipes, show.recipe) if look else show.recipe
        prepared = Prepared.read()
        self.recipes = RecipeState(before.variant(recipe, show) or prepared.form_of(RecipeVariant(recipe)))
        self.parameters = Parameters(show.table(recipe), show.start_values(recipe), show.glides)
        self.engines = Engines(show, self.recipes, self.metrics, before)
        self.transition = self.engines.transition
        governor = Governor(show.target_fps, self.metrics) if show.target_fps else None
        self.switcher = RecipeSwitcher(recipes, self.transition, governor, self.metrics, prepared)
        self.inputs = Inputs(show, self.metrics, self.on_input, look)
        self.source, self.guide = self.inputs.source, self.inputs.guide
        self.outputs = Outputs(show, self.metrics, before)
        self.shelf = RecipeShelf(recipes, self.metrics)
        self.fetch = RecipeFetch(self.metrics, lambda name: self.shelf.look([name]))
        self.prompt_picture = PromptPicture(self.switcher, self.metrics)
        self.audience = audience_of(show, self.parameters, self.transition, self.metrics)
        self.audience.kept = before.audience
        self._choices = Choices(
            show, self.switcher, self.inputs, self.outputs, self.shelf, self.fetch, self.prompt_picture, self.audience,
            self.engines)
        self.automation = Automation(
            show.cues, show.modulators, self.parameters, self._change_by_cue, show.companion_file, self.metrics,
            self.inputs, show.cue_loop, self._lookahead, lambda: self.picture.undimmed)
        self.automation.recipe = recipe.name
        if look:
            self.automation.restore(look, self.clock.now())
        self.recipes.on_playing.append(self._on_playing)
        self.recipes.on_end.append(self._on_change_end)
        config = desk_config(show, self.parameters, recipes, self.automation.editor.folder)
        self.desk = DeskSupervisor(config, show.size, self.metrics, prestarted)
        self.desk.take_over(before.kept, before.pop_desk())
        self.show_file = show_file or ShowFile(show, metrics=self.metrics)
        self.show_file.changes = lambda: show_changes(
            show, self.recipes.playing.recipe, self.switcher, self.parameters, self.automation.bank,
            self.dispatch.prompts, self.inputs)
        self._init_output(before)

    def _init_output(self, before: Handover) -> None:
        """Set what the tick needs. before: what the show before has left."""
        show = self.show
        self.picture = OutputPicture(show, self.transition, self.audience, before.picture(show.size))
        self.feeder = Feeder(
            self.transition, self.parameters, Frame(solid(show.size), 0, self.clock.now()), self.audience.turns,
            self.audience.inputs)
        self.values: Mapping[str, Value | Blend] = self.automation.evaluate(self.clock.now())
        self.output: Frame | None = None
        self.ticker = Ticker(show.fps, self.clock)  # replaced when the show starts
        self.stopping = self._keeps_look = False
        self.dispatch = Dispatch(
            show, self.parameters, self.automation, self.switcher, self.inputs, self.outputs, self.shelf, self.fetch,
            self.show_file, self.prompt_picture, self.audience, self.engines)
        self._report = StatusReport(
            show, self.metrics, self.parameters, self.automation, self.switcher, self.desk,
            self.picture.failsafe)
        self._reports = DeskReports(
            self.desk, self.parameters, self.automation, self.dispatch, self._choices, self.show_file, self._report,
            (self.switcher, self.inputs, self.outputs, self.shelf, self.fetch, self.prompt_picture, self.audience,
             self.engines))
        self.guard = Guard(self.metrics, self.clock.now)
        self._wakeup, self._notifier = WakeupPipe(), SystemdNotifier()
        self._requests = RequestTurns(self.desk, self.dispatch.execute, lambda: self._wakeup.wake())
        self._silence = InputSilence()
        self.ticks, self.alarms = before.ticks, Alarms()
        self._attendants = attendants(self)

    def _runners(self) -> list[Runner]:
        return [*self.inputs.runners(), *self.outputs.sinks]

    @property
    def loading(self) -> str:
        """What the first engine is doing until it can render: "loading sd-turbo: reading the UNet"; "" after that.

        May be read from any thread.
        """
        return self.engines.loading

    def describe(self) -> str:
        """The opening screen, without the optional sinks that are not installed."""
        lines = self.show.describe([sink.label for sink in self.outputs.sinks]), self.audience.describe()
        return "\n".join(filter(None, lines))

    # --- life ---

    def run(self, seconds: float | None = None, on_open: Callable[[], None] = lambda: None) -> None:
        """Play until `stop` is called, or for `seconds`.

        Args:
            on_open: Called once, when the desk listens and the sources and sinks are being opened.

        Raises:
            LcmDaemonError: The show cannot be opened.
        """
        prepare_timing(self.show.unattended.real_time)
        try:
            self._open()
            self._left.end_hold()
            on_open()
            self._notifier.ready()
            self.ticker = Ticker(self.show.fps, self.clock)
            end = None if seconds is None else self.clock.now() + seconds
            keep_time(TICK)
            while not self._ends(end):
                self._serve_until(self.ticker.due)
                self.metrics.time("tick/late", self.ticker.advance())
                self._tick()
            following = self.show_file.next
            if following is None:
                self._notifier.stopping()
            self.resume_file.end(self._keeps_look if following is None else following.show.file == self.show.file)
        finally:
            end_keeping_time()
            self.leaves = leave(self, self.show_file.next, self._left)
            self._close()

    def _ends(self, end: float | None) -> bool:
        """Whether the show ends, at `end` (monotonic seconds) or because something else is to play."""
        return self.stopping or self.show_file.next is not None or (end is not None and self.clock.now() >= end)

    def stop(self, keeps_look: bool = False) -> None:
        """End the show at the next tick; a signal handler may call it. keeps_look: The next run continues with it."""
        self.stopping, self._keeps_look = True, keeps_look
        self._wakeup.wake()

    def kill(self) -> None:
        """Kill every child process at once."""
        self.transition.stop(0.0)
        self.desk.stop(0.0)
        self.audience.stop(0.0)

    def _open(self) -> None:
        now = self.clock.now()
        self._left.close(STOP_SECONDS)  # what this show does not use
        self.shelf.look()  # done long before the desk listens
        self.desk.begin(self.parameters.targets(), now)
        self.engines.start(now)  # they import while the desk starts
        self.audience.begin(now)
        self.desk.wait_until_open(now, lambda: self.stopping)
        self.audience.wait_until_open(now, lambda: self.stopping)
        self.shelf.step()
        for runner in self._runners():
            runner.start()
        self.picture.slate.start(self.picture.failsafe.show_slate)
        self.automation.editor.watch()
        self.resume_file.on_open(now)
        if gc.isenabled():  # not at the start of the daemon
            gc.collect()
        gc.freeze()  # what exists now stays: later collections need not visit it
        gc.enable()

    def _close(self) -> None:
        self.picture.slate.stop()
        for runner in self._runners():
            runner.stop()
        self.transition.stop(STOP_SECONDS)
        self.desk.stop(STOP_SECONDS)
        self.audience.stop(STOP_SECONDS)
        for runner in self._runners():
            if not runner.join(STOP_SECONDS):
                log.warning("%s: did not end within %g s; the daemon ends without it", runner.label, STOP_SECONDS)
        self.fetch.stop()
        self.automation.close()
        self.dispatch.close()
        self.show_file.close()
        self.resume_file.close()
        for attendant in self._attendants:
            attendant.stop()
        self._wakeup.close()

    # --- between two ticks ---

    def _serve_until(self, due: float) -> None:
        """Handle messages and input until the tick is due."""
        while True:
            self._serve()
            now = self.clock.now()
            left = due - now
            if left <= 0 or self.stopping:
                return
            pause = min(left, self.transition.due(now) - now)
            if pause < 0.0015:  # waiting on pipes is only good to the millisecond; sleep is not
                self.clock.sleep(pause)
                if pause == left:
                    return
                continue
            waitables = [self._wakeup.reader, *self.desk.waitables(), *self.transition.waitables(),
                         *self.audience.waitables()]
            with contextlib.suppress(InterruptedError):  # Ctrl-C on Windows: its handler has run
                wait_for_any(waitables, pause - 0.001)

    def _serve(self) -> None:
        """Handle everything that has arrived, and send the engines what they accept."""
        now = self.clock.now()
        self._wakeup.clear()
        self.guard.run("serving the controllers", self._serve_desk, now)
        self.guard.run("automation", self._update_automation, now)
        self.guard.run("serving the engines", self._serve_engines, now)
        self.guard.run("feeding the engines", self._feed)

    def _serve_desk(self, now: float) -> None:
        self._requests.serve(self.parameters.targets(), now)

    def _update_automation(self, now: float) -> None:
        moved = self.automation.update(now, time.time(), self.desk.kept.get("tempo"), self.desk.kept.get("timecode"))
        self.dispatch.observe_automation(moved, now)
        self._reports.tell(moved, now)

    def _serve_engines(self, now: float) -> None:
        starved = self.feeder.is_starved(self.source, self.values)
        result = self.transition.step(now, starved)
        self.audience.step(now)
        if self.recipes.calls:
            self.recipes.announce()
        if result is not None:
            self.metrics.time("latency", now - result.time)
            self.on_result(result, now)
        self.switcher.govern(self.parameters.targets(), now)
        self.switcher.upgrade(now, lambda: self._is_silent(now))

    def _feed(self) -> None:
        values = self.switcher.govern_values(self.automation.values)
        self.feeder.feed(self.source, self.guide, values, self.ticks, self.clock.now())

    def _is_silent(self, now: float) -> bool:
        """Whether the input shows nothing. In mode `text` the output needs no input and is never silent."""
        if self.values["mode"] == "text":
            self._silence.reset()
            return False
        return self._silence.is_silent(self.source.newest, now)

    def _lookahead(self) -> float:
        """Seconds by which a cue starts before its beat: what the show says, or what a picture takes at present."""
        if self.show.lookahead is not None:
            return self.show.lookahead
        return min(self.metrics.timing("latency") + 0.5 / self.show.fps, MAX_LATENCY)

    def on_input(self) -> None:
        """A new input frame has arrived. Called on the source's thread."""
        if self.feeder.waiting:
            self._wakeup.wake()

    def _on_playing(self, variant: RecipeVariant) -> None:
        """Another recipe begins to show: use its parameters. Values that were never set become the recipe's own."""
        now, before, values = self.clock.now(), self.parameters.start, self.parameters.targets()
        self.parameters.start = self.show.start_values(variant.recipe)
        self.parameters.replace_table(self.automation.bank.complete(self.show.table(variant.recipe)))
        for name, value in self.parameters.start.items():
            if name in values and values[name] == before[name] != value and self.parameters.is_untouched(name):
                self.parameters.follow_recipe(name, now)
        self.audience.recipe_started(now)
        self.desk.replace_table(self.parameters.shown())
        self.desk.tell(self.automation.recipe_started(variant.name, now))

    def _change_by_cue(self, name: str) -> None:
        self.shelf.ask_by_cue(name, self.switcher.change_by_cue, self.automation.recipe_change_ended)

    def _on_change_end(self, end: ChangeEnd) -> None:
        self.dispatch.on_change_end(end)
        if end.variant.name != end.wanted.name:  # not if only the size changes while the recipe loads
            self.automation.recipe_change_ended(end.variant.name, end.outcome is Outcome.DONE)

    # --- the tick ---

    def _tick(self) -> None:
        """Choose the output frame and hand it to every sink. A part that fails leaves the others alone."""
        now = self.clock.now()
        self.guard.run("evaluating the values", self._evaluate, now)
        self.guard.run("choosing the picture", self._choose_picture, now)
        self.guard.run("the output", self._post, now)
        for attendant in self._attendants:
            self.guard.run(attendant.name, attendant.step, now)
        self.guard.run("keeping the state", self._keep_state, now)
        self.guard.run("reporting", self._report_to_desk, now)
        if self.guard.was_whole():
            self._notifier.alive(now)

    def _evaluate(self, now: float) -> None:
        self.values = self.automation.evaluate(now)

    def _choose_picture(self, now: float) -> None:
        self.output = Frame(self.picture.choose(self.source, self.values, now), self.ticks, now)

    def _post(self, now: float) -> None:
        """Show the output; the one before if none could be chosen."""
        self.ticks += 1
        if self.output is not None:
            self.outputs.post(self.output)
        for endpoint in {type(runner.endpoint) for runner in self._runners()}:
            endpoint.pump()

    def _keep_state(self, now: float) -> None:
        self.resume_file.write(self.automation.current_look(self.recipes.playing.recipe), now)

    def _report_to_desk(self, now: float) -> None:
        self._reports.tell_status(now, lambda: self._status(now))
        if self.output is not None:
            self._reports.show(self.output, now, self.source.newest)

    def _status(self, now: float) -> Mapping[str, Value]:
        more = {name: value for one in self._attendants for name, value in one.status().items()}
        return self._report.status(
            now, self.inputs, self.outputs.sinks, self.ticker.skipped, self.picture.shown_age, more)
