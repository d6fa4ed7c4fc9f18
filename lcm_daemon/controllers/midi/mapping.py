"""Map: which bindings of one device are live. The ready maps stand beside this file, in maps/."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.controllers.midi.binding import BINDING, Binding
from lcm_daemon.controllers.midi.messages import Control
from lcm_daemon.core.schema import Custom, Field, Fields, Items, Node, Problems, compose, nearest, read_fields

FOLDER = Path(__file__).parent / "maps"

Banks = Mapping[str, tuple[Binding, ...]]


def ready_maps() -> list[str]:
    """The names of the maps that come with the daemon."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def fits(pattern: str, name: str) -> bool:
    """Whether a device's name fits a pattern; capitals are as good as small letters."""
    return fnmatchcase(name.lower(), pattern.lower())


def _read_banks(node: Node, problems: Problems) -> Banks:
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, "a mapping of names to lists is wanted, such as {one: [{cc: 0, to: strength}]}")
        return {}
    return {str(key.raw.value): Items(BINDING).read(value, problems) or () for key, value in node.items()}


def _read_ready(node: Node, problems: Problems) -> str | None:
    name = str(node.raw.value) if isinstance(node.raw, yaml.ScalarNode) else ""
    if name in ready_maps():
        return name
    problems.add(node, f"there is no ready map {name!r:.80}{nearest(name, ready_maps())}")
    return None


MAP: Fields = {
    "map": Field(Items(BINDING), (), "What the controls do."),
    "banks": Field(Custom(_read_banks, "a mapping of names to lists as in map"), {},
                   "More of it, one bank at a time; the first one to begin with."),
}
READY = Custom(_read_ready, "the name of a ready map")


@functools.cache
def ready_map(name: str) -> Mapping[str, Any]:
    """A ready map, as `map` and `banks` of a show; DocumentError where it is wrong."""
    path = FOLDER / f"{name}.yaml"
    problems = Problems()
    found = read_fields(compose(path.read_text(encoding="utf-8"), path.name), MAP, problems)
    problems.raise_if_any()
    return found


@dataclass
class Map:
    """The bindings of one device, and which bank of them is live."""

    always: Sequence[Binding]
    banks: Banks = field(default_factory=dict)
    live: str = ""

    def __post_init__(self) -> None:
        self.live = self.live if self.live in self.banks else next(iter(self.banks), "")
        self._found: dict[Control, list[Binding]] = {}

    def choose(self, bank: str) -> bool:
        """Make a bank live: by name, or the "next" or "previous" one. Whether that was a change."""
        names = list(self.banks)
        if bank in ("next", "previous") and names:
            bank = names[(names.index(self.live) + (1 if bank == "next" else -1)) % len(names)]
        if bank not in names or bank == self.live:
            return False
        self.live = bank
        self._found.clear()
        return True

    def bindings(self) -> Iterator[Binding]:
        """Those that are live."""
        return itertools.chain(self.always, self.banks.get(self.live, ()))

    def everything(self) -> Iterator[Binding]:
        """Those of every bank."""
        return itertools.chain(self.always, *self.banks.values())

    def find(self, control: Control) -> list[Binding]:
        """The live bindings of a control."""
        if control not in self._found:
            self._found[control] = [binding for binding in self.bindings() if _binds(binding, control)]
        return self._found[control]


def map_of(name: str, ready: str | None, own: Sequence[Binding], banks: Banks) -> Map:
    """The map of the device `name`: the show's lines, and those of a ready map for what the show leaves free."""
    mine = _meant(own, name)
    my_banks = {bank: _meant(bindings, name) for bank, bindings in banks.items()}
    taken = [*itertools.chain(mine, *my_banks.values())]
    given: Mapping[str, Any] = ready_map(ready) if ready else {"map": (), "banks": {}}
    always = [*mine, *_free(given["map"], taken)]
    merged = {bank: [*my_banks.get(bank, ()), *_free(given["banks"].get(bank, ()), taken)]
              for bank in {**given["banks"], **my_banks}}
    return Map(always, {bank: tuple(bindings) for bank, bindings in merged.items()})


def _meant(bindings: Sequence[Binding], name: str) -> tuple[Binding, ...]:
    return tuple(binding for binding in bindings if fits(binding.device, name))


def _free(bindings: Sequence[Binding], taken: Sequence[Binding]) -> list[Binding]:
    return [binding for binding in bindings if not any(_overlap(binding, other) for other in taken)]


def _overlap(one: Binding, other: Binding) -> bool:
    same_channel = one.channel == other.channel or 0 in (one.channel, other.channel)
    return one.kind == other.kind and same_channel and not set(one.numbers).isdisjoint(other.numbers)


def _binds(binding: Binding, control: Control) -> bool:
    return (binding.kind == control.kind and binding.channel in (0, control.channel)
            and (None in binding.numbers or control.number in binding.numbers))
