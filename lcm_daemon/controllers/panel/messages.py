"""The JSON messages of the panel. server.py describes the protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lcm_daemon import __version__
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.needs import missing
from lcm_daemon.core.network import PLAY, VIEW
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.redaction import HIDDEN, Redaction, without_quotations
from lcm_daemon.core.requests import Change, Command
from lcm_daemon.core.status_table import STATUS
from lcm_daemon.web.server import MESSAGE_LIMIT

INPUT_FOLLOWS = '{"frame":"input"}'  # the next binary message is a frame of the input


def hello(controls: ControlState, you: str, camera: bool = False) -> str:
    """The first message: everything that a page needs to draw itself.

    Args:
        you: origin of this client's changes, such as "panel/3".
        camera: whether the show has a browser source.
    """
    return _encode({"hello": {
        "version": __version__, "show": controls.show, "you": you, "role": VIEW if you in controls.viewers else PLAY,
        "camera": camera, **describe_table(controls),
        "values": controls.values, "status": _finite(controls.status), "live": _moving(controls),
        "lists": controls.lists, "status_help": STATUS,
    }})


def table(controls: ControlState) -> str:
    """The parameters, commands and values after a change of the recipe."""
    return _encode({"table": {**describe_table(controls), "values": controls.values}})


def changes(changes: Sequence[Change]) -> str:
    return _encode({"changes": [{"name": c.name, "value": c.value, "origin": c.origin} for c in changes]})


def status(controls: ControlState) -> str:
    return _encode({"status": _finite(controls.status), "live": _moving(controls)})


def lists(controls: ControlState, names: Iterable[str]) -> str:
    """The lists of these names, whole."""
    return _encode({"lists": {name: controls.lists[name] for name in names}})


def heartbeat(now: float) -> str:
    return _encode({"beat": round(now, 3)})


def error(text: str) -> str:
    return _encode({"error": text})


def camera(state: str) -> str:
    return _encode({"camera": state})


def describe_table(controls: ControlState) -> dict[str, Any]:
    """Content of `/parameters.json`: the parameters and the commands, in the order of their declaration."""
    return {
        "parameters": [describe_parameter(p) for p in controls.table.values()],
        "commands": [_describe_command(name, command) for name, command in controls.commands.items()],
    }


def describe_health(controls: ControlState, clients: int, status_age: float | None, whole: bool) -> dict[str, Any]:
    """Content of `/health`: status, engines, visitors, values, the state of each parameter, and every counter by path.

    Args:
        clients: Pages and streams that are connected.
        status_age: Seconds since the stage sent the status, which it does twice a second; None before the first one.
        whole: Whether prompts and other texts may be in it; HIDDEN is in their places if not.
    """
    texts = {} if whole else {name: HIDDEN for name, each in controls.table.items() if each.kind == "text"}
    hide = _hiding(str(controls.values.get(name, "")) for name in texts) if not whole else str
    states = {name: dict(vars(state)) for name, state in controls.parameter_states.items()}
    return {
        "version": __version__, "clients": clients, "status_age": status_age,
        "status": _texts_through(hide, _finite(controls.status)),
        "engines": [_texts_through(hide, row) for row in controls.lists.get("engines", ())],
        "values": {**controls.values, **texts},
        "live": {name: {**state, "base": HIDDEN, "value": HIDDEN} if name in texts else state
                 for name, state in states.items()},
        "without_effect": _without_effect(controls),
        "counts": controls.metrics.counts(),
        "audience": {str(row["name"]): row["count"] for row in controls.lists.get("audience_counts", ())},
    }


def _hiding(private: Iterable[str]) -> Callable[[str], str]:
    """What takes these texts out of another one, and all that it quotes: a prompt that was refused is in no value."""
    redaction = Redaction(private)
    return lambda text: without_quotations(redaction.apply(text))


def _texts_through(change: Callable[[str], str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with each text changed."""
    return {name: change(value) if isinstance(value, str) else value for name, value in values.items()}


def parse(text: str) -> dict[str, Any]:
    """Decode a client's message. Raises ValueError, with a message of one line, if it is not a JSON object."""
    if len(text) > MESSAGE_LIMIT:  # the connection itself allows longer messages, for camera frames
        raise ValueError(f"message too long; at most {MESSAGE_LIMIT} characters are allowed")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("message is not valid JSON") from None
    if not isinstance(message, dict):
        raise ValueError("message is not a JSON object")
    return message


def _describe_command(name: str, command: Command) -> dict[str, Any]:
    return {"name": name, "help": command.help, "arguments": [describe_parameter(a) for a in command.arguments],
            "optional": command.optional}


def describe_parameter(parameter: Parameter) -> dict[str, Any]:
    """A parameter, as pages get it."""
    return {
        "name": parameter.name, "kind": parameter.kind, "default": parameter.default, "help": parameter.help,
        "low": _finite_or_none(parameter.low), "high": _finite_or_none(parameter.high), "unit": parameter.unit,
        "step": parameter.step, "logarithmic": parameter.logarithmic, "draws": parameter.draws,
        "glide": parameter.glide, "choices": parameter.choices, "glided_by": parameter.glided_by,
        "group": parameter.group, "needs": [asdict(need) for need in parameter.needs],
    }


def _without_effect(controls: ControlState) -> dict[str, str]:
    """Why parameters have no effect now, by name."""
    reasons = {name: missing(parameter.needs, controls.values) for name, parameter in controls.table.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _moving(controls: ControlState) -> dict[str, Value]:
    """Numbers in effect that differ from the value set: during a fade, or moved by a modulator or the governor."""
    states = controls.parameter_states.items()
    return {name: s.value for name, s in states if s.value != s.base and isinstance(s.value, int | float)}


def _finite(values: Mapping[str, Value]) -> dict[str, Value | None]:
    """Replace NaN and infinity, which JSON does not have, by null."""
    return {key: _finite_or_none(v) if isinstance(v, float) else v for key, v in values.items()}


def _finite_or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _encode(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
