"""Which ports belong to a device of the show, by the names that the MIDI system gives them, and by number.

Two devices of one kind have ports of the same kind. Each system tells them apart in another way:

    ALSA                        "Pad:Pad MIDI 1 20:0" and "Pad:Pad MIDI 1 24:0": the numbers of client and port
    JACK                        "Pad:out" and "Pad-01:out"
    JACK with a2jmidid          "a2j:Pad [20] (capture): Pad MIDI 1"
    JACK of PipeWire            "Midi-Bridge:Pad 20:(capture_0) Pad MIDI 1"
    CoreMIDI                    "Pad" and "Pad": not at all
    Windows                     "Pad 0" and "Pad 1", or "Pad 0" and "2- Pad 1": by the place in the list, which changes

Where the system tells them apart, a device keeps its number while it is connected, and a new one gets the lowest free
number. Where it does not, the numbers are the order of the list; if their count changes, it is not known which of them
came or went, and all of them are opened again.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

MAX_NUMBER = 64  # of devices of one kind
EXCLUDED_PORTS = ("RtMidi*", "lcm-daemon*", "Midi Through*")  # not matched by "*": what is sent there comes back

_BRIDGED = (re.compile(r"a2j:(?P<client>.+?) \[(?P<unit>\d+)\](?: \(\w+\))?(?P<rest>:.*)"),
            re.compile(r"Midi-Bridge:(?P<client>.+?)(?: (?P<unit>\d+))?(?P<rest>:\(.+)"))
_ALSA = re.compile(r"(?P<client>[^:]+)(?P<rest>:.+) (?P<unit>\d+):\d+")
_JACK = re.compile(r"(?P<client>[^:]+?)(?:-(?P<unit>\d\d))?(?P<rest>:.+)")
_WINDOWS = re.compile(r"(?P<client>.+) \d+")
_WINDOWS_SECOND = re.compile(r"(^|\()\d+- ?")  # "2- Pad", "MIDIIN2 (2- Pad)"


def matches_name(pattern: str, name: str) -> bool:
    """Whether a device's name matches a pattern (as in fnmatch), regardless of case."""
    return fnmatchcase(name.lower(), pattern.lower())


def device_name(pattern: str, number: int | None = None) -> str:
    """Return the name that the daemon calls a device by: "Pad 2" for the pattern "Pad*" with the number 2."""
    name = pattern.rstrip("* ") or "any"
    return f"{name} {number}" if number else name


@dataclass(frozen=True)
class DevicePort:
    """A port. Two objects are equal if the open port need not be opened again.

    Attributes:
        name: Its name in the MIDI system.
        kind: The name without what tells devices of one kind apart.
        number: Number of its device among those of one kind, from 1.
        place: Its place among ports with exactly this name, from 0.
        alike: How many ports the system does not tell apart from this one, itself included.
    """

    name: str
    kind: str
    number: int = 1
    place: int = 0
    alike: int = 1

    def __str__(self) -> str:
        return f"{self.name} (number {self.number})" if self.number > 1 or self.alike > 1 else self.name


@dataclass(frozen=True)
class DevicePattern:
    """What the show says about a device: a pattern of its name, and its number if there are several of the kind.

    The pattern is that of a port's name, of the name without numbers, or of the part before its colon.
    """

    name: str
    number: int | None = None
    inputs: bool = True  # whether its inputs are wanted
    outputs: bool = True

    def matches(self, port: DevicePort) -> bool:
        """Whether a port belongs to the device."""
        excluded = self.name.startswith("*") and any(
            matches_name(own, name) for own in EXCLUDED_PORTS for name in (port.name, port.kind))
        names = (port.name, port.kind, port.kind.partition(":")[0])
        return not excluded and self.number in (None, port.number) and any(matches_name(self.name, n) for n in names)


@dataclass(frozen=True)
class _ParsedName:
    """kind: as in DevicePort. group, member: devices of one kind, and which of them; no member if that is unknown."""

    kind: str
    group: Hashable
    member: str | None


def _parse(name: str, direction: str, windows: bool) -> _ParsedName:
    if windows:
        found = _WINDOWS.fullmatch(name)
        kind = _WINDOWS_SECOND.sub(r"\1", found["client"] if found else name)
        return _ParsedName(kind, (direction, kind), None)
    for pattern in (*_BRIDGED, _ALSA):
        if (found := pattern.fullmatch(name)) and found["unit"]:
            return _ParsedName(found["client"] + found["rest"], found["client"], found["unit"])
    if found := _JACK.fullmatch(name):
        kind = found["client"] + found["rest"]
        return _ParsedName(kind, (direction, kind), found["unit"] or "0")
    return _ParsedName(name, (direction, name), None)


class PortNumbers:
    """Numbers the ports of each scan. It remembers the numbers of the scan before.

    Args:
        windows: Whether the names are those of Windows.
    """

    def __init__(self, windows: bool = sys.platform == "win32") -> None:
        self._windows = windows
        self._numbers: dict[Hashable, dict[str, int]] = {}  # by group and member

    def number(self, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[list[DevicePort], list[DevicePort]]:
        """Return the ports with these names, in their order."""
        named = [(name, self._parse(name, "in", inputs)) for name in inputs]
        named += [(name, self._parse(name, "out", outputs)) for name in outputs]
        self._update([parsed for _, parsed in named])
        return self._ports(named[:len(inputs)]), self._ports(named[len(inputs):])

    def _parse(self, name: str, direction: str, names: Sequence[str]) -> _ParsedName:
        if not self._windows and names.count(name) > 1:
            return _ParsedName(name, (direction, name), None)
        return _parse(name, direction, self._windows)

    def _update(self, found: Iterable[_ParsedName]) -> None:
        present: dict[Hashable, set[str]] = {}
        for parsed in found:
            if parsed.member is not None:
                present.setdefault(parsed.group, set()).add(parsed.member)
        before, self._numbers = self._numbers, {}
        for group, members in present.items():
            numbers = {member: number for member, number in before.get(group, {}).items() if member in members}
            for member in sorted(members - numbers.keys(), key=int):
                numbers[member] = next(n for n in range(1, len(members) + 1) if n not in numbers.values())
            self._numbers[group] = numbers

    def _ports(self, named: Sequence[tuple[str, _ParsedName]]) -> list[DevicePort]:
        ports, places, counts = [], dict[str, int](), dict[Hashable, int]()
        alike = [parsed.group for _, parsed in named if parsed.member is None]
        for name, parsed in named:
            place = places[name] = places.get(name, -1) + 1
            if parsed.member is None:
                number = counts[parsed.group] = counts.get(parsed.group, 0) + 1
                ports.append(DevicePort(name, parsed.kind, number, place, alike.count(parsed.group)))
            else:
                number = self._numbers[parsed.group][parsed.member]
                ports.append(DevicePort(name, parsed.kind, number, place))
        return ports
