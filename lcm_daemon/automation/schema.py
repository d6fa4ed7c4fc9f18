"""Reads and checks cues and modulators: the keys `cues` and `modulation` of a show, and the file of recorded cues."""

from __future__ import annotations

import contextlib
import datetime
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.cue_messages import MESSAGES
from lcm_daemon.automation.modulation import AUDIO, FOLLOWER, WAVES, Modulator
from lcm_daemon.automation.recorded_cues import RecordedCues
from lcm_daemon.core.audio_names import BANDS, LEVEL
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.live_values import FADE_CURVES
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Table, Value
from lcm_daemon.core.schema import Boolean, Choice, Custom, Deferred, Field, Fields, Number, Section, Text, unique_items
from lcm_daemon.core.schema_shapes import ParameterValues
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.core.timecode import Timecode
from lcm_daemon.recipes.reader import NAME, known_parameters, read_parameters

_TIME = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")
_THUMBNAIL = re.compile(r"[0-9a-f]{16}")
_SECONDS = Number(0, 86_400)


def _read_cue_name(node: Node, problems: Problems) -> str | None:
    name: str | None = Text().read(node, problems)
    if name is not None and name.splitlines() != [name]:  # the status lists the names one a line
        problems.add(node, f"{name!r:.80} is not a cue name: one line of text is wanted")
        return None
    return name


def _read_time(node: Node, problems: Problems) -> str | None:
    """Read a time from the text as it is written: YAML reads an unquoted 21:30 as the number 1290."""
    text = str(node.raw.value) if isinstance(node.raw, yaml.ScalarNode) else ""
    if _TIME.fullmatch(text):
        return text.rjust(5, "0")
    with contextlib.suppress(ValueError):  # also an unquoted one with frames that YAML reads as a number
        return str(Timecode.parse(text))
    problems.add(node, 'a time of day is wanted, such as "21:30", or a timecode, such as "01:00:10:00"')
    return None


def _read_recorded_values(node: Node, problems: Problems) -> dict[str, Value]:
    """Read the values of a recorded cue. Ranges are checked when the cue starts: its recipe has the parameters."""
    values: dict[str, Value] = {}
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, "a mapping of parameters to values is wanted, such as {steps: 2, strength: 0.6}")
        return values
    for key, given in node.items():
        name, value = str(key.raw.value), _read_value(given, problems)
        if name in values:
            problems.add(key, f"key {name!r:.80} is here twice")
        elif value is not None:
            values[name] = value
    return values


def _read_value(node: Node, problems: Problems) -> Value | None:
    value = node.value if isinstance(node.raw, yaml.ScalarNode) else None
    if isinstance(value, datetime.date) or (isinstance(value, int | float) and ":" in node.raw.value):
        return str(node.raw.value)  # a prompt such as 2026-01-01 or 21:30 that lost its quotes
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    problems.add(node, "a number, text, true or false is wanted")
    return None


def _read_thumbnail(node: Node, problems: Problems) -> str:
    """Read the name of a thumbnail: nothing else may become the name of a file."""
    text = str(node.raw.value) if isinstance(node.raw, yaml.ScalarNode) else ""
    if text and not _THUMBNAIL.fullmatch(text):
        problems.add(node, f"{text!r:.80} is not the name of a thumbnail; leave the key out")
        return ""
    return text


def _read_auto_continue(node: Node, problems: Problems) -> float | None:
    """Read seconds; `true` is at once, and `false` not at all."""
    if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool):
        return 0.0 if node.value else None
    seconds: float | None = _SECONDS.read(node, problems)
    return seconds


def _read_recorded_fades(node: Node, problems: Problems) -> dict[str, float]:
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, "a mapping of parameters to seconds is wanted, such as {strength: 2}")
        return {}
    return {name: _SECONDS.read(value, problems) for name, _, value in unique_items(node, problems)}


def _read_lookahead(node: Node, problems: Problems) -> float | None:
    """Read seconds; `auto` is None."""
    if isinstance(node.raw, yaml.ScalarNode) and node.raw.value == "auto":
        return None
    seconds: float | None = Number(0, MAX_LOOKAHEAD).read(node, problems)
    return seconds


