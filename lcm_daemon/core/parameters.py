"""Parameter: one live control, declared once."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.needs import Need

Value = float | int | bool | str
Values = Mapping[str, Any]  # values of one moment by parameter name: each a Value, or a Blend while it glides
ParameterKind = Literal["float", "int", "bool", "text", "choice"]

_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
DRAW = -1  # asks for a random number, where the parameter draws one
TEXT_LIMIT = 2000  # characters; longer text is cut, as numbers are clamped


class Refused(LcmDaemonError):
    """A value that cannot be coerced; the old value stays."""


@dataclass(frozen=True)
class Parameter:
    """One live control. Its OSC address, its page control, its YAML check and its printed reference come from this.

    Attributes:
        name: Name, also its address below /lcm/.
        kind: Type of its values.
        default: Value it starts with.
        help: One sentence for users.
        low: Lowest value of a float or int.
        high: Highest value of a float or int.
        unit: Printed behind numbers ("s", "steps"); may be empty.
        glide: Seconds that a float takes to reach a new value; 0 is the next frame.
        choices: Allowed values of a choice.
        step: An int is a multiple of it.
        draws: Whether DRAW is replaced by a random number of the range. `Parameters` draws it when it is set.
        logarithmic: Whether faders are finer near `low`: seconds from 0 to 600, for example.
        glided_by: For a text or a seed, the parameter with the seconds that it takes to reach a new value.
        look: Whether it belongs to the look that panic resets and a recorded cue stores; the tempo does not.
        recorded: Whether a recorded cue stores it; otherwise a look leaves it as it is, and panic resets it.
        group: One of GROUPS: where controllers show it.
        needs: What it needs of other parameters to have an effect, all of it.
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
    recorded: bool = True
    group: str = ""
    needs: tuple[Need, ...] = ()
    step: int = 1
    logarithmic: bool = False
    draws: bool = False

    def coerce(self, value: Any) -> Value:
        """Convert what a controller sent to this parameter's type and range.

        Numbers are clamped (TouchDesigner sends floats for everything). A choice may be given by name or index. DRAW
        stays what it is where the parameter draws.

        Raises:
            Refused: The value is NaN, infinite, or otherwise not convertible.
        """
        return _COERCE[self.kind](self, value)

    def moved(self, value: Value, amount: float) -> Value:
        """The value after a move by an amount; a choice moves by places. Raises Refused for a text."""
        if self.kind == "text":
            raise Refused(f"{self.name} is text, which cannot be moved by an amount")
        here = self.choices.index(value) if isinstance(value, str) else value
        moved = here + round(amount) if self.kind == "int" else here + amount
        return self.coerce(max(moved, self.low))

    def drawn(self, value: Value) -> Value:
        """The value itself; a random one for DRAW."""
        return random.randint(int(self.low), int(self.high)) if self.draws and value == DRAW else value

    def toggled(self, value: Value) -> Value:
        """The other value of a switch, or the next option of a choice. Raises Refused for anything else."""
        if self.kind == "bool":
            return not value
        if self.kind == "choice" and isinstance(value, str):
            return self.choices[(self.choices.index(value) + 1) % len(self.choices)]
        raise Refused(f"{self.name} cannot be toggled: it is {'text' if self.kind == 'text' else 'a number'}")

    @property
    def glides(self) -> bool:
        """Whether it can glide to a new value; otherwise it jumps."""
        return self.kind == "float" or bool(self.glided_by)

    @property
    def description(self) -> str:
        """Its help, and when it has no effect."""
        return " ".join([self.help, *(f"No effect while {need.reason}." for need in self.needs)])

    def describe(self) -> str:
        """One line of the printed reference."""
        span = f"{self._format(self.low)} to {self._format(self.high)} {self.unit}".strip()
        span = span if math.isfinite(self.high) else self.kind
        options = ", ".join(self.choices) or span
        return f"/lcm/{self.name:24} {options:24} {self.default!r:12} {self.description}"

    def _format(self, number: float) -> str:
        return f"{number:.0f}" if self.kind == "int" else f"{number:g}"


def _number(parameter: Parameter, value: Any) -> float:
    if isinstance(value, bytes):  # a blob or a colour; Python would read digits in it
        raise Refused(f"{parameter.name} takes a number, not {_shown(value)}")
    try:
        number = typed_number(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"{parameter.name} takes a number, not {_shown(value)}") from None
    if not math.isfinite(number):
        raise Refused(f"{parameter.name} takes a finite number, not {number}")
    return min(max(number, parameter.low), parameter.high)


def typed_number(text: str) -> float:
    """Read a number as people type it: `0.33`, `0,33` or `33%`. Raises ValueError."""
    bare = text.strip()
    number = bare.removesuffix("%").rstrip()
    if _DECIMAL_COMMA.fullmatch(number):
        number = number.replace(",", ".")
    return float(number) / (100.0 if bare.endswith("%") else 1.0)


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # an integer of more than 4,300 digits
        return "a number that is too long to print"
    except RecursionError:
        return "lists within lists"


def _int(parameter: Parameter, value: Any) -> int:
    if parameter.draws and _int(replace(parameter, low=-math.inf, draws=False), value) == DRAW:
        return DRAW
    if isinstance(value, int):  # a seed above 2**53 must not pass through a float
        return int(min(max(_nearest_step(value, parameter.step), parameter.low), parameter.high))
    if isinstance(value, str) and ("%" in value or "," in value):  # a share of what? 1,000 is one or a thousand?
        raise Refused(f"{parameter.name} takes a whole number, not {_shown(value)}")
    return _nearest_step(round(_number(parameter, value)), parameter.step)


def _nearest_step(number: int, step: int) -> int:
    return (number + step // 2) // step * step


_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def _bool(parameter: Parameter, value: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    return _number(parameter, value) >= 0.5


def _text(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise Refused(f"{parameter.name} takes text, not {type(value).__name__}")
    try:
        text = str(value)
    except ValueError:
        raise Refused(f"{parameter.name} takes text, not {_shown(value)}") from None
    return clean(text)


def clean(text: str) -> str:
    """A text as a parameter holds it: at most TEXT_LIMIT characters, spaces for those that cannot be printed."""
    return "".join(c if c.isprintable() else " " for c in text[:TEXT_LIMIT]).strip()


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

# What belongs together, in the order in which controllers show it.
GROUPS = ("Prompt", "Play", "Master", "LoRA", "ControlNet", "Pictures", "Modulation", "Tempo", "Model", "Looks")


def in_groups(table: Table) -> dict[str, Parameter]:
    """The table in the order of GROUPS, and within a group in the order of declaration. Other groups come last."""
    places = {group: place for place, group in enumerate(GROUPS)}
    ordered = sorted(table.items(), key=lambda pair: places.get(pair[1].group, len(GROUPS)))
    return dict(ordered)


def table_of(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """Parameters by name."""
    return {p.name: p for p in parameters}
