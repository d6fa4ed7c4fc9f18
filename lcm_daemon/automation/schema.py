"""The show's keys `cues` and `modulation`, read and checked with places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.modulation import FOLLOWER, WAVES, Modulator
from lcm_daemon.core.live_values import FADE_CURVES
from lcm_daemon.core.parameters import Table
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Choice, Custom, Field, Fields, Number, Section, Text, nearest
from lcm_daemon.recipes.reader import NAME, read_parameters

_TIME = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")
_SECONDS = Number(0, 86_400)


def _later(node: Node, problems: Problems) -> Node:
    return node  # read once the recipes have said which parameters there are


def _read_time(node: Node, problems: Problems) -> str | None:
    text = str(node.raw.value) if isinstance(node.raw, yaml.ScalarNode) else ""
    if _TIME.fullmatch(text):
        return text.rjust(5, "0")
    problems.add(node, 'a time of day is wanted, such as "21:30"')
    return None


CUE: Fields = {
    "name": Field(Text(), help="what GOTO calls it"),
    "set": Field(Custom(_later, "a mapping of parameters to values"), None, "the look"),
    "fade": Field(_SECONDS, 0.0, "seconds"),
    "curve": Field(Choice(tuple(FADE_CURVES)), "linear"),
    "delay": Field(_SECONDS, 0.0, "seconds from GO to the fade"),
    "follow": Field(_SECONDS, None, "seconds from the end of the fade to the next GO"),
    "recipe": Field(Text(), "", "a recipe to change to, by its name"),
    "at": Field(Custom(_read_time, "a time of day"), "", "when it begins by itself, every day"),
}
MODULATOR: Fields = {
    "name": Field(NAME, help="of its faders: mod/<name>/depth and mod/<name>/rate or level"),
    "to": Field(Text(), help="the parameter it moves"),
    "wave": Field(Choice((*WAVES, FOLLOWER)), "sine"),
    "depth": Field(Number(-1, 1), 0.25, "how far each way, as a share of the parameter's range"),
    "rate": Field(Number(0, 30), 0.5, "cycles a second"),
    "beats": Field(Number(0, 1024), 0.0, "beats a cycle, in place of rate"),
    "phase": Field(Number(0, 1), 0.0, "where a cycle begins"),
    "attack": Field(_SECONDS, 0.02, "seconds a follower takes to rise"),
    "release": Field(_SECONDS, 0.3, "seconds a follower takes to fall"),
}


def read_cues(nodes: Sequence[Node], problems: Problems, table: Table, recipes: Sequence[str]) -> tuple[Cue, ...]:
    """The cues of a show whose parameters and recipes are known."""
    found = [_read_cue(node, problems, table, recipes) for node in nodes]
    cues = [cue for cue in found if cue]
    for node, cue in zip(nodes, found, strict=True):
        if cue and [one.name for one in cues].count(cue.name) > 1:
            problems.add(node, f"two cues are called {cue.name!r}")
    return tuple(cues)


def _read_cue(node: Node, problems: Problems, table: Table, recipes: Sequence[str]) -> Cue | None:
    before = len(problems)
    found: dict[str, Any] | None = Section(CUE).read(node, problems)
    if found is None or len(problems) > before:
        return None
    look = found.pop("set")
    if found["recipe"] and found["recipe"] not in recipes:
        problems.add(node, f"there is no recipe {found['recipe']!r}{nearest(found['recipe'], recipes)}")
    return Cue(values=read_parameters(look, problems, table) if look else {}, **found)


def read_modulators(nodes: Sequence[Node], problems: Problems, table: Table) -> tuple[Modulator, ...]:
    """The modulators of a show whose parameters are known."""
    found = [modulator for node in nodes if (modulator := _read_modulator(node, problems, table))]
    for node, modulator in zip(nodes, found, strict=False):
        if [one.name for one in found].count(modulator.name) > 1:
            problems.add(node, f"two modulators are called {modulator.name!r}")
    return tuple(found)


def _read_modulator(node: Node, problems: Problems, table: Table) -> Modulator | None:
    before = len(problems)
    found: dict[str, Any] | None = Section(MODULATOR).read(node, problems)
    if found is None or len(problems) > before:
        return None
    moved = [name for name, parameter in table.items() if parameter.kind in ("float", "int")]
    if found["to"] not in moved:
        problems.add(node, f"there is no number {found['to']!r} to move{nearest(found['to'], moved)}")
    return Modulator(**found)
