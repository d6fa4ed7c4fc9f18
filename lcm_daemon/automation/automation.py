"""Automation moves parameters without a controller: cues, modulation, and the tempo that both can follow.

Order of precedence: the base value, then the fade of a cue or the crossfader, then modulation. A controller that moves
a parameter ends its fade; modulation continues around the new value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lcm_daemon.automation.crossfade import POSITION
from lcm_daemon.automation.cue_editor import CueEditor
from lcm_daemon.automation.cue_list import Cue, CueList
from lcm_daemon.automation.cue_messages import CueMessage
from lcm_daemon.automation.cue_player import CUES, CuePlayer
from lcm_daemon.automation.look import Look
from lcm_daemon.automation.modulation import Modulator
from lcm_daemon.automation.modulator_bank import ModulatorBank
from lcm_daemon.automation.quantize import GRIDS, QuantizedRequests
from lcm_daemon.automation.timecode_schedule import timecode_status
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Parameter, Refused, Table, Value, Values, table_of
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.core.tempo import MAX_BPM, MIN_BPM, ExternalTempo, Tap, Tempo
from lcm_daemon.core.timecode import TimecodeReport
from lcm_daemon.recipes.recipe import Recipe

AUTOMATION_PARAMETERS: Table = table_of([
    Parameter("bpm", "float", 120.0, "Tempo: beats a minute.", MIN_BPM, MAX_BPM, "bpm", look=False,
              group="Tempo"),
    Parameter("quantise", "choice", "off", "Cues begin at once, or on the next beat, bar, 2 bars or 4 bars.",
              choices=tuple(GRIDS), look=False, group="Tempo"),
    Parameter(POSITION, "float", 0.0, "Fade by hand from the current look to the next cue. At its other end the cue is "
              "current, and the fader goes the other way.", 0.0, 1.0, look=False, group="Looks"),
])
BEAT_CORRECTION = 0.1  # beats that an external clock may move the position back without counting as a jump
CUE_KEY = "cue"  # queue key of the quantized cue request; a quantized parameter has its own name as the key


@dataclass(frozen=True)
class _RecipeValues:
    """Values of a cue for parameters that only its recipe has. They wait until that recipe starts to play."""

    recipe: str
    values: dict[str, tuple[Value, str]]  # value and origin by parameter name


class Sources(Protocol):
    """The source and the guide of a running show; `kind` is "source" or "guide"."""

    def change(self, kind: str, name: str, origin: str, now: float) -> None: ...

    def names(self) -> dict[str, str]:
        """Name by kind, for a recorded cue and the resume file; none where the show has only its own."""


class Automation:
    """The cues, the modulators and the tempo of a running show.

    The stage calls `execute` for each command, `update` on every turn of its loop and `evaluate` once a tick.

    Args:
        cues: the cues of the show file.
        modulators: the modulators of the show file.
        parameters: the live values that cues fade and modulators move around.
        change_recipe: called with the name of the recipe that a starting cue names.
        file: the show file; recorded cues are stored next to it. Without it, they last for this run only.
        metrics: counts refused requests.
        sources: changes the source and the guide for a cue, and names those that play.
        loop: whether GO after the last cue starts the first one.
        lookahead: returns the seconds from a change to its picture; requests that wait for a beat start earlier by it.
        picture: returns the present output for the thumbnail of a recorded cue, uint8 (H, W, 4), or None.
    """

    def __init__(
        self, cues: Sequence[Cue], modulators: Sequence[Modulator], parameters: Parameters,
        change_recipe: Callable[[str], None], file: Path | None = None, metrics: Metrics | None = None,
        sources: Sources | None = None, loop: bool = False, lookahead: Callable[[], float] = lambda: 0.0,
        picture: Callable[[], Pixels | None] = lambda: None,
    ) -> None:
        self.cue_list, self.tempo = CueList(cues, loop), Tempo()
        self.bank = ModulatorBank(modulators, parameters)
        self.modulation = self.bank.modulation
        self.table: Table = {**AUTOMATION_PARAMETERS, **self.bank.table()}
        self.recipe = ""  # name of the recipe whose parameters are live
        self.hours: Mapping[str, Any] = {}  # what the opening hours keep over a restart
        self._parameters, self._change_recipe, self._sources = parameters, change_recipe, sources
        self.refusals = Refusals(metrics or Metrics())
        self._tap = Tap()
        self._bpm = self.tempo.bpm  # the last known value of the parameter `bpm`
        self._beat = 0.0  # the position in beats that the waves have reached
        self._external_tempo: ExternalTempo | None = None  # the last report of an external clock
        self._timecode: TimecodeReport | None = None
        self._tempo_source = "bpm"  # what the tempo comes from: the parameter, taps, or an external clock
        self._quantized, self._lookahead = QuantizedRequests(), lookahead
        self._player = CuePlayer(self.cue_list, parameters, self._start_cue, self.refusals)
        self._recipe_values: _RecipeValues | None = None
        self._tick_time = 0.0
        self._values: Values = {}
        self._revision = -1  # revision of the parameters that `_values` holds
        self.editor = CueEditor(self.cue_list, file, self.refusals, self._present_look, picture)

    # --- what the stage calls ---

    def execute(self, request: CommandRequest, now: float) -> list[Change]:
        """Execute a command of the cue list or the tempo. Return the parameters that it moved.

        GO, BACK and GOTO wait for the next beat or bar if `quantise` says so; `next` always waits.
        """
        grid = GRIDS[str(self._parameters.targets()["quantise"])]
        match request.name:
            case "cue/goto" | "cue/load" if not self._player.is_known(request):
                pass
            case "cue/go" | "cue/back" | "cue/goto" if grid:
                self._quantized.put(CUE_KEY, request, grid, self.tempo, now, self._lookahead())
            case "cue/go" | "cue/back" | "cue/goto":
                self._player.request(request, now)
            case "cue/load":
                self.cue_list.load(str(request.arguments[0]))
            case "cue/pause":
                self._player.pause(now)
            case "cue/resume":
                self._player.resume(now)
            case "cue/stop":
                self._quantized.remove(CUE_KEY)
                return self._player.stop(request.name, now)
            case "cue/release":
                self._quantized.remove(CUE_KEY)
                self._player.release(now)
            case ("cue/record" | "cue/overwrite" | "cue/rename" | "cue/fade" | "cue/follow" | "cue/move"
                  | "cue/duplicate" | "cue/delete" | "cue/undo"):
                self.editor.execute(request, now)
                self._player.forget_missing()
            case "modulator/add" | "modulator/remove":
                return self._change_modulators(request, now)
            case "next":
                self._queue_value(request, grid or GRIDS["bar"], now)
            case "tap":
                return self._tap_tempo(request, now)
            case _:
                self.refusals.add("command/unhandled", request.origin, f"no handler for {request.name!r:.80}")
        return []

    def update(self, now: float, wall: float | None, external_tempo: ExternalTempo | None = None,
               timecode: TimecodeReport | None = None) -> list[Change]:
        """Start everything that is due. Return the parameters that moved.

        Args:
            now: monotonic seconds.
            wall: the wall clock in seconds since 1970, for cues that start at a time of day; None starts none.
            external_tempo: the last report of an external clock, or None.
            timecode: the last report of a timecode, for cues that start at one, or None.
        """
        self._timecode = timecode
        if self.editor.update():
            self._player.forget_missing()
        changes = self._follow_tempo(external_tempo, now)
        lookahead = self._lookahead() if self._quantized else 0.0
        for request in self._quantized.pop_due(self.tempo, now, lookahead):
            if request.name == "next":
                changes += self._set_value(request, now)
            elif request.name != "cue/goto" or self._player.is_known(request):  # it may have been deleted since
                self._player.request(request, now, lookahead)
        return changes + self._player.update(now, wall, timecode)

    def start_requested(self, now: float) -> list[Change]:
        """Start a cue that was requested and waits for nothing. Return the parameters that moved."""
        return self._player.update(now, None)

    def evaluate(self, now: float) -> Values:
        """Advance the modulators to `now` and return all values, modulation included. Call this once a tick."""
        self._tick_time = now
        beat = self.tempo.beat_at(now)
        if not self._beat - BEAT_CORRECTION < beat < self._beat:  # a small correction never moves a wave backwards
            self._beat = beat
        values = self._parameters.evaluate(now)
        self.modulation.advance(values, self._beat, now)
        self._values = self.modulation.add_to(values, self._parameters.table)
        self._revision = self._parameters.revision
        return self._values

    @property
    def values(self) -> Values:
        """All values at the time of the last tick, modulation included.

        Fades and waves move only from tick to tick. A value that was set since the tick is the new one here.
        """
        if self._revision != self._parameters.revision:
            values = self._parameters.evaluate(self._tick_time)
            self._values = self.modulation.add_to(values, self._parameters.table)
            self._revision = self._parameters.revision
        return self._values

    def panic(self) -> None:
        """Cancel every cue and value that waits, and show no cue as current.

        The position in the cue list stays: the next GO starts the cue after the last one.
        """
        self._quantized.clear()
        self._player.panic()
        self._recipe_values = None

    def pop_messages(self, now: float) -> list[CueMessage]:
        """Return the messages of cues that are due, once each."""
        return self._player.pop_messages(now)

    def recipe_started(self, name: str, now: float) -> list[Change]:
        """Apply the values that a cue has set for parameters of this recipe. Return the parameters that moved.

        Call this when the parameters of the recipe `name` have become live. Values for another recipe keep waiting:
        the end of its change drops them, see `recipe_change_ended`.
        """
        self.recipe = name
        waiting = self._recipe_values
        if waiting is None or waiting.recipe != name:
            return []
        self._recipe_values = None
        changes = [self._fade(parameter, value, origin, now)
                   for parameter, (value, origin) in waiting.values.items() if parameter in self._parameters.table]
        return [change for change in changes if change]

    def recipe_change_ended(self, name: str, done: bool) -> None:
        """Drop the values that a cue has set for parameters of the recipe `name`, unless the change was done.

        Call this when a change to the recipe fails, is given up, or is superseded by a change to another recipe.
        """
        if not done and self._recipe_values and self._recipe_values.recipe == name:
            self._recipe_values = None

    def status(self, now: float) -> dict[str, Value]:
        """Return the status entries.

        cue: the current cue.
        next_cue: the cue that is about to start: it waits for its delay or a beat, or the crossfader goes to it.
        cues: all names, one a line.
        cue_file: why recorded cues are not saved, or the mistake in their file; empty if all is well.
        tempo: what the tempo comes from: "bpm", the parameter; "tap"; or the origin of an external clock.
        timecode: where the timecode is, once one has arrived.
        """
        waiting = self._quantized.peek(CUE_KEY)
        next_cue = self.cue_list.pending or (self._player.requested_name(waiting) if waiting else "")
        return {"cue": self.cue_list.current.name if self.cue_list.current else "",
                "next_cue": next_cue or self._player.crossfader.cue,
                **self._player.status(now), "tempo": self._tempo_source, **timecode_status(self._timecode, now),
                "cues": "\n".join(cue.name for cue in self.cue_list.cues),
                "cue_file": self.editor.trouble}

    def current_look(self, recipe: Recipe) -> Look:
        """Return what must come back after a power cut.

        That is every value that was set, except those that a stream moves all the time.
        """
        cue, table = self.cue_list.current.name if self.cue_list.current else "", self._parameters.table
        values = {name: value for name, value in self._parameters.touched().items()
                  if table[name].look or name in AUTOMATION_PARAMETERS}
        scheduled = max(self.cue_list.schedule.done, 0.0)
        return Look(
            recipe.name, recipe.size, cue, values, scheduled, modulators=self.bank.saved(), hours=self.hours,
            **self._source_names())

    def restore(self, look: Look, now: float) -> None:
        """Apply the look of an earlier run at once. Values that do not fit the show any more are skipped."""
        self.bank.restore(look.modulators)
        self.hours = look.hours
        for name, value in look.values.items():
            with contextlib.suppress(KeyError, Refused):
                self._parameters.fade(name, value, now, 0.0, origin="resume")
        self._player.crossfader.rest(now)
        self.cue_list.restore(look.cue, now, look.scheduled)

    def keep_hours(self, name: str, state: Any) -> None:
        """Keep something of the opening hours over a restart. state: What JSON can express; None forgets it."""
        rest = {key: kept for key, kept in self.hours.items() if key != name}
        self.hours = rest if state is None else {**rest, name: state}

    def put_on(self, cue: Cue, now: float) -> list[Change]:
        """Start a cue that is in no list, at `now`. Return the parameters that moved. No cue is current then."""
        self.execute(CommandRequest("cue/release", f"{CUES}{cue.name}"), now)
        return self._start_cue(cue, now)

    def close(self) -> None:
        """Wait until the recorded cues are written."""
        self.editor.close()

    # --- cues ---

    def _start_cue(self, cue: Cue, now: float) -> list[Change]:
        origin, table = f"{CUES}{cue.name}", self._parameters.table
        kept = {"seed"} if self._parameters.targets().get("seed_lock") else set()
        if cue.recipe:
            self._change_recipe(cue.recipe)
            self._defer_values(cue, origin)
        for kind, name in (("source", cue.source), ("guide", cue.guide)):
            if name and self._sources is not None:
                self._sources.change(kind, name, origin, now)
        changes = [self._fade(name, value, origin, now, cue.seconds(name), cue.curve)
                   for name, value in cue.values.items() if name in table and name not in kept]
        return [change for change in changes if change]

    def _defer_values(self, cue: Cue, origin: str) -> None:
        """Keep the values for parameters that only the cue's recipe has. A newer cue of that recipe adds to them."""
        waiting = self._recipe_values
        self._recipe_values = None
        if cue.recipe != self.recipe:
            earlier = waiting.values if waiting and waiting.recipe == cue.recipe else {}
            new = {name: (value, origin) for name, value in cue.values.items() if name not in self._parameters.table}
            self._recipe_values = _RecipeValues(cue.recipe, {**earlier, **new})

    def _fade(self, name: str, value: Value, origin: str, now: float, seconds: float = 0.0,
              curve: str = "linear") -> Change | None:
        """Return None if the value is refused: values of a recorded cue are not checked before it starts."""
        try:
            return Change(name, self._parameters.fade(name, value, now, seconds, curve, origin), origin)
        except Refused as refusal:
            self.refusals.add("cue/refused", origin, str(refusal))
            return None

    def _present_look(self) -> dict[str, Any]:
        """Return the fields of a cue that holds the recipe and every value of this moment."""
        table = self._parameters.table
        values = {name: value for name, value in self._parameters.targets().items()
                  if table[name].look and table[name].recorded}
        return {"values": values, "recipe": self.recipe, **self._source_names()}

    def _source_names(self) -> dict[str, Any]:
        return self._sources.names() if self._sources is not None else {}

    def _change_modulators(self, request: CommandRequest, now: float) -> list[Change]:
        try:
            return self.bank.execute(request, now)
        except Refused as refusal:
            self.refusals.add("modulator/refused", request.origin, f"{request.name}: {refusal}")
            return []

    # --- values that wait for the beat ---

    def _queue_value(self, request: CommandRequest, grid: float, now: float) -> None:
        name = str(request.arguments[0])
        if name in self._parameters.table:
            self._quantized.put(name, request, grid, self.tempo, now, self._lookahead())
        else:
            self.refusals.add("next/unknown", request.origin, f"next: no parameter {name!r:.80}")

    def _set_value(self, request: CommandRequest, now: float) -> list[Change]:
        """Set the parameter of a `next` request. The recipe may have changed since, and the parameter be gone."""
        name, given = map(str, request.arguments)
        try:
            asked = self._parameters.table[name].coerce(given)
            value = self._parameters.move(name, asked, now, request.origin)
            if value is None:
                return []
            return [Change(name, value, request.origin if value == asked else "")]  # it does not know what was drawn
        except KeyError:
            return []
        except Refused as refusal:
            self.refusals.add("next/refused", request.origin, str(refusal))
            return []

    # --- tempo ---

    def _follow_tempo(self, external: ExternalTempo | None, now: float) -> list[Change]:
        """Take the tempo from a new report of an external clock, otherwise from the parameter `bpm` if it moved."""
        if external is not None and external != self._external_tempo:
            self._external_tempo, self.tempo, self._tempo_source = external, external.tempo, external.origin
            return self._publish_tempo(external.origin, now)
        bpm = float(self._parameters.targets()["bpm"])
        if bpm != self._bpm:
            self.tempo, self._bpm, self._tempo_source = self.tempo.at(bpm, now), bpm, "bpm"
        return []

    def _publish_tempo(self, origin: str, now: float) -> list[Change]:
        """Set the parameter `bpm` to the tempo, rounded to a tenth."""
        self._bpm = round(self.tempo.bpm, 1)
        if self._bpm == self._parameters.targets()["bpm"]:
            return []
        return [Change("bpm", self._parameters.set("bpm", self._bpm, now, origin), origin)]

    def _tap_tempo(self, request: CommandRequest, now: float) -> list[Change]:
        self.tempo = self._tap.tap(self.tempo, now)
        self._bpm = float(self._parameters.set("bpm", self.tempo.bpm, now, request.origin))
        self.tempo, self._tempo_source = replace(self.tempo, bpm=self._bpm), "tap"
        return [Change("bpm", self._bpm, request.origin)]
