"""The OSCQuery tree: every address of the control state as JSON, with the attributes of the OSCQuery proposal.

https://github.com/Vidvox/OSCQueryProposal. ACCESS is 3 for parameters (read and write), 1 for the status (read only)
and 2 for commands (write only). A command without required arguments has the type N; OVERLOADS has its type with the
optional ones. A bool has the type T. A choice has the type s, with its names in VALS.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

from lcm_daemon.controllers.osc_protocol.aliases import Alias, Aliases
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.osc_names import LIVE_VALUES, ROOT, TYPE_TAGS
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.requests import Command
from lcm_daemon.core.status_table import STATUS

QueryNode = dict[str, Any]
QueryNodes = dict[str, QueryNode]  # methods by their full path

# Listed in HOST_INFO's EXTENSIONS. LABEL is not in the proposal.
ATTRIBUTES = ("ACCESS", "VALUE", "RANGE", "LABEL", "DESCRIPTION", "UNIT", "CLIPMODE", "TAGS", "OVERLOADS")
STREAMING = ("LISTEN", "PATH_ADDED", "PATH_REMOVED", "PATH_CHANGED")
SERVED = frozenset({*ATTRIBUTES, "FULL_PATH", "CONTENTS", "TYPE"})
PROPOSED = SERVED | {"EXTENDED_TYPE", "CRITICAL", "HTML"}
NO_ACCESS, READ_ONLY, WRITE_ONLY, READ_WRITE = 0, 1, 2, 3  # ACCESS

_STATUS_TYPES: Mapping[type, str] = {bool: "T", int: "i", float: "f", str: "s"}
_UNITS: Mapping[str, str] = {"s": "time.second", "Hz": "time.hz", "bpm": "time.bpm"}  # units.md of the proposal
_MAX_INT32 = 2**31 - 1


class Tree:
    """The tree of one moment.

    Args:
        methods: Every method by its full path. What changes in them later is not seen.

    Attributes:
        root: Its root.
    """

    def __init__(self, methods: Mapping[str, QueryNode]) -> None:
        self.root = build_tree(methods)

    @cached_property
    def whole(self) -> bytes:
        """All of it as JSON."""
        return json.dumps(self.root, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def method_nodes(controls: ControlState, aliases: Aliases | None = None) -> QueryNodes:
    """Return every method by its full path, with its present value.

    Args:
        controls: Control state of the show.
        aliases: Further addresses for some of them. One that others begin with is omitted: it would be a container too,
            which the proposal does not allow.
    """
    targets = aliases.targets if aliases else {}
    return {
        **{address: _alias_node(controls, found[0]) for address, found in targets.items()
           if not any(other.startswith(f"{address}/") for other in targets)},
        **{ROOT + name: _parameter_node(p, controls.values[name]) for name, p in controls.table.items()},
        **{ROOT + name: _command_node(name, command) for name, command in controls.commands.items()},
        **{f"{ROOT}status/{name}": _status_node(name, value) for name, value in controls.status.items()},
        **{LIVE_VALUES + name: _live_node(controls.table[name], state.value)
           for name, state in controls.parameter_states.items() if name in controls.table},
    }


def build_tree(methods: Mapping[str, QueryNode]) -> QueryNode:
    """Put the methods into their containers; return the root."""
    root = _container("/")
    for path, node in methods.items():
        here, whole = root, ""
        for step in path.strip("/").split("/"):
            whole += f"/{step}"
            here = here.setdefault("CONTENTS", {}).setdefault(step, _container(whole))
        here |= node
    return root


def find(root: QueryNode, path: str) -> QueryNode | None:
    """Return the node at a path of the tree, or None."""
    here = root
    for step in filter(None, path.split("/")):
        found = here.get("CONTENTS", {}).get(step)
        if found is None:
            return None
        here = found
    return here


def parent(path: str) -> str:
    """Return the path of the container of a path."""
    return posixpath.dirname(path)


def common_path(paths: Sequence[str], methods: Collection[str]) -> str:
    """Return the deepest path that contains all `paths` and is one of `methods` or contains one of them."""
    found = posixpath.commonpath(paths)
    while found != "/" and not any(f"{path}/".startswith(f"{found}/") for path in methods):
        found = parent(found)
    return found


def attribute(node: QueryNode, name: str) -> QueryNode | None:
    """Return one attribute as an answer, or None for the VALUE of a node that cannot be read."""
    if name == "VALUE" and not node.get("ACCESS", NO_ACCESS) & READ_ONLY:
        return None
    return {name: node[name]} if name in node else {}


def shape(node: QueryNode) -> QueryNode:
    """Return everything but the value: what a client has to read again when it changes."""
    return {key: value for key, value in node.items() if key != "VALUE"}


def type_of(parameter: Parameter) -> str:
    """Return the OSC type tag of a parameter."""
    return TYPE_TAGS[parameter.kind]


def _container(path: str) -> QueryNode:
    return {"FULL_PATH": path, "ACCESS": NO_ACCESS}


def _parameter_node(parameter: Parameter, value: Value) -> QueryNode:
    node = {
        "FULL_PATH": ROOT + parameter.name,
        "ACCESS": READ_WRITE,
        "TYPE": type_of(parameter),
        "VALUE": [value],
        "LABEL": parameter.name,
        "DESCRIPTION": parameter.description,
        "TAGS": [parameter.group],
        **_range(parameter),
    }
    if parameter.unit in _UNITS:
        node["UNIT"] = [_UNITS[parameter.unit]]
    return node


def _range(parameter: Parameter) -> QueryNode:
    """The range of a parameter. That of a seed ends with 32 bits, which every client can send."""
    if parameter.choices:
        return {"RANGE": [{"VALS": list(parameter.choices)}]}
    is_wide = parameter.kind == "int" and _MAX_INT32 < parameter.high < math.inf
    ends = {"MIN": parameter.low, "MAX": _MAX_INT32 if is_wide else parameter.high}
    number = int if parameter.kind == "int" else float
    finite = {key: number(end) for key, end in ends.items() if math.isfinite(end)}
    return {"RANGE": [finite], "CLIPMODE": ["both"]} if len(finite) == 2 else {}


def _command_node(name: str, command: Command) -> QueryNode:
    """Build the node of a command. Its VALUE is null: some clients take a node without VALUE for a container."""
    node = {
        "FULL_PATH": ROOT + name,
        "ACCESS": WRITE_ONLY,
        "LABEL": name,
        "DESCRIPTION": command.help,
        "TAGS": ["command"],
        **_signature(command.required),
    }
    if command.optional:  # a client that draws a field for each letter of TYPE would always send them
        node["OVERLOADS"] = [_signature(command.arguments)]
    return node


def _signature(arguments: Sequence[Parameter]) -> QueryNode:
    types = "".join(map(type_of, arguments)) or "N"
    ranges = [_range(argument).get("RANGE", [None])[0] for argument in arguments]
    return {"TYPE": types, "VALUE": [None] * len(types), **({"RANGE": ranges} if ranges else {})}


def _alias_node(controls: ControlState, alias: Alias) -> QueryNode:
    """The node of another address for a parameter or a command."""
    parameter = controls.table.get(alias.to)
    if parameter is None:
        node = _command_node(alias.to, controls.commands[alias.to])
        if alias.argument is not None:  # a button with arguments of its own
            node = {**node, **_signature([])}
            node.pop("OVERLOADS", None)
            node.pop("RANGE", None)
    else:
        shown = alias.argument or parameter
        value = alias.write(controls.values[alias.to])
        node = {**_parameter_node(shown, shown.default if value is None else value), "LABEL": alias.to,
                "DESCRIPTION": parameter.description}
        if not alias.has_feedback:
            node |= {"ACCESS": WRITE_ONLY, "VALUE": [None]}
    return {**node, "FULL_PATH": alias.address, "TAGS": ["alias"]}


def _live_node(parameter: Parameter, value: Value) -> QueryNode:
    """The node of a parameter's value in force. A seed is text here: on its way, it is several with their shares."""
    is_text = bool(parameter.glided_by)
    return {"FULL_PATH": LIVE_VALUES + parameter.name, "ACCESS": READ_ONLY,
            "TYPE": "s" if is_text else type_of(parameter),
            "VALUE": [str(value) if is_text else _json_value(value)],
            "LABEL": parameter.name, "TAGS": ["status"]}


def _status_node(name: str, value: Value) -> QueryNode:
    described = {"DESCRIPTION": STATUS[name]} if name in STATUS else {}
    return {
        **described, "FULL_PATH": f"{ROOT}status/{name}", "ACCESS": READ_ONLY, "TYPE": _STATUS_TYPES[type(value)],
        "VALUE": [_json_value(value)], "TAGS": ["status"],
    }


def _json_value(value: Value) -> Value | None:
    """Replace NaN and infinity by None: JSON has neither."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
