"""Parameter: one live control, declared once. Parameters: the live values, with their glides."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lcm_daemon.errors import LcmDaemonError

Value = float | int | bool | str
Values = Mapping[str, Any]  # of one moment, by the parameters' names: each a Value, or a Blend while it travels
Kind = Literal["float", "int", "bool", "text", "choice"]

TEXT_LIMIT = 2000  # characters; longer text is cut, as numbers are clamped
PARTS_LIMIT = 6  # values that a blend holds: who turns back on the way, again and again, comes from no more places


@dataclass(frozen=True)
class Blend:
    """What a text or a seed is on its way to another: values with their shares, which sum to 1."""

    parts: tuple[tuple[Value, float], ...]

    @staticmethod
    def of(value: Value | Blend) -> Blend:
        """A value that stands still is a blend of one."""
        return value if isinstance(value, Blend) else Blend(((value, 1.0),))

    def towards(self, value: Value, share: float) -> Blend:
        """The blend after `share` (0 to 1) of the way from here to `value`."""
        shares = {part: weight * (1.0 - share) for part, weight in self.parts}
        shares[value] = shares.get(value, 0.0) + share
        largest = sorted(shares.items(), key=lambda pair: -pair[1])[:PARTS_LIMIT]
        total = sum(weight for _, weight in largest)
        return Blend(tuple((part, weight / total) for part, weight in largest if weight > 0.0))


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
    kind: Kind
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


_COERCE: Mapping[Kind, Callable[[Parameter, Any], Value]] = {
    "float": _number, "int": _int, "bool": _bool, "text": _text, "choice": _choice,
}

Table = Mapping[str, Parameter]


def table_of(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """Key parameters by name."""
    return {p.name: p for p in parameters}


TABLE: Table = table_of([
    Parameter("prompt", "text", "clouds", "What the picture becomes; `ocean::0.7 lava::0.3` mixes, "
              "`(word:1.3)` stresses.", glided_by="prompt_glide"),
    Parameter("prompt_b", "text", "", "A second prompt, which `blend` fades to.", glided_by="prompt_glide"),
    Parameter("blend", "float", 0.0, "From prompt (0) to prompt_b (1).", 0.0, 1.0),
    Parameter("negative_prompt", "text", "", "What it should not become; needs guidance above 1 in the model.",
              glided_by="prompt_glide"),
    Parameter("prompt_glide", "float", 0.0, "Seconds in which a new prompt is reached.", 0.0, 600.0, "s"),
    Parameter("strength", "float", 0.6, "How far the input is repainted: 0 keeps it, 1 forgets it.", 0.0, 1.0),
    Parameter("steps", "int", 2, "Denoising steps a frame: fewer are faster, more are cleaner.", 1, 8, "steps"),
    Parameter("seed", "int", 0, "Which noise the picture grows from.", 0, 2**32 - 1, glided_by="seed_glide"),
    Parameter("seed_glide", "float", 0.0, "Seconds in which a new seed is reached.", 0.0, 600.0, "s"),
    Parameter("noise", "choice", "fixed", "The seed's noise stands still, or walks on to the next seeds.",
              choices=("fixed", "walking")),
    Parameter("noise_speed", "float", 0.2, "Seeds a second that walking noise passes.", 0.0, 10.0),
    Parameter("guidance", "float", 1.0, "How firmly the prompt is followed, where the model has it.", 0.0, 20.0),
    Parameter("mode", "choice", "image", "Repaint the input (image), paint from the prompt alone (text), or from the "
              "prompt along the input's shapes, where the recipe has a ControlNet (control).",
              choices=("image", "text", "control")),
    Parameter("feedback", "float", 0.0, "How much of the last picture goes into the next input.", 0.0, 0.95),
    Parameter("smooth", "float", 0.0, "How much of the last latents stays in the next ones.", 0.0, 0.95),
    Parameter("similarity_skip", "float", 0.0, "Do not paint again while the input differs less than this from the one "
              "last painted (mean of 255 levels); 0 paints always.", 0.0, 20.0),
    Parameter("mix", "float", 1.0, "Rendered picture over the input: 0 is the input, 1 is the render.", 0.0, 1.0),
    Parameter("master", "float", 1.0, "Brightness of the output: 1 as it is, 0 is black.", 0.0, 1.0),
    Parameter("freeze", "bool", False, "Hold the picture that is out now."),
])


CURVES: Mapping[str, Callable[[float], float]] = {  # how a fade goes, from 0 to 1 over its time
    "linear": lambda way: way,
    "smooth": lambda way: way * way * (3.0 - 2.0 * way),
    "in": lambda way: way * way,
    "out": lambda way: way * (2.0 - way),
}


@dataclass
class _Glide:
    start: float | Blend
    begun: float
    seconds: float
    curve: str = "linear"


@dataclass
class Parameters:
    """The live values of a show: the one truth, held by the stage.

    start: the show's values, to which `reset` returns. glides: seconds by name, over the table's.
    """

    table: Table = field(default_factory=lambda: TABLE)
    start: Mapping[str, Value] = field(default_factory=dict)
    glides: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._targets: dict[str, Value] = {}  # of every name that there ever was: a LoRA that comes back is as it was
        self._start: dict[str, Value] = {}
        self._travel: dict[str, _Glide] = {}
        self._origins: dict[str, str] = {}  # who set it last, as in Change.origin
        self._touched: set[str] = set()  # what somebody has set since the start, or since it was reset
        self._foreseen: dict[str, tuple[Any, str]] = {}  # values and origins for names that are to come
        self.moved = ""  # the name of the one that was set last; empty while none was
        self.adopt(self.table)

    def adopt(self, table: Table) -> None:
        """Live by another table: names that stay keep their values, new ones start as the show or the table says.

        A new one goes where `foresee` has said, if that makes sense now.
        """
        self.table = table
        self._travel = {name: glide for name, glide in self._travel.items() if name in table}
        self._start = {p.name: p.coerce(self.start.get(p.name, p.default)) for p in table.values()}
        self._targets = {**self._start, **self._targets}
        for name in self._foreseen.keys() & table.keys():
            value, origin = self._foreseen.pop(name)
            with contextlib.suppress(Refused):
                self.fade(name, value, 0.0, 0.0, origin=origin)

    def set(self, name: str, value: Any, now: float, origin: str = "") -> Value:
        """Move one parameter; return the value it is on its way to. Raises Refused, or KeyError for no such name.

        It glides as the show and the table say. A fade that was under way is over: the newest move counts.
        origin: who moves it, for `origin`.
        """
        return self.fade(name, value, now, self._seconds(self.table[name]), origin=origin)

    def fade(
        self, name: str, value: Any, now: float, seconds: float, curve: str = "linear", origin: str = "",
    ) -> Value:
        """Move one parameter in so many seconds, by a curve of CURVES. What is no number, prompt or seed jumps."""
        parameter = self.table[name]
        target = parameter.coerce(value)
        travels = seconds > 0.0 and (parameter.glides or parameter.kind == "int")
        self._depart(parameter, now, seconds, curve) if travels else self._travel.pop(name, None)
        self._targets[name] = target
        self._origins[name], self.moved = origin, name
        self._touched.add(name)
        return target

    def follow(self, name: str, now: float) -> None:
        """Move one that nobody has touched to where the recipe has it that plays now."""
        self.set(name, self._start[name], now, "recipe")
        self._touched.discard(name)

    def foresee(self, name: str, value: Any, origin: str = "") -> None:
        """Where one is to go that comes with the recipe on its way."""
        self._foreseen[name] = value, origin

    def untouched(self, name: str) -> bool:
        """Whether nobody has set it since the show began, or since everything was reset."""
        return name not in self._touched

    def touched(self) -> dict[str, Value]:
        """Where everything is, or is going, that somebody has set since the start."""
        return {name: self._targets[name] for name in self.table if name in self._touched}

    def reset(self, origin: str = "") -> dict[str, Value]:
        """Return to the show's values at once, but for what is no look; return those that changed."""
        looks = {name: value for name, value in self._start.items() if self.table[name].look}
        changed = {n: v for n, v in looks.items() if self._targets[n] != v or n in self._travel}
        self._targets, self._travel = {**self._targets, **looks}, {}
        self._origins |= dict.fromkeys(changed, origin)
        self._touched -= looks.keys()
        self._foreseen.clear()
        return changed

    def shown(self) -> Table:
        """The table as controllers show it: the default is where this show starts."""
        return {name: replace(parameter, default=self._start[name]) for name, parameter in self.table.items()}

    def origin(self, name: str) -> str:
        """Who set a parameter last; empty where nobody has since the show began."""
        return self._origins.get(name, "")

    def targets(self) -> dict[str, Value]:
        """Where every parameter is, or is going."""
        return {name: self._targets[name] for name in self.table}

    def evaluate(self, now: float) -> dict[str, Any]:
        """Every parameter's value at `now` (monotonic seconds), glides under way included."""
        values: dict[str, Any] = self.targets()
        for name in list(self._travel):
            values[name] = self._at(name, now)
        return values

    def _seconds(self, parameter: Parameter) -> float:
        """The fader that says how long, where there is one and it is up; else what the show says."""
        live = float(self._targets.get(parameter.glided_by, 0.0))
        return live or (self.glides.get(parameter.name, parameter.glide) if parameter.glides else 0.0)

    def _depart(self, parameter: Parameter, now: float, seconds: float, curve: str) -> None:
        name = parameter.name
        here = self._at(name, now) if name in self._travel else self._targets[name]
        start = Blend.of(here) if isinstance(here, Blend) or parameter.glided_by else float(here)
        self._travel[name] = _Glide(start, now, seconds, curve)

    def _at(self, name: str, now: float) -> Value | Blend:
        glide, target = self._travel[name], self._targets[name]
        progress = max((now - glide.begun) / glide.seconds, 0.0)
        if progress >= 1.0:
            del self._travel[name]
            return target
        share = CURVES[glide.curve](progress)
        if isinstance(glide.start, Blend):
            return glide.start.towards(target, share)
        number = glide.start + (float(target) - glide.start) * share
        return round(number) if self.table[name].kind == "int" else number
