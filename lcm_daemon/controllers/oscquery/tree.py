"""The OSCQuery tree: every address of the board as JSON, by the attributes of the OSCQuery proposal.

https://github.com/Vidvox/OSCQueryProposal. Parameters can be read and set (ACCESS 3), the status only read (1),
commands only given (2). A command that takes nothing has the type N. A bool has T, a choice s with its names in VALS.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lcm_daemon.controllers.osc.dispatch import ROOT
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Parameter, ParameterKind, Value
from lcm_daemon.core.requests import Command

Node = dict[str, Any]
Nodes = dict[str, Node]  # methods by their full path

ATTRIBUTES = (  # those that EXTENSIONS speaks of
    "ACCESS", "VALUE", "RANGE", "DESCRIPTION", "UNIT", "CLIPMODE", "TAGS",
)
STREAMING = ("LISTEN", "PATH_ADDED", "PATH_REMOVED", "PATH_CHANGED")
SERVED = frozenset({*ATTRIBUTES, "FULL_PATH", "CONTENTS", "TYPE"})
PROPOSED = SERVED | {"EXTENDED_TYPE", "CRITICAL", "OVERLOADS", "HTML"}
READ_ONLY = 1  # ACCESS

_TYPES: Mapping[ParameterKind, str] = {"float": "f", "int": "i", "bool": "T", "text": "s", "choice": "s"}
_STATUS: Mapping[type, str] = {bool: "T", int: "i", float: "f", str: "s"}
_UNITS: Mapping[str, str] = {"s": "time.second", "Hz": "time.hz", "bpm": "time.bpm"}  # units.md of the proposal
_INT32 = 2**31


def nodes(controls: ControlState) -> Nodes:
    """Every method by its full path, values included."""
    return {
        **{ROOT + name: _parameter(p, controls.values[name]) for name, p in controls.table.items()},
        **{ROOT + name: _command(name, command) for name, command in controls.commands.items()},
        **{f"{ROOT}status/{name}": _status(name, value) for name, value in controls.status.items()},
    }


def tree(methods: Mapping[str, Node]) -> Node:
    """The methods in their containers, from the root down."""
    root = _container("/")
    for path, node in methods.items():
        here, whole = root, ""
        for step in path.strip("/").split("/"):
            whole += f"/{step}"
            here = here.setdefault("CONTENTS", {}).setdefault(step, _container(whole))
        here |= node
    return root


def find(root: Node, path: str) -> Node | None:
    """The node at a path of the tree, or None."""
    here = root
    for step in filter(None, path.split("/")):
        found = here.get("CONTENTS", {}).get(step)
        if found is None:
            return None
        here = found
    return here


def above(path: str) -> str:
    """The container that a path stands in."""
    return posixpath.dirname(path)


def common(paths: Sequence[str], methods: Collection[str]) -> str:
    """The nearest container (or method) that holds all the paths and is one of `methods`, or holds some of them."""
    found = posixpath.commonpath(paths)
    while found != "/" and not any(f"{path}/".startswith(f"{found}/") for path in methods):
        found = above(found)
    return found


def attribute(node: Node, name: str) -> Node | None:
    """One attribute as an answer; None where the node refuses it (a value that cannot be read)."""
    if name == "VALUE" and not node.get("ACCESS", 0) & 1:
        return None
    return {name: node[name]} if name in node else {}


def shape(node: Node) -> Node:
    """What a client has to read again when it changes: all but the value."""
    return {key: value for key, value in node.items() if key != "VALUE"}


def _container(path: str) -> Node:
    return {"FULL_PATH": path, "ACCESS": 0}


def _parameter(parameter: Parameter, value: Value) -> Node:
    node = {
        "FULL_PATH": ROOT + parameter.name,
        "ACCESS": 3,
        "TYPE": type_of(parameter),
        "VALUE": [value],
        "DESCRIPTION": parameter.help,
        **_range(parameter),
    }
    if parameter.unit in _UNITS:
        node["UNIT"] = [_UNITS[parameter.unit]]
    return node


def type_of(parameter: Parameter) -> str:
    """Its OSC type tag; a whole number whose range needs more than 32 bits (a seed) is an h."""
    wide = parameter.kind == "int" and math.isfinite(parameter.high) and parameter.high >= _INT32
    return "h" if wide else _TYPES[parameter.kind]


def _range(parameter: Parameter) -> Node:
    if parameter.choices:
        return {"RANGE": [{"VALS": list(parameter.choices)}]}
    ends = {"MIN": parameter.low, "MAX": parameter.high}
    whole = int if parameter.kind == "int" else float
    finite = {key: whole(end) for key, end in ends.items() if math.isfinite(end)}
    return {"RANGE": [finite], "CLIPMODE": ["both"]} if len(finite) == 2 else {}


def _command(name: str, command: Command) -> Node:
    """It has no value; null stands in its place, for some clients take what has none for a container."""
    kinds = "".join(type_of(argument) for argument in command.arguments) or "N"
    node = {
        "FULL_PATH": ROOT + name,
        "ACCESS": 2,
        "TYPE": kinds,
        "VALUE": [None] * len(kinds),
        "DESCRIPTION": command.help,
        "TAGS": ["command"],
    }
    if command.arguments:
        node["RANGE"] = [_range(argument).get("RANGE", [None])[0] for argument in command.arguments]
    return node


def _status(name: str, value: Value) -> Node:
    return {
        "FULL_PATH": f"{ROOT}status/{name}", "ACCESS": READ_ONLY, "TYPE": _STATUS[type(value)],
        "VALUE": [_plain(value)], "TAGS": ["status"],
    }


def _plain(value: Value) -> Value | None:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
