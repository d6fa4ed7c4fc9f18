"""Automation: what moves parameters without a hand on them: cues, modulation, and the tempo they go by.

Order of authority: base value, then a cue's fade, then modulation. The hand on a fader ends a fade of that parameter;
modulation goes on around wherever the value stands.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lcm_daemon.automation.cue_list import Cue, CueList
from lcm_daemon.automation.cue_store import CueStore
from lcm_daemon.automation.look import Look
from lcm_daemon.automation.modulation import Modulation, Modulator, table_of_modulators
from lcm_daemon.automation.quantize import GRIDS, QuantizedRequests
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.parameters import Parameter, Refused, Table, Value, Values, table_of
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.core.tempo import MAX_BPM, MIN_BPM, ExternalTempo, Tap, Tempo
from lcm_daemon.recipes.recipe import Recipe

log = logging.getLogger(__name__)

OWN: Table = table_of([
    Parameter("bpm", "float", 120.0, "Tempo: beats a minute.", MIN_BPM, MAX_BPM, "bpm", look=False),
    Parameter("quantise", "choice", "off", "Cues begin at once, on the next beat or on the next bar.",
              choices=tuple(GRIDS), look=False),
])
LONGEST = 80  # characters of a recorded cue's name
RECORDED_FADE = 1.0  # seconds, of a cue that was recorded under a new name
CORRECTION = 0.1  # beats that an outside clock may take the music back without that being a jump
MOST = 256  # cues; beyond them none is recorded
CUE = "cue"  # the key under which a call to the cue list waits; a parameter waits under its own name
_STEPS = {"cue/go": 1, "cue/back": -1}
_WAITING = {*_STEPS, "cue/goto"}  # these begin where the show's `quantise` says


class Automation:
    """The cues and modulators of a running show.

    change_recipe: called with the name of the recipe that a cue changes to.   file: the show's; recorded cues are kept
    beside it. Without one, recording is for this run alone.   health: counts what was refused.
    """

    def __init__(self, cues: Sequence[Cue], modulators: Sequence[Modulator], parameters: Parameters,
                 change_recipe: Callable[[str], None], file: Path | None = None, metrics: Metrics | None = None) -> None:
        self.cues, self.modulation, self.tempo = CueList(cues), Modulation(modulators), Tempo()
        self.table: Table = {**OWN, **table_of_modulators(modulators)}
        self._parameters, self._change_recipe = parameters, change_recipe
        self._throttle = LogThrottle(log, metrics or Metrics())
        self._file = CueStore(file)
        self._tap = Tap()
        self._bpm = self.tempo.bpm  # what the parameter last was
        self._reached = 0.0  # where the music last was
        self._heard: ExternalTempo | None = None  # what an outside clock said last
        self._waiting = QuantizedRequests()
        self.recipe = ""  # the name of the one that plays
        self._recorded = {cue.name: cue for cue in self._file.read()}
        for cue in self._recorded.values():
            self.cues.record(cue)

    def status(self) -> dict[str, Value]:
        """For the status: the cue that stands, the one that is about to begin, and the names of all, one a line."""
        return {"cue": self.cues.current.name if self.cues.current else "",
                "next_cue": self.cues.pending or self._due_on_the_beat(),
                "cues": "\n".join(cue.name for cue in self.cues.cues)}

    def look(self, recipe: Recipe) -> Look:
        """What must come back after a power cut: what was moved, but for what a stream moves all the time."""
        cue, table = self.cues.current.name if self.cues.current else "", self._parameters.table
        values = {n: v for n, v in self._parameters.touched().items() if table[n].look or n in OWN}
        return Look(recipe.name, recipe.size, cue, values, self.cues.minute)

    def resume(self, look: Look, now: float) -> None:
        """Take up an earlier run's look, at once; what makes no sense in the show as it is now stays out."""
        for name, value in look.values.items():
            with contextlib.suppress(KeyError, Refused):
                self._parameters.fade(name, value, now, 0.0, origin="resume")
        self.cues.resume(look.cue, now, look.minute)

    def obey(self, call: CommandRequest, now: float) -> list[Change]:
        """Carry out one of COMMANDS; GO, BACK and GOTO wait for the beat where the show says so."""
        grid = GRIDS[str(self._parameters.targets()["quantise"])]
        if grid and call.name in _WAITING:
            self._waiting.put(CUE, call, grid, self.tempo, now)
            return []
        return COMMANDS[call.name](self, call, now)

    def close(self) -> None:
        """Wait until what was recorded is kept."""
        self._file.close()

    def hold(self) -> None:
        """Nothing that was about to come by itself does."""
        self._waiting.clear()
        self.cues.hold()

    def step(self, now: float, clock: str, heard: ExternalTempo | None = None) -> list[Change]:
        """Begin what is due. clock: the wall clock's "21:30".   heard: what an outside clock said last."""
        changes = self._listen(heard, now)
        for call in self._waiting.take(self.tempo, now):
            changes += _ON_THE_BEAT.get(call.name, COMMANDS[call.name])(self, call, now)
        cue = self.cues.step(now, clock)
        return changes + (self._begin(cue, now) if cue else [])

    def apply(self, values: Values, now: float) -> dict[str, Any]:
        """The values with modulation on top."""
        beat = self.tempo.beat_at(now)
        if not self._reached - CORRECTION < beat < self._reached:  # else it waits: no wave turns the same corner twice
            self._reached = beat
        return self.modulation.apply(values, self._parameters.table, self._reached, now)

    def _due_on_the_beat(self) -> str:
        """The cue that waits for the music; "" where none does."""
        call = self._waiting.look(CUE)
        if call is None:
            return ""
        return self.cues.beside(_STEPS[call.name]) if call.name in _STEPS else self.cues.called(str(call.arguments[0]))

    def _listen(self, heard: ExternalTempo | None, now: float) -> list[Change]:
        """The tempo is an outside clock's whenever that has spoken, and else that of the hand that moved `bpm`."""
        if heard is None or heard == self._heard:
            bpm = float(self._parameters.targets()["bpm"])
            self.tempo = self.tempo if bpm == self._bpm else self.tempo.at(bpm, now)
            self._bpm = bpm
            return []
        self._heard, self.tempo = heard, heard.tempo
        return self._show_tempo(heard.origin, now)

    def _show_tempo(self, origin: str, now: float) -> list[Change]:
        """The parameter follows the tempo, to a tenth."""
        self._bpm = round(self.tempo.bpm, 1)
        if self._bpm == self._parameters.targets()["bpm"]:
            return []
        return [Change("bpm", self._parameters.set("bpm", self._bpm, now, origin), origin)]

    def _begin(self, cue: Cue, now: float) -> list[Change]:
        if cue.recipe:
            self._change_recipe(cue.recipe)
            for name in cue.values.keys() - self._parameters.table.keys():
                self._parameters.set_when_added(name, cue.values[name], f"cue/{cue.name}")
        changes = [self._fade(name, cue, now) for name in cue.values if name in self._parameters.table]
        return [change for change in changes if change]

    def _fade(self, name: str, cue: Cue, now: float) -> Change | None:
        """None for a value that makes no sense: the show's are checked, those of the side file are not."""
        origin = f"cue/{cue.name}"
        try:
            value = self._parameters.fade(name, cue.values[name], now, cue.fade, cue.curve, origin)
        except Refused as refusal:
            self._throttle.warn("cue/refused", f"{origin}: {refusal}")
            return None
        return Change(name, value, origin)

    def _go(self, call: CommandRequest, now: float) -> list[Change]:
        self.cues.go(now)
        return []

    def _back(self, call: CommandRequest, now: float) -> list[Change]:
        self.cues.back(now)
        return []

    def _goto(self, call: CommandRequest, now: float) -> list[Change]:
        if self.cues.goto(str(call.arguments[0]), now) is None:
            self._throttle.warn("cue/unknown", f"{call.origin}: there is no cue {call.arguments[0]!r:.80}")
        return []

    def _release(self, call: CommandRequest, now: float) -> list[Change]:
        self._waiting.drop(CUE)
        self.cues.release()
        return []

    def _record(self, call: CommandRequest, now: float) -> list[Change]:
        """Keep the present look: its recipe and every value. Of a cue that there is, the rest stays as it was."""
        name, table = str(call.arguments[0])[:LONGEST], self._parameters.table
        if len(self.cues.cues) >= MOST and all(cue.name != name for cue in self.cues.cues):
            self._throttle.warn("cue/refused", f"{call.origin}: {name!r:.80} is not recorded: there are {MOST} cues")
            return []
        values = {name: value for name, value in self._parameters.targets().items() if table[name].look}
        before = next((cue for cue in self.cues.cues if cue.name == name), Cue(name, fade=RECORDED_FADE))
        self._recorded[name] = replace(before, values=values, recipe=self.recipe)
        self.cues.record(self._recorded[name])
        self._file.write(list(self._recorded.values()))
        return []

    def _next(self, call: CommandRequest, now: float) -> list[Change]:
        """Wait with a parameter's new value for the bar, or for the beat where the show says so."""
        name, grid = str(call.arguments[0]), GRIDS[str(self._parameters.targets()["quantise"])]
        if name in self._parameters.table:
            self._waiting.put(name, call, grid or GRIDS["bar"], self.tempo, now)
        else:
            self._throttle.warn("next/unknown", f"{call.origin}: there is no parameter {name!r:.80}")
        return []

    def _set(self, call: CommandRequest, now: float) -> list[Change]:
        """What NEXT asked for, if it makes sense by now: the recipe may have changed meanwhile."""
        name, given = map(str, call.arguments)
        try:
            value = self._parameters.set(name, given, now, call.origin)
        except KeyError:
            return []
        except Refused as refusal:
            self._throttle.warn("next/refused", f"{call.origin}: {refusal}")
            return []
        return [Change(name, value, call.origin)]

    def _beat(self, call: CommandRequest, now: float) -> list[Change]:
        self.tempo = self._tap.tap(self.tempo, now)
        self._bpm = float(self._parameters.set("bpm", self.tempo.bpm, now, call.origin))
        self.tempo = replace(self.tempo, bpm=self._bpm)
        return [Change("bpm", self._bpm, call.origin)]


COMMANDS: Mapping[str, Callable[[Automation, CommandRequest, float], list[Change]]] = {
    "cue/go": Automation._go,
    "cue/back": Automation._back,
    "cue/goto": Automation._goto,
    "cue/release": Automation._release,
    "cue/record": Automation._record,
    "tap": Automation._beat,
    "next": Automation._next,
}
_ON_THE_BEAT: Mapping[str, Callable[[Automation, CommandRequest, float], list[Change]]] = {"next": Automation._set}
