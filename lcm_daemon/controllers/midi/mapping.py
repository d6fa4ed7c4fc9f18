"""The map of one device: its bindings, and which bank is active. The ready maps are in the folder maps/."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.controllers.midi.binding import BINDING, Binding
from lcm_daemon.controllers.midi.messages import Control
from lcm_daemon.controllers.midi.port_names import matches_name
from lcm_daemon.core.document import Node, Problems, compose
from lcm_daemon.core.schema import Choice, Custom, Field, Fields, Items, read_fields
from lcm_daemon.core.schema_shapes import Named
from lcm_daemon.core.suggestions import nearest

MAPS = Path(__file__).parent / "maps"

Banks = Mapping[str, tuple[Binding, ...]]


def ready_map_names() -> list[str]:
    """Return the names of the ready maps."""
    return sorted(path.stem for path in MAPS.glob("*.yaml"))


def _read_banks(node: Node, problems: Problems) -> Banks:
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, "banks are a mapping of names to lists, such as {one: [{cc: 0, to: strength}]}")
        return {}
    return {str(key.raw.value): Items(BINDING).read(value, problems) or () for key, value in node.items()}


def _read_ready_map(node: Node, problems: Problems) -> str | None:
    name = str(node.raw.value) if isinstance(node.raw, yaml.ScalarNode) else ""
    if name in ready_map_names():
        return name
    problems.add(node, f"no ready map {name!r:.80}{nearest(name, ready_map_names())}")
    return None


MAP_FIELDS: Fields = {
    "map": Field(Items(BINDING), (), "what the controls do, one line each"),
    "banks": Field(Custom(_read_banks, "a mapping of names to lists as in map", Named(Items(BINDING))), {},
                   "further lines, one bank active at a time; the first one at the start"),
}
READY_MAP = Custom(_read_ready_map, "the name of a ready map", Choice(tuple(ready_map_names())))


@functools.cache
def ready_map(name: str) -> Mapping[str, Any]:
    """Return a ready map, with the keys of MAP_FIELDS. Raises DocumentError if the file has a mistake."""
    path = MAPS / f"{name}.yaml"
    problems = Problems()
    found = read_fields(compose(path.read_text(encoding="utf-8"), path.name), MAP_FIELDS, problems)
    problems.raise_if_any()
    return found


@dataclass
class MidiMap:
    """The bindings of one device.

    Attributes:
        always: Bindings that are active in every bank.
        banks: Further bindings by bank.
        active_bank: Name of the active bank, or an empty string without banks.
    """

    always: Sequence[Binding]
    banks: Banks = field(default_factory=dict)
    active_bank: str = ""

    def __post_init__(self) -> None:
        if self.active_bank not in self.banks:
            self.active_bank = next(iter(self.banks), "")
        self._found: dict[Control, list[Binding]] = {}

    def change_bank(self, bank: str) -> bool:
        """Activate a bank: by name, or "next" or "previous". Return whether the active bank has changed."""
        names = list(self.banks)
        if bank in ("next", "previous") and names:
            bank = names[(names.index(self.active_bank) + (1 if bank == "next" else -1)) % len(names)]
        if bank not in names or bank == self.active_bank:
            return False
        self.active_bank = bank
        self._found.clear()
        return True

    def active_bindings(self) -> Iterator[Binding]:
        """Yield the active bindings."""
        return itertools.chain(self.always, self.banks.get(self.active_bank, ()))

    def all_bindings(self) -> Iterator[Binding]:
        """Yield the bindings of every bank."""
        return itertools.chain(self.always, *self.banks.values())

    def find(self, control: Control) -> list[Binding]:
        """Return the active bindings of a control."""
        if control not in self._found:
            self._found[control] = [binding for binding in self.active_bindings() if _binds(binding, control)]
        return self._found[control]


def build_map(
    device: str, ready: str | None, lines: Sequence[Binding], banks: Banks, without_number: str = "",
) -> MidiMap:
    """Build the map of a device: the show's lines, and those of a ready map for controls that the show does not use.

    Args:
        device: Name of the device, to select the show's lines by their `device`.
        ready: Name of a ready map, or None.
        lines: The show's `map`.
        banks: The show's `banks`.
        without_number: Name that a device with a number shares with others, so that one line is for all of them.
    """
    names = (device, without_number or device)
    own = _of_device(lines, names)
    own_banks = {bank: _of_device(bindings, names) for bank, bindings in banks.items()}
    used = [*itertools.chain(own, *own_banks.values())]
    given: Mapping[str, Any] = ready_map(ready) if ready else {"map": (), "banks": {}}
    always = [*own, *_unused(given["map"], used)]
    merged = {bank: [*own_banks.get(bank, ()), *_unused(given["banks"].get(bank, ()), used)]
              for bank in {**given["banks"], **own_banks}}
    return MidiMap(always, {bank: tuple(bindings) for bank, bindings in merged.items()})


def _of_device(bindings: Sequence[Binding], names: Sequence[str]) -> tuple[Binding, ...]:
    return tuple(binding for binding in bindings if any(matches_name(binding.device, name) for name in names))


def _unused(bindings: Sequence[Binding], used: Sequence[Binding]) -> list[Binding]:
    return [binding for binding in bindings if not any(overlap(binding, other) for other in used)]


def overlap(one: Binding, other: Binding) -> bool:
    """Whether two bindings have a control in common."""
    same_channel = one.channel == other.channel or 0 in (one.channel, other.channel)
    return one.kind == other.kind and same_channel and not set(one.numbers).isdisjoint(other.numbers)


def _binds(binding: Binding, control: Control) -> bool:
    return (binding.kind == control.kind and binding.channel in (0, control.channel)
            and (None in binding.numbers or control.number in binding.numbers))
