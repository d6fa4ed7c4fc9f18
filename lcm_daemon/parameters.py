"""Parameter: one live control, declared once. Parameters: the live values, with their glides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lcm_daemon.errors import LcmDaemonError

Value = float | int | bool | str
Kind = Literal["float", "int", "bool", "text", "choice"]

TEXT_LIMIT = 2000  # characters; longer text is cut, as numbers are clamped


class Refused(LcmDaemonError):
    """A value that no coercion makes sense of; the old value stays."""


@dataclass(frozen=True)
class Parameter:
    """One live control. From this come its OSC address, its page control, its YAML check and its printed reference.

    low, high: the range of float and int, ends included.   unit: as printed ("s", "steps"), may be empty.
    glide: seconds a number takes to travel to a new value; 0 is the next frame.
    """

    name: str
    kind: Kind
    default: Value
    help: str
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    glide: float = 0.0
    choices: tuple[str, ...] = ()

    def coerce(self, value: Any) -> Value:
        """Turn what a controller sent into this parameter's type and range; raise Refused where nothing fits.

        Numbers are clamped (TouchDesigner sends floats for everything), a choice goes by its name or its
        index, NaN, infinity and text for a number are refused.
        """
        return _COERCE[self.kind](self, value)

    @property
    def glides(self) -> bool:
        return self.kind == "float"

    def describe(self) -> str:
        """One line of the printed reference."""
        span = f"{self._shown(self.low)} to {self._shown(self.high)} {self.unit}".strip()
        span = span if math.isfinite(self.high) else self.kind
        options = ", ".join(self.choices) or span
        return f"/lcm/{self.name:16} {options:24} {self.default!r:12} {self.help}"

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


_COERCE: Mapping[Kind, Callable[[Parameter, Any], Value]] = {
    "float": _number, "int": _int, "bool": _bool, "text": _text, "choice": _choice,
}

Table = Mapping[str, Parameter]


def table_of(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """Key parameters by name."""
    return {p.name: p for p in parameters}


TABLE: Table = table_of([
    Parameter("prompt", "text", "clouds", "What the picture becomes."),
    Parameter("negative_prompt", "text", "", "What it should not become; needs guidance above 1 in the model."),
    Parameter("strength", "float", 0.6, "How far the input is repainted: 0 keeps it, 1 forgets it.", 0.0, 1.0),
    Parameter("steps", "int", 2, "Denoising steps a frame: fewer are faster, more are cleaner.", 1, 8, "steps"),
    Parameter("seed", "int", 0, "Which noise the picture grows from.", 0, 2**32 - 1),
    Parameter("guidance", "float", 1.0, "How firmly the prompt is followed, where the model has it.", 0.0, 20.0),
    Parameter("mode", "choice", "image", "Repaint the input (image) or paint from the prompt alone (text).",
              choices=("image", "text")),
    Parameter("mix", "float", 1.0, "Rendered picture over the input: 0 is the input, 1 is the render.", 0.0, 1.0),
    Parameter("freeze", "bool", False, "Hold the picture that is out now."),
])


@dataclass
class _Glide:
    start: float
    begun: float
    seconds: float


@dataclass
class Parameters:
    """The live values of a show: the one truth, held by the stage.

    start: the show's values, to which `reset` returns. glides: seconds by name, over the table's.
    """

    table: Table = field(default_factory=lambda: TABLE)
    start: Mapping[str, Value] = field(default_factory=dict)
    glides: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._targets: dict[str, Value] = {p.name: p.default for p in self.table.values()}
        self._targets.update({name: self.table[name].coerce(v) for name, v in self.start.items()})
        self._start = dict(self._targets)
        self._travel: dict[str, _Glide] = {}

    def set(self, name: str, value: Any, now: float) -> Value:
        """Move one parameter; return the value it is on its way to. Raises Refused, or KeyError for no such name."""
        parameter = self.table[name]
        target = parameter.coerce(value)
        seconds = self.glides.get(name, parameter.glide) if parameter.glides else 0.0
        self._travel.pop(name, None) if seconds <= 0 else self._depart(name, now, seconds)
        self._targets[name] = target
        return target

    def reset(self) -> dict[str, Value]:
        """Return to the show's values at once; return those that changed."""
        changed = {n: v for n, v in self._start.items() if self._targets[n] != v or n in self._travel}
        self._targets, self._travel = dict(self._start), {}
        return changed

    def targets(self) -> dict[str, Value]:
        """Where every parameter is, or is going."""
        return dict(self._targets)

    def evaluate(self, now: float) -> dict[str, Value]:
        """Every parameter's value at `now` (monotonic seconds), glides under way included."""
        values = dict(self._targets)
        for name in list(self._travel):
            values[name] = self._at(name, now)
        return values

    def _depart(self, name: str, now: float, seconds: float) -> None:
        here = self._at(name, now) if name in self._travel else float(self._targets[name])
        self._travel[name] = _Glide(here, now, seconds)

    def _at(self, name: str, now: float) -> float:
        glide, target = self._travel[name], float(self._targets[name])
        progress = (now - glide.begun) / glide.seconds
        if progress >= 1.0:
            del self._travel[name]
            return target
        return glide.start + (target - glide.start) * max(progress, 0.0)
