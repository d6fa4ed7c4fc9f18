"""The recorded cues of a show as a value: their order, their places among the cues of the show file, and merging."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lcm_daemon.automation.cue_list import Cue

MAX_CUE_NAME = 80  # characters of a recorded cue's name; the rest is cut off


@dataclass(frozen=True)
class RecordedCues:
    """One state of the file of recorded cues.

    Attributes:
        cues: the cues.
        places: the names of these cues, and of cues of the show file that have their place among them, in order.
    """

    cues: tuple[Cue, ...] = ()
    places: tuple[str, ...] = ()

    @classmethod
    def of(cls, cues: Iterable[Cue]) -> RecordedCues:
        """These cues in this order, after those of the show file."""
        found = tuple(cues)
        return cls(found, tuple(cue.name for cue in found))

    @property
    def by_name(self) -> Mapping[str, Cue]:
        """The cues by name."""
        return {cue.name: cue for cue in self.cues}

    def names_with(self, show: Sequence[str]) -> list[str]:
        """Return the names of all cues in their order. show: names of the cues of the show file."""
        known = {*self.by_name, *show}
        return merged_order([name for name in self.places if name in known], show)


def recorded_cues(names: Sequence[str], recorded: Mapping[str, Cue], show: Sequence[str]) -> RecordedCues:
    """Return the cues to store for a list of cues.

    Places of the show's cues are stored only if the order is another one than without them.

    Args:
        names: names of all cues in their order.
        recorded: the recorded cues by name.
        show: names of the cues of the show file.
    """
    plain = RecordedCues.of(recorded[name] for name in names if name in recorded)
    return plain if plain.names_with(show) == list(names) else RecordedCues(plain.cues, tuple(names))


def merged_order(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Return `first` with the names that only `second` has, each after the name that it follows there."""
    names, place = list(first), 0
    for name in second:
        if name in names:
            place = names.index(name) + 1
        else:
            names.insert(place, name)
            place += 1
    return names


def merge(base: RecordedCues, own: RecordedCues, other: RecordedCues) -> RecordedCues:
    """Return what two states have made of a third one.

    A cue that only one of them has changed or removed is as there. If both have changed it, both are kept, and that of
    `other` gets another name.
    """
    before, mine, theirs = base.by_name, own.by_name, other.by_name
    first, second = (own, other) if other.places == base.places else (other, own)
    order, cues = merged_order(first.places, second.places), dict[str, Cue]()
    for name in order:
        found = [mine.get(name), theirs.get(name)]
        for one, two in (found, found[::-1]):
            if one == before.get(name):  # only the other state has changed it
                found = [two]
        kept = [cue for cue in found if cue is not None]
        if kept:
            cues[name] = kept[0]
        if len(kept) == 2 and kept[0] != kept[1]:
            extra = free_name(f"{name[:MAX_CUE_NAME - 7]} (file)", {*mine, *theirs})
            cues[extra] = _renamed(kept[1], extra)
    named = {*mine, *theirs, *before}
    places = [name for name in order if name in cues or name not in named]
    return RecordedCues(tuple(cues.values()), tuple(merged_order(places, list(cues))))


def free_name(name: str, taken: Collection[str]) -> str:
    """Return the name, or the first of `name 2`, `name 3` and so on that is not taken."""
    found, number = name[:MAX_CUE_NAME], 1
    while found in taken:
        number += 1
        ending = f" {number}"
        found = f"{name[:MAX_CUE_NAME - len(ending)]}{ending}"
    return found


def _renamed(cue: Cue, name: str) -> Cue:
    return Cue(**{**vars(cue), "name": name})
