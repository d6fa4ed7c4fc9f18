"""Parameters: the live values of a show, with their glides and fades."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Table, Value

MAX_BLEND_PARTS = 6  # a glide that changes direction again and again blends at most this many values


@dataclass(frozen=True)
class Blend:
    """A text or a seed on its way to another: values with their shares, which sum to 1."""

    parts: tuple[tuple[Value, float], ...]

    @staticmethod
    def of(value: Value | Blend) -> Blend:
        """A single value as a blend of one."""
        return value if isinstance(value, Blend) else Blend(((value, 1.0),))

    def towards(self, value: Value, share: float) -> Blend:
        """The blend after `share` (0 to 1) of the way from here to `value`."""
        shares = {part: weight * (1.0 - share) for part, weight in self.parts}
        shares[value] = shares.get(value, 0.0) + share
        largest = sorted(shares.items(), key=lambda pair: -pair[1])[:MAX_BLEND_PARTS]
        total = sum(weight for _, weight in largest)
        return Blend(tuple((part, weight / total) for part, weight in largest if weight > 0.0))


FADE_CURVES: Mapping[str, Callable[[float], float]] = {  # progress of a fade, 0 to 1, over its time, 0 to 1
    "linear": lambda share: share,
    "smooth": lambda share: share * share * (3.0 - 2.0 * share),
    "in": lambda share: share * share,
    "out": lambda share: share * (2.0 - share),
}


@dataclass
class _Glide:
    start: float | Blend
    begun: float
    seconds: float
    curve: str = "linear"


@dataclass
class Parameters:
    """The live values of a show. The stage holds the only authoritative instance.

    Attributes:
        table: The parameters.
        start: The show's values, which `reset` returns to.
        glides: Seconds by parameter name; they override the table's.
    """

    table: Table = field(default_factory=lambda: TABLE)
    start: Mapping[str, Value] = field(default_factory=dict)
    glides: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Of every parameter that the table ever had: a LoRA that returns with its recipe has its former value.
        self._targets: dict[str, Value] = {}
        self._start: dict[str, Value] = {}
        self._travel: dict[str, _Glide] = {}
        self._origins: dict[str, str] = {}  # who set each one last, as in Change.origin
        self._touched: set[str] = set()  # set since the start or the last reset
        self.revision = 0  # counts every change of a value or of the table; a glide that moves is not a change
        self.moved = ""  # name of the parameter that was set last; empty at first
        self.replace_table(self.table)

    def replace_table(self, table: Table) -> None:
        """Use another table. Parameters in both keep their values; new ones start as the show or the table says."""
        self.table = table
        self._travel = {name: glide for name, glide in self._travel.items() if name in table}
        self._start = {p.name: p.coerce(self.start.get(p.name, p.default)) for p in table.values()}
        self._targets = {**self._start, **self._targets}
        self.revision += 1

    def set(self, name: str, value: Any, now: float, origin: str = "") -> Value:
        """Set one parameter, with the glide of the show and the table. It ends a fade of the parameter.

        Args:
            name: A parameter's name.
            value: The new value, coerced.
            now: Monotonic seconds.
            origin: Who sets it, as in Change.origin.

        Returns:
            The value that it glides to.

        Raises:
            Refused: The value is invalid.
            KeyError: The name is unknown.
        """
        return self.fade(name, value, now, self._seconds(self.table[name]), origin=origin)

    def fade(
        self, name: str, value: Any, now: float, seconds: float, curve: str = "linear", origin: str = "",
    ) -> Value:
        """As `set`, in this many seconds and by a curve of FADE_CURVES. Booleans and choices jump."""
        parameter = self.table[name]
        target = parameter.coerce(value)
        if seconds > 0.0 and (parameter.glides or parameter.kind == "int"):
            self._start_glide(parameter, now, seconds, curve)
        else:
            self._travel.pop(name, None)
        self._targets[name] = target
        self._origins[name], self.moved = origin, name
        self._touched.add(name)
        self.revision += 1
        return target

    def follow_recipe(self, name: str, now: float) -> None:
        """Set a parameter that is untouched to the start value of the recipe that plays now."""
        self.set(name, self._start[name], now, "recipe")
        self._touched.discard(name)

    def is_untouched(self, name: str) -> bool:
        """Whether the parameter has not been set since the start or the last reset."""
        return name not in self._touched

    def touched(self) -> dict[str, Value]:
        """Target values of all parameters that have been set since the start or the last reset."""
        return {name: self._targets[name] for name in self.table if name in self._touched}

    def reset(self, origin: str = "") -> dict[str, Value]:
        """Return to the show's values at once, except for parameters that are not part of a look.

        Returns:
            The values that changed.
        """
        look = {name: value for name, value in self._start.items() if self.table[name].look}
        changed = {n: v for n, v in look.items() if self._targets[n] != v or n in self._travel}
        self._targets, self._travel = {**self._targets, **look}, {}
        self._origins |= dict.fromkeys(changed, origin)
        self._touched -= look.keys()
        self.revision += 1
        return changed

    def shown(self) -> Table:
        """The table for controllers: the defaults are the show's start values."""
        return {name: replace(parameter, default=self._start[name]) for name, parameter in self.table.items()}

    def origin(self, name: str) -> str:
        """Who set a parameter last; empty if it has not been set since the show began."""
        return self._origins.get(name, "")

    def targets(self) -> dict[str, Value]:
        """Every parameter's value, or the value that it glides to."""
        return {name: self._targets[name] for name in self.table}

    def evaluate(self, now: float) -> dict[str, Any]:
        """Every parameter's value at `now` (monotonic seconds), on its way where it glides."""
        values: dict[str, Any] = self.targets()
        for name in list(self._travel):
            values[name] = self._at(name, now)
        return values

    def _seconds(self, parameter: Parameter) -> float:
        """The live value of its glide parameter if that is above 0; otherwise what the show or the table says."""
        live = float(self._targets.get(parameter.glided_by, 0.0))
        return live or (self.glides.get(parameter.name, parameter.glide) if parameter.glides else 0.0)

    def _start_glide(self, parameter: Parameter, now: float, seconds: float, curve: str) -> None:
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
        share = FADE_CURVES[glide.curve](progress)
        if isinstance(glide.start, Blend):
            return glide.start.towards(target, share)
        number = glide.start + (float(target) - glide.start) * share
        return round(number) if self.table[name].kind == "int" else number
