"""Bindings: which control of a device or which OSC address moves which parameter, as lines of a show's maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MIDI, OSC = "midi", "osc"  # the sections of a show that have a `map`
MIDI_KINDS = ("cc", "cc14", "nrpn", "rpn", "note", "pitchbend", "aftertouch", "program")
_IDENTITY: Mapping[str, Mapping[str, Any]] = {  # keys that say which line of a map one is, with their defaults
    MIDI: {**dict.fromkeys(MIDI_KINDS, ...), "channel": 0, "device": "*",
           "to": "", "command": "", "bank": "", "with": ()},
    OSC: {"from": "", "to": "", "argument": 0, "with": ()},
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
        replaces: A line whose place the new one takes; its other keys go.
    """

    section: str
    line: Line
    put: Mapping[str, Any] = field(default_factory=dict)
    removed: bool = False
    replaces: Line | None = None

    def place(self, lines: Sequence[Line]) -> int | None:
        """The place of the line in a map, or of the one that it replaces; None if neither is there."""
        for wanted in (self.line, self.replaces):
            if wanted is not None:
                same = identity(self.section, wanted)
                for place, line in enumerate(lines):
                    if identity(self.section, line) == same:
                        return place
        return None

    def changed(self, line: Line | None) -> Line:
        """The line after the change. line: the one at its place; None for a new line."""
        is_own = line is not None and identity(self.section, line) == identity(self.section, self.line)
        found = {**(line if is_own and line is not None else self.line), **self.put}
        return {key: value for key, value in found.items() if value is not None or key in MIDI_KINDS}

    def apply(self, lines: Sequence[Line]) -> list[Line]:
        """Return the lines of a map with this change. Other lines are the same objects."""
        found, place = list(lines), self.place(lines)
        if self.removed:
            return [line for i, line in enumerate(found) if i != place]
        changed = self.changed(None if place is None else found[place])
        if place is None:
            return [*found, changed]
        found[place] = changed
        return found
