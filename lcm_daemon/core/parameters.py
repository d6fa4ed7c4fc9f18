"""Parameter: one live control, declared once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lcm_daemon.core.errors import LcmDaemonError

Value = float | int | bool | str
Values = Mapping[str, Any]  # of one moment, by the parameters' names: each a Value, or a Blend while it travels
ParameterKind = Literal["float", "int", "bool", "text", "choice"]

TEXT_LIMIT = 2000  # characters; longer text is cut, as numbers are clamped


class Refused(LcmDaemonError):
    """A value that no coercion makes sense of; the old value stays."""


@dataclass(frozen=True)
class Parameter:
    """One live control. From this come its OSC address, its page control, its YAML check and its printed reference.

    low, high: the range of float and int, ends included.   unit: as printed ("s", "steps"), may be empty.
    glide: seconds a number takes to travel to a new value; 0 is the next frame.
    glided_by: for a text or a seed, the parameter that says in how many seconds it travels.
    look: whether it is part of a look, which panic returns and a recorded cue keeps; the music's tempo is not.
    """

    name: str
    kind: ParameterKind
    default: Value
    help: str
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    glide: float = 0.0
    choices: tuple[str, ...] = ()
    glided_by: str = ""
    look: bool = True

    def coerce(self, value: Any) -> Value:
        """Turn what a controller sent into this parameter's type and range; raise Refused where nothing fits.

        Numbers are clamped (TouchDesigner sends floats for everything), a choice goes by its name or its
        index, NaN, infinity and text for a number are refused.
        """
        return _COERCE[self.kind](self, value)

    @property
    def glides(self) -> bool:
        """Whether it can travel to a new value; if not, it jumps."""
        return self.kind == "float" or bool(self.glided_by)

    def describe(self) -> str:
        """One line of the printed reference."""
        span = f"{self._shown(self.low)} to {self._shown(self.high)} {self.unit}".strip()
        span = span if math.isfinite(self.high) else self.kind
        options = ", ".join(self.choices) or span
        return f"/lcm/{self.name:24} {options:24} {self.default!r:12} {self.help}"

    def _shown(self, number: float) -> str:
        return f"{number:.0f}" if self.kind == "int" else f"{number:g}"


def _number(parameter: Parameter, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"{parameter.name} takes a number, not {value!r:.80}") from None
    if not math.isfinite(number):
        raise Refused(f"{parameter.name} takes a finite number, not {number}")
    return min(max(number, parameter.low), parameter.high)


def _int(parameter: Parameter, value: Any) -> int:
    if isinstance(value, int):  # a seed above 2**53 must not pass through a float
        return int(min(max(value, parameter.low), parameter.high))
    return round(_number(parameter, value))


_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def _bool(parameter: Parameter, value: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    return _number(parameter, value) >= 0.5


def _text(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise Refused(f"{parameter.name} takes text, not {type(value).__name__}")
    return "".join(c if c.isprintable() else " " for c in str(value)[:TEXT_LIMIT]).strip()


def _choice(parameter: Parameter, value: Any) -> str:
    if isinstance(value, str) and value in parameter.choices:
        return value
    if isinstance(value, str):
        raise Refused(f"{parameter.name} is one of {', '.join(parameter.choices)}, not {value!r:.80}")
    index = min(max(round(_number(parameter, value)), 0), len(parameter.choices) - 1)
    return parameter.choices[index]


_COERCE: Mapping[ParameterKind, Callable[[Parameter, Any], Value]] = {
    "float": _number, "int": _int, "bool": _bool, "text": _text, "choice": _choice,
}

Table = Mapping[str, Parameter]


def table_of(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """Key parameters by name."""
    return {p.name: p for p in parameters}
