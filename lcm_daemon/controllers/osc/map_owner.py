"""The show's OSC addresses while they are learned and changed: lines of `osc.map`, and the gesture being learned."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from lcm_daemon.controllers.osc.options import MAP_ENTRY
from lcm_daemon.controllers.osc_protocol.aliases import Alias, MapEntry
from lcm_daemon.core.bindings import OSC, BindingEdit, Line
from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.learning import Learning
from lcm_daemon.core.osc_names import ROOT
from lcm_daemon.core.parameters import Parameter, Refused, Table
from lcm_daemon.core.suggestions import nearest

log = logging.getLogger(__name__)

QUIET_SECONDS = 0.3  # a gesture ends after this time without a message
MAX_VALUES = 1024  # of a gesture; further ones do not change what is known of it
BUTTON_VALUES = 2  # most values that a button sends: when it is pressed, and when it is released
FULL_SCALES = (1.0, 100.0, 127.0, 255.0, 1023.0, 16383.0)  # highest values that faders of other tools send


class OscMapOwner:
    """The OSC controller's side of learning.

    Args:
        learning: What is being learned.
        entries: The entries of the show's `osc.map`.
        table: Returns the parameters.
        aliases: Returns what every address that is not the daemon's own moves.
        use: Called with the new entries.
    """

    section = OSC
    command_key = "to"

    def __init__(
        self, learning: Learning, entries: Sequence[MapEntry], table: Callable[[], Table],
        aliases: Callable[[], Mapping[str, Sequence[Alias]]], use: Callable[[Sequence[MapEntry]], None],
    ) -> None:
        self._learning, self._entries, self._table = learning, list(entries), table
        self._aliases, self._use_entries = aliases, use
        self._address, self._argument = "", 0  # of the gesture
        self._values: list[float] = []
        self._timer: asyncio.TimerHandle | None = None

    # --- the map ---

    def lines(self) -> Sequence[Line]:
        return [line_of(entry) for entry in self._entries]

    def users(self, line: Line) -> Sequence[Line]:
        own = [each for each in self.lines() if each["from"] == line["from"]]
        targets = {each["to"] for each in own}
        others = [alias.to for alias in self._aliases().get(line["from"], ()) if alias.to not in targets]
        return [*own, *({"from": line["from"], "to": to} for to in others)]

    def use(self, edit: BindingEdit) -> None:
        lines = self.lines()
        place, entries = edit.place(lines), list(self._entries)
        if edit.removed:
            entries = [entry for i, entry in enumerate(entries) if i != place]
        elif place is None:
            entries.append(self._read(edit.changed(None)))
        else:
            entries[place] = self._read(edit.changed(lines[place]))
        self._entries = entries
        self._use_entries(tuple(entries))

    def label(self, line: Line) -> str:
        return str(line["from"])

    def _read(self, line: Line) -> MapEntry:
        """Read a line of the map. Raises Refused for a mistake."""
        problems = Problems()
        entry = MAP_ENTRY.read(compose(json.dumps(dict(line)), "learned"), problems)
        if problems.found:
            raise Refused(f"learn: {problems.found[0].text}")
        assert isinstance(entry, MapEntry)
        return entry

    # --- the gesture ---

    def collect(self, address: str, arguments: Sequence[Any]) -> bool:
        """Collect a message to an address that is not the daemon's own, and return whether it is not to be acted on."""
        if not self._learning.target or address.startswith(ROOT):
            return False
        number = next((place for place, value in enumerate(arguments) if _is_number(value)), None)
        is_press = number is None and self._learning.is_command  # a message without a number runs a command too
        if (number is None and not is_press) or not self._learning.wants(OSC) or self._address not in ("", address):
            return True
        self._address, self._argument = address, number or 0
        if len(self._values) < MAX_VALUES:
            self._values.append(1.0 if number is None else float(arguments[number]))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._end_gesture)
        return True

    def close(self) -> None:
        """Forget the gesture."""
        if self._timer is not None:
            self._timer.cancel()
        self._address, self._values, self._timer = "", [], None

    def _end_gesture(self) -> None:
        address, argument, values = self._address, self._argument, self._values
        self.close()
        line = {"from": address, **({"argument": argument} if argument else {})}
        parameter = self._table().get(self._learning.target)
        if parameter is not None:
            self._learning.offer(OSC, {**line, **_scaling(parameter, min(values), max(values))})
        elif self._learning.is_command and any(values):  # a button that is only released has been pressed before
            self._learning.offer(OSC, line, is_button=len(set(values)) <= BUTTON_VALUES)


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and math.isfinite(value)


def _scaling(parameter: Parameter, low: float, high: float) -> dict[str, Any]:
    """The keys that spread what a fader has sent, from `low` to `high`, over the parameter's range."""
    if parameter.kind == "bool":
        return {}
    top = next((scale for scale in FULL_SCALES if scale >= max(high, -low)), math.ceil(max(high, -low)))
    given = [-top if low < 0 else 0.0, float(top)]
    span = (0.0, len(parameter.choices) - 1.0) if parameter.choices else (parameter.low, parameter.high)
    if not all(map(math.isfinite, span)) or (given == [0.0, 1.0] and span == (0.0, 1.0)):
        return {}
    return {"range": list(span), **({} if given == [0.0, 1.0] else {"input": given})}


def line_of(entry: MapEntry) -> Line:
    """An entry as a line of a show."""
    found = {
        "from": entry.address, "to": entry.to, "range": list(entry.span) if entry.span else None,
        "input": list(entry.input_range) if entry.input_range else None, "curve": entry.curve,
        "argument": entry.argument or None,
        **({"value": entry.fixed[0]} if entry.is_value else {"with": list(entry.fixed) or None}),
    }
    return {key: value for key, value in found.items() if value is not None}


def warn_of_unknown_targets(entries: Sequence[MapEntry], known: Collection[str]) -> None:
    """Log targets of the map that do not exist now. They may come with another recipe, or be a typing error."""
    for entry in entries:
        if entry.to not in known:
            log.warning("OSC: osc.map: %s does nothing now: unknown parameter or command %r%s",
                        entry.address, entry.to, nearest(entry.to, sorted(known)))
