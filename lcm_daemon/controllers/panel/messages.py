"""Messages: what the panel says in JSON. The protocol itself is told in server.py."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lcm_daemon import __version__
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.requests import Change, Command

TEXT_LIMIT = 65_536  # bytes of a client's JSON; the longest prompt, escaped, takes 24,000


def hello(controls: ControlState, you: str, camera: bool = False) -> str:
    """The first message: everything a page needs to draw itself. `you` is the origin this client's moves carry.

    camera: whether the show takes a page's pictures.
    """
    return _message("hello", {
        "version": __version__, "show": controls.show, "you": you, "camera": camera, **table(controls),
        "values": controls.values, "status": _finite(controls.status), "live": _moving(controls),
    })


def table(controls: ControlState) -> dict[str, Any]:
    """The parameters and the commands, in the order in which they were declared."""
    return {
        "parameters": [_parameter(p) for p in controls.table.values()],
        "commands": [_command(name, command) for name, command in controls.commands.items()],
    }


def retable(controls: ControlState) -> str:
    """The recipe has changed: the parameters there are now, and their values."""
    return _message("table", {**table(controls), "values": controls.values})


def changes(moved: Sequence[Change]) -> str:
    return _message("changes", [{"name": c.name, "value": c.value, "origin": c.origin} for c in moved])


def status(controls: ControlState) -> str:
    return _text({"status": _finite(controls.status), "live": _moving(controls)})


def beat(now: float) -> str:
    return _message("beat", round(now, 3))


def error(text: str) -> str:
    return _message("error", text)


def camera(word: str) -> str:
    return _message("camera", word)


def metrics(controls: ControlState, clients: int) -> dict[str, Any]:
    """What `/health` answers: status, values, and who set each as last heard, and every counter by its path."""
    return {
        "version": __version__, "clients": clients, "status": _finite(controls.status), "values": controls.values,
        "live": {name: asdict(standing) for name, standing in controls.parameter_states.items()},
        "counts": controls.metrics.counts(),
    }


def parse(text: str) -> dict[str, Any]:
    """A client's message; raises ValueError with one clear line where it is not a JSON object."""
    if len(text) > TEXT_LIMIT:
        raise ValueError(f"a message has at most {TEXT_LIMIT} characters")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON") from None
    if not isinstance(message, dict):
        raise ValueError("a message is a JSON object")
    return message


def _command(name: str, command: Command) -> dict[str, Any]:
    return {"name": name, "help": command.help, "arguments": [_parameter(a) for a in command.arguments]}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name, "kind": parameter.kind, "default": parameter.default, "help": parameter.help,
        "low": _bound(parameter.low), "high": _bound(parameter.high), "unit": parameter.unit,
        "glide": parameter.glide, "choices": parameter.choices, "glided_by": parameter.glided_by,
    }


def _bound(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _moving(controls: ControlState) -> dict[str, Value]:
    """The numbers in force that are not the ones set: a fade is under way, a wave or the governor moves them."""
    return {name: s.value for name, s in controls.parameter_states.items() if s.value != s.base and isinstance(s.value, int | float)}


def _finite(values: Mapping[str, Value]) -> dict[str, Value | None]:
    """JSON knows neither NaN nor infinity: null stands for them."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _message(key: str, content: Any) -> str:
    return _text({key: content})


def _text(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