MAX_LOOKAHEAD = 10.0  # seconds
CUE_LIST: Fields = {
    "loop": Field(Boolean(), False, "GO after the last cue starts the first one"),
    "lookahead": Field(Custom(_read_lookahead, "seconds, or auto"), None, "how much earlier than its beat a quantised "
                       "cue starts, so that the picture changes on the beat: seconds, or auto (as measured)"),
}
_CUE_NAME = Field(Custom(_read_cue_name, "a name"), help="what GOTO calls it")
_CUE_SETTINGS: Fields = {
    "fade": Field(_SECONDS, 0.0, "seconds"),
    "curve": Field(Choice(tuple(FADE_CURVES)), "linear", "how the values move during the fade"),
    "delay": Field(_SECONDS, 0.0, "seconds from GO to the fade"),
    "follow": Field(_SECONDS, None, "seconds from the end of the fade to an automatic GO"),
    "recipe": Field(Text(), "", "name of a recipe to change to"),
    "source": Field(Text(), "", "name of a source to change to: one of `sources`, or such as `ndi CAM 1`"),
    "guide": Field(Text(), "", "the same for the guide"),
    "at": Field(Custom(_read_time, "a time of day, or a timecode"), "", "time of day at which it starts, every day; or "
                "timecode at which it starts: hours, minutes, seconds, frames"),
    "auto_continue": Field(Custom(_read_auto_continue, "seconds"), None, "seconds from the start of the fade to an "
                           "automatic GO; true is at once"),
    "send": Field(MESSAGES, (), "OSC and MIDI messages to send when the fade starts"),
}
_FADES = "seconds by parameter, in place of fade"
CUE: Fields = {
    "name": _CUE_NAME,
    "set": Field(Deferred("a mapping of parameters to values", ParameterValues(lambda: TABLE)), None, "the look"),
    "fades": Field(Deferred("a mapping of parameters to seconds", ParameterValues(lambda: TABLE, _SECONDS)), None,
                   _FADES),
    **_CUE_SETTINGS,
}
RECORDED_CUE: Fields = {
    "name": _CUE_NAME,
    "values": Field(Custom(_read_recorded_values, "a mapping of parameters to values"), {}, "the look"),
    "fades": Field(Custom(_read_recorded_fades, "a mapping of parameters to seconds"), {}, _FADES),
    "thumbnail": Field(Custom(_read_thumbnail, "16 digits from 0 to f"), "", "its picture in the folder of the looks"),
    **_CUE_SETTINGS,
}
PLACE: Fields = {"place_of": Field(_CUE_NAME.kind, help="name of a cue of the show file, which has its place here")}
MODULATOR: Fields = {
    "name": Field(NAME, help="part of the names of its parameters: mod/<name>/depth, and mod/<name>/rate or level"),
    "to": Field(Text(), help="the parameter that it moves"),
    "wave": Field(Choice((*WAVES, FOLLOWER, AUDIO)), "sine", "shape of the movement; follow follows mod/<name>/level, "
                  "audio the sound of the key `audio`"),
    "depth": Field(Number(-1, 1), 0.25, "how far in each direction, as a share of the parameter's range"),
    "rate": Field(Number(0, 30), 0.5, "cycles per second"),
    "beats": Field(Number(0, 1024), 0.0, "beats per cycle, in place of rate"),
    "phase": Field(Number(0, 1), 0.0, "where in the cycle it starts"),
    "attack": Field(_SECONDS, 0.02, "seconds that a follower takes to rise"),
    "release": Field(_SECONDS, 0.3, "seconds that a follower takes to fall"),
    "band": Field(Choice(BANDS), LEVEL, "of the wave audio: low (below 250 Hz), mid, high (above 4 kHz), level "
                  "(the whole), onset (each note or beat)"),
}


def cue_recipes(nodes: Sequence[Node]) -> list[str]:
    """Names of the recipes that the cues of a show change to, known or not."""
    pairs = [pair for node in nodes if isinstance(node.raw, yaml.MappingNode) for pair in node.items()]
    names = [value.raw.value for key, value in pairs if key.raw.value == "recipe"]
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def read_cues(
    nodes: Sequence[Node], problems: Problems, tables: Mapping[str, Table], recipes: Sequence[str],
    source_problem: Callable[[str], str] = lambda name: "",
) -> tuple[Cue, ...]:
    """Read the cues of a show.

    Args:
        nodes: one for each cue.
        problems: receives every mistake.
        tables: the parameters that a cue may set, by the recipe that it changes to; "" if it does not change it.
        recipes: names of the recipes that a cue may change to.
        source_problem: says why a source of a name cannot exist; "" if it may.
    """
    cues: dict[str, Cue] = {}
    for node in nodes:
        cue = _read_cue(node, problems, tables, recipes)
        for key, given in node.items() if cue else ():
            if key.raw.value in ("source", "guide") and (problem := source_problem(str(given.raw.value))):
                problems.add(given, problem)
        if cue and cue.name in cues:
            problems.add(node, f"two cues are called {cue.name!r}")
        elif cue:
            cues[cue.name] = cue
    return tuple(cues.values())


