"""Bindings: which control of a device or which OSC address moves which parameter, as lines of a show's maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MIDI, OSC = "midi", "osc"  # the sections of a show that have a `map`
MIDI_KINDS = ("cc", "cc14", "nrpn", "rpn", "note", "pitchbend", "aftertouch", "program")
_IDENTITY: Mapping[str, Mapping[str, Any]] = {  # keys that say which line of a map one is, with their defaults
    MIDI: {**dict.fromkeys(MIDI_KINDS, ...), "channel": 0, "device": "*", "to": ""},
    OSC: {"from": "", "to": "", "argument": 0},
}

Line = Mapping[str, Any]  # a line of a map, as the show file has it


def identity(section: str, line: Line) -> tuple[Any, ...]:
    """What two descriptions of one line of a map have in common: control, device and target."""
    return tuple(_plain(line.get(key, default)) for key, default in _IDENTITY[section].items())


def _plain(value: Any) -> Any:
    """One number, in a list or not, is the same control."""
    if isinstance(value, list | tuple):
        return tuple(value) if len(value) != 1 else value[0]
    return value


@dataclass(frozen=True)
class BindingEdit:
    """A change of one line of a map. A line that does not exist yet is added.

    Attributes:
        section: MIDI or OSC.
        line: The line, or as much of it as `identity` needs.
        put: Further keys to set; None removes a key.
        removed: The line is removed.
    """

    section: str
    line: Line
    put: Mapping[str, Any] = field(default_factory=dict)
    removed: bool = False

    @property
    def key(self) -> tuple[Any, ...]:
        """Section and identity of the line."""
        return (self.section, *identity(self.section, self.line))

    def apply(self, lines: Sequence[Line]) -> list[Line]:
        """Return the lines of a map with this change. Other lines are the same objects."""
        found, wanted = list(lines), identity(self.section, self.line)
        place = next((i for i, line in enumerate(found) if identity(self.section, line) == wanted), None)
        if self.removed:
            return [line for i, line in enumerate(found) if i != place]
        changed = {**(self.line if place is None else found[place]), **self.put}
        changed = {key: value for key, value in changed.items() if value is not None or key in MIDI_KINDS}
        if place is None:
            return [*found, changed]
        found[place] = changed
        return found
