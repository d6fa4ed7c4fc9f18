"""Automation: what moves parameters without a hand on them: cues, modulation, and the tempo they go by.

Order of authority: base value, then a cue's fade, then modulation. The hand on a fader ends a fade of that parameter;
modulation goes on around wherever the value stands.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.board import Call, Change
from lcm_daemon.cues import Cue, CueList
from lcm_daemon.modulation import Modulation, Modulator, table_of_modulators
from lcm_daemon.parameters import Parameter, Parameters, Table, Value, Values, table_of
from lcm_daemon.tempo import BEATS, FASTEST, SLOWEST, Tap, Tempo

log = logging.getLogger(__name__)

OWN: Table = table_of([
    Parameter("bpm", "float", 120.0, "Tempo: beats a minute.", SLOWEST, FASTEST),
    Parameter("quantise", "choice", "off", "Cues begin at once, on the next beat or on the next bar.",
              choices=("off", "beat", "bar")),
])
_GRID: Mapping[str, float] = {"beat": 1.0, "bar": float(BEATS)}
RECORDED = ".cues.yaml"  # of the side file, in place of the show's own suffix


class Automation:
    """The cues and modulators of a running show.

    change_recipe: called with the name of the recipe that a cue changes to.   file: the show's; recorded cues are kept
    beside it. Without one, recording is for this run alone.
    """

    def __init__(self, cues: Sequence[Cue], modulators: Sequence[Modulator], parameters: Parameters,
                 change_recipe: Callable[[str], None], file: Path | None = None) -> None:
        self.cues, self.modulation, self.tempo = CueList(cues), Modulation(modulators), Tempo()
        self.table: Table = {**OWN, **table_of_modulators(modulators)}
        self._parameters, self._change_recipe = parameters, change_recipe
        self._file = file and file.with_suffix(RECORDED)
        self._tap = Tap()
        self._waiting: tuple[float, Call] | None = None  # a quantised call, and when it is due
        for cue in _read_recorded(self._file):
            self.cues.record(cue)

    def status(self) -> dict[str, Value]:
        """For the status: the cue that stands, the one that is about to begin, and the names of all, one a line."""
        waiting = self._waiting[1].name if self._waiting else ""
        return {"cue": self.cues.current.name if self.cues.current else "", "next_cue": self.cues.pending or waiting,
                "cues": "\n".join(cue.name for cue in self.cues.cues)}

    def obey(self, call: Call, now: float) -> list[Change]:
        """Carry out one of COMMANDS; GO, BACK and GOTO wait for the beat where the show says so."""
        grid = _GRID.get(str(self._parameters.targets()["quantise"]))
        if grid and call.name in ("cue/go", "cue/back", "cue/goto"):
            self._waiting = self.tempo.next(grid, now), call
            return []
        return COMMANDS[call.name](self, call, now)

    def step(self, now: float, clock: str) -> list[Change]:
        """Begin what is due. clock: the wall clock's "21:30"."""
        bpm = float(self._parameters.targets()["bpm"])
        if bpm != self.tempo.bpm:
            self.tempo = self.tempo.at(bpm, now)
        if self._waiting and now >= self._waiting[0]:
            call, self._waiting = self._waiting[1], None
            COMMANDS[call.name](self, call, now)
        cue = self.cues.step(now, clock)
        return self._begin(cue, now) if cue else []

    def apply(self, values: Values, now: float) -> dict[str, Any]:
        """The values with modulation on top."""
        return self.modulation.apply(values, self._parameters.table, self.tempo, now)

    def _begin(self, cue: Cue, now: float) -> list[Change]:
        if cue.recipe:
            self._change_recipe(cue.recipe)
        fade, origin = self._parameters.fade, f"cue/{cue.name}"
        return [Change(name, fade(name, value, now, cue.fade, cue.curve, origin), origin)
                for name, value in cue.values.items() if name in self._parameters.table]

    def _go(self, call: Call, now: float) -> list[Change]:
        self.cues.go(now)
        return []

    def _back(self, call: Call, now: float) -> list[Change]:
        self.cues.back(now)
        return []

    def _goto(self, call: Call, now: float) -> list[Change]:
        if self.cues.goto(str(call.arguments[0]), now) is None:
            log.warning("%s: there is no cue %r", call.origin, call.arguments[0])
        return []

    def _release(self, call: Call, now: float) -> list[Change]:
        self.cues.release()
        return []

    def _record(self, call: Call, now: float) -> list[Change]:
        """Keep the present look, as far as it differs from where the show starts."""
        start = self._parameters.start
        values = {name: value for name, value in self._parameters.targets().items() if value != start.get(name)}
        self.cues.record(Cue(str(call.arguments[0]), values, fade=1.0))
        if self._file:
            _write_recorded(self._file, self.cues.cues)
        return []

    def _beat(self, call: Call, now: float) -> list[Change]:
        self.tempo = self._tap.tap(self.tempo, now)
        bpm = self._parameters.set("bpm", self.tempo.bpm, now, call.origin)
        self.tempo = replace(self.tempo, bpm=float(bpm))
        return [Change("bpm", bpm, call.origin)]


COMMANDS: Mapping[str, Callable[[Automation, Call, float], list[Change]]] = {
    "cue/go": Automation._go,
    "cue/back": Automation._back,
    "cue/goto": Automation._goto,
    "cue/release": Automation._release,
    "cue/record": Automation._record,
    "tap": Automation._beat,
}


def _read_recorded(file: Path | None) -> list[Cue]:
    """What was recorded before; a damaged side file is said once and left where it is."""
    if file is None or not file.exists():
        return []
    try:
        return [Cue(**entry) for entry in yaml.safe_load(file.read_text("utf-8")) or []]
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        log.warning("%s: recorded cues cannot be read: %s", file, str(error).splitlines()[0])
        return []


def _write_recorded(file: Path, cues: Sequence[Cue]) -> None:
    """All of it at once, or nothing."""
    part = file.with_name(f"{file.name}.new")
    try:
        rows = [_as_mapping(cue) for cue in cues]
        part.write_text(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True), "utf-8")
        os.replace(part, file)
    except OSError as error:
        log.warning("%s: recorded cues cannot be kept: %s", file, error.strerror)


def _as_mapping(cue: Cue) -> dict[str, Any]:
    plain = Cue("")
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(cue).items()
            if name == "name" or value != getattr(plain, name)}
