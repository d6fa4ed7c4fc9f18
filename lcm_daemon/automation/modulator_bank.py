"""ModulatorBank: the modulators of a running show. They are added, changed and removed while it plays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from lcm_daemon.automation.modulation import AUDIO, FOLLOWER, WAVES, Modulation, Modulator, table_of_modulators
from lcm_daemon.core.audio_names import BANDS, LEVEL
from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameters import Parameter, Refused, Table, Value, in_groups
from lcm_daemon.core.requests import COMMANDS, MAX_FADE, Change, CommandRequest
from lcm_daemon.core.suggestions import nearest

MAX_MODULATORS = 32
ADD, REMOVE = "modulator/add", "modulator/remove"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")  # it becomes part of addresses
_POINTS, _CYCLES = 96, 4  # of a wave's picture

WAVE_NAMES = (*WAVES, FOLLOWER, AUDIO)


class ModulatorBank:
    """Carries out the commands ADD and REMOVE.

    A modulator that the show's file does not name has depth 0 there: panic stops it without removing it.

    Args:
        own: The modulators of the show's file.
        parameters: The live values. Their table gets the parameters of each new modulator.
    """

    def __init__(self, own: Sequence[Modulator], parameters: Parameters) -> None:
        self._own = {modulator.name: modulator for modulator in own}
        self._parameters = parameters
        self.modulation = Modulation(own)
        self.revision = 0  # counts every change: controllers need the new table

    @property
    def modulators(self) -> tuple[Modulator, ...]:
        """Those that play, in the order in which they were added."""
        return self.modulation.modulators

    def table(self) -> Table:
        """The parameters of all modulators, with the show's values as their defaults."""
        return table_of_modulators([self._as_in_show(modulator) for modulator in self.modulators])

    def complete(self, table: Table) -> Table:
        """A table of parameters with those of the present modulators in place of the show's."""
        others = {name: parameter for name, parameter in table.items() if not name.startswith("mod/")}
        return in_groups({**others, **self.table()})

    def execute(self, request: CommandRequest, now: float) -> list[Change]:
        """Carry out a command; return the parameters that changed.

        Raises:
            Refused: The name, the target or the wave is not possible, or there are MAX_MODULATORS already.
        """
        given = dict(zip((argument.name for argument in COMMANDS[request.name].arguments), request.arguments,
                         strict=False))
        if request.name == REMOVE:
            self._remove(str(given["name"]))
            return []
        modulator = self._modulator(given)
        if modulator.wave not in self._waves():
            raise Refused("the wave audio needs an audio input, which the show does not have: its key `audio`")
        self._put(modulator)
        settings = {"depth": modulator.depth, "rate": modulator.rate}
        return [self._set(modulator, setting, value, request.origin, now) for setting, value in settings.items()
                if f"mod/{modulator.name}/{setting}" in self._parameters.table]

    def lists(self) -> dict[str, Rows]:
        """The lists for the page: modulators, with their settings, and waves, with their pictures."""
        return {"modulators": tuple(map(asdict, self.modulators)),
                "waves": tuple(row for row in WAVE_ROWS if row["name"] in self._waves())}

    def saved(self) -> tuple[Mapping[str, Any], ...] | None:
        """What `restore` needs in a later run; None while the modulators are those of the show's file."""
        return None if self.modulators == tuple(self._own.values()) else tuple(map(asdict, self.modulators))

    def restore(self, saved: Sequence[Mapping[str, Any]] | None) -> None:
        """Play the modulators of an earlier run. Those that do not fit the show any more are left out."""
        if saved is None:
            return
        self._replace(())
        for row in saved[:MAX_MODULATORS]:
            try:
                self._put(self._modulator(_checked(row)))
            except (Refused, KeyError):
                continue

    def _modulator(self, given: Mapping[str, Any]) -> Modulator:
        """The modulator of a command or of a saved row. What is not given stays as it is. Raises Refused."""
        name, existing = str(given["name"]), self._find(str(given["name"]))
        if _NAME.fullmatch(name) is None:
            raise Refused(f"{name!r:.80} is not a modulator's name: it has 1 to 32 letters, digits, _ and -")
        if existing is None and len(self.modulators) >= MAX_MODULATORS:
            raise Refused(f"the limit is {MAX_MODULATORS} modulators")
        made = replace(self._with_live_values(existing) if existing else Modulator(name, ""),
                       **{key: value for key, value in given.items() if key in Modulator.__dataclass_fields__})
        targets = [name for name, parameter in self._parameters.table.items()
                   if parameter.kind in ("float", "int") and not name.startswith("mod/")]
        if made.to not in targets and (existing is None or existing.to != made.to):
            raise Refused(f"no parameter {made.to!r:.80} with a number{nearest(made.to, targets)}")
        if made.wave not in WAVE_NAMES:
            raise Refused(f"no wave {made.wave!r:.80}{nearest(made.wave, self._waves())}")
        if made.band not in BANDS:
            raise Refused(f"no band {made.band!r:.80}{nearest(made.band, BANDS)}")
        return made

    def _waves(self) -> tuple[str, ...]:
        """The waves that may be chosen in this show."""
        has_audio = self.modulation.audio is not None
        return tuple(name for name in WAVE_NAMES if has_audio or name != AUDIO)

    def _find(self, name: str) -> Modulator | None:
        return next((modulator for modulator in self.modulators if modulator.name == name), None)

    def _with_live_values(self, modulator: Modulator) -> Modulator:
        live = self._parameters.targets()
        path = f"mod/{modulator.name}"
        return replace(modulator, depth=float(live.get(f"{path}/depth", modulator.depth)),
                       rate=float(live.get(f"{path}/rate", modulator.rate)))

    def _as_in_show(self, modulator: Modulator) -> Modulator:
        own = self._own.get(modulator.name)
        return replace(modulator, depth=own.depth if own else 0.0, rate=own.rate if own else modulator.rate)

    def _put(self, modulator: Modulator) -> None:
        """Add a modulator, or put it in the place of the one of its name."""
        others = {each.name: each for each in self.modulators}
        self._replace(tuple({**others, modulator.name: modulator}.values()))

    def _remove(self, name: str) -> None:
        if self._find(name) is None:
            raise Refused(f"no modulator {name!r:.80}{nearest(name, [each.name for each in self.modulators])}")
        self._replace(tuple(modulator for modulator in self.modulators if modulator.name != name))

    def _replace(self, modulators: tuple[Modulator, ...]) -> None:
        self.modulation.replace(modulators)
        self._parameters.replace_table(self.complete(self._parameters.table))
        self.revision += 1

    def _set(self, modulator: Modulator, setting: str, value: Value, origin: str, now: float) -> Change:
        name = f"mod/{modulator.name}/{setting}"
        return Change(name, self._parameters.fade(name, value, now, 0.0, origin=origin), origin)


def _checked(row: Mapping[str, Any]) -> dict[str, Value]:
    """A saved row with the types and ranges of ADD's arguments. Raises Refused and KeyError."""
    times = (Parameter(name, "float", 0.0, "", 0.0, MAX_FADE) for name in ("attack", "release"))
    row = {"band": LEVEL, **row}  # earlier versions had none
    return {argument.name: argument.coerce(row[argument.name]) for argument in (*COMMANDS[ADD].arguments, *times)}


def _cycles(wave: str) -> int:
    """Cycles that a picture shows."""
    return _CYCLES if wave in ("random", "walk") else 1


def _levels(wave: str) -> str:
    if wave in (FOLLOWER, AUDIO):
        return ""
    phases = (place / _POINTS * _cycles(wave) for place in range(_POINTS + 1))
    return " ".join(f"{WAVES[wave](phase, 0):.2f}" for phase in phases)


# Every wave with its picture: levels from -1 to 1, separated by spaces. A wave repeats, or is random.
WAVE_ROWS: Rows = tuple({"name": name, "cycles": _cycles(name), "levels": _levels(name)} for name in WAVE_NAMES)