def _read_cue(
    node: Node, problems: Problems, tables: Mapping[str, Table], recipes: Sequence[str]
) -> Cue | None:
    found = _read_section(CUE, node, problems)
    if found is None:
        return None
    look = found.pop("set")
    if found["recipe"] and found["recipe"] not in recipes:
        problems.add(node, f"no recipe {found['recipe']!r}{nearest(found['recipe'], recipes)}")
    table = tables.get(found["recipe"], tables[""])
    values = read_parameters(look, problems, table) if look else {}
    fades = found.pop("fades")
    return Cue(values=values, fades=_read_fades(fades, problems, table, values) if fades else {}, **found)


def _read_fades(node: Node, problems: Problems, table: Table, values: Mapping[str, Value]) -> dict[str, float]:
    fades: dict[str, float] = {}
    for name, value in known_parameters(node, problems, table):
        if name not in values:
            problems.add(value, f"fades: the cue does not set {name}")
        elif not (table[name].glides or table[name].kind == "int"):
            problems.add(value, f"fades: {name} cannot fade: only numbers, prompts and seeds do")
        fades[name] = _SECONDS.read(value, problems) or 0.0
    return fades


def is_endless_loop(cues: Sequence[Cue]) -> bool:
    """Whether the cues of a loop would start one another for ever without any time between them."""
    pauses = [None if cue.auto_continue is None and cue.follow is None else
              cue.delay + (cue.duration + (cue.follow or 0.0) if cue.auto_continue is None else cue.auto_continue)
              for cue in cues]
    return bool(pauses) and None not in pauses and not any(pauses)


def read_recorded_cues(root: Node, problems: Problems) -> RecordedCues:
    """Read a file of recorded cues. A cue with a mistake is skipped, and so is a second cue of the same name."""
    cues: dict[str, Cue | None] = {}  # None where only the place of a cue of the show file is given
    if isinstance(root.raw, yaml.MappingNode) and not root.raw.value:  # an empty file
        return RecordedCues()
    if not isinstance(root.raw, yaml.SequenceNode):
        problems.add(root, "a list of cues is wanted")
        return RecordedCues()
    for raw in root.raw.value:
        node = Node(root.file, raw)
        is_place = isinstance(raw, yaml.MappingNode) and [key.value for key, _ in raw.value] == list(PLACE)
        found = _read_section(PLACE if is_place else RECORDED_CUE, node, problems)
        name = found["place_of" if is_place else "name"] if found else None
        if name in cues:
            problems.add(node, f"two cues are called {name!r:.80}; the first one is used")
        elif name is not None and found is not None:
            cues[name] = None if is_place else Cue(**found)
    return RecordedCues(tuple(cue for cue in cues.values() if cue is not None), tuple(cues))


def read_modulators(nodes: Sequence[Node], problems: Problems, table: Table) -> tuple[Modulator, ...]:
    """Read the modulators of a show. table: the parameters that they may move."""
    modulators: dict[str, Modulator] = {}
    for node in nodes:
        modulator = _read_modulator(node, problems, table)
        if modulator and modulator.name in modulators:
            problems.add(node, f"two modulators are called {modulator.name!r}")
        elif modulator:
            modulators[modulator.name] = modulator
    return tuple(modulators.values())


def _read_modulator(node: Node, problems: Problems, table: Table) -> Modulator | None:
    found = _read_section(MODULATOR, node, problems)
    if found is None:
        return None
    numbers = [name for name, parameter in table.items() if parameter.kind in ("float", "int")]
    if found["to"] not in numbers:
        problems.add(node, f"to: no parameter {found['to']!r} with a number{nearest(found['to'], numbers)}")
    return Modulator(**found)


def _read_section(fields: Fields, node: Node, problems: Problems) -> dict[str, Any] | None:
    """Read a mapping. Return None if anything in it is wrong."""
    before = len(problems)
    found: dict[str, Any] | None = Section(fields).read(node, problems)
    if found and found.get("follow") is not None and found.get("auto_continue") is not None:
        problems.add(node, "follow and auto_continue are both an automatic GO: a cue has one of them")
    return found if len(problems) == before else None
