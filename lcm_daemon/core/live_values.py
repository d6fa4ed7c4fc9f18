"""Parameters: the live values of a show, with their glides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Table, Value

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


FADE_CURVES: Mapping[str, Callable[[float], float]] = {  # how a fade goes, from 0 to 1 over its time
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
        self.revision = 0  # counts every change of a value or of the table; a glide that moves on is none
        self.moved = ""  # the name of the one that was set last; empty while none was
        self.replace_table(self.table)

    def replace_table(self, table: Table) -> None:
        """Live by another table: names that stay keep their values, new ones start as the show or the table says."""
        self.table = table
        self._travel = {name: glide for name, glide in self._travel.items() if name in table}
        self._start = {p.name: p.coerce(self.start.get(p.name, p.default)) for p in table.values()}
        self._targets = {**self._start, **self._targets}
        self.revision += 1

    def set(self, name: str, value: Any, now: float, origin: str = "") -> Value:
        """Move one parameter; return the value it is on its way to. Raises Refused, or KeyError for no such name.

        It glides as the show and the table say. A fade that was under way is over: the newest move counts.
        origin: who moves it, for `origin`.
        """
        return self.fade(name, value, now, self._seconds(self.table[name]), origin=origin)

    def fade(
        self, name: str, value: Any, now: float, seconds: float, curve: str = "linear", origin: str = "",
    ) -> Value:
        """Move one parameter in so many seconds, by a curve of FADE_CURVES. What is no number, prompt or seed jumps."""
        parameter = self.table[name]
        target = parameter.coerce(value)
        travels = seconds > 0.0 and (parameter.glides or parameter.kind == "int")
        self._depart(parameter, now, seconds, curve) if travels else self._travel.pop(name, None)
        self._targets[name] = target
        self._origins[name], self.moved = origin, name
        self._touched.add(name)
        self.revision += 1
        return target

    def follow_recipe(self, name: str, now: float) -> None:
        """Move one that nobody has touched to where the recipe has it that plays now."""
        self.set(name, self._start[name], now, "recipe")
        self._touched.discard(name)

    def is_untouched(self, name: str) -> bool:
        """Whether nobody has set it since the show began, or since everything was reset."""
        return name not in self._touched

    def touched(self) -> dict[str, Value]:
        """Where everything is, or is going, that somebody has set since the start."""
        return {name: self._targets[name] for name in self.table if name in self._touched}

    def reset(self, origin: str = "") -> dict[str, Value]:
        """Return to the show's values at once, but for what is no look; return those that changed."""
        resume_file = {name: value for name, value in self._start.items() if self.table[name].look}
        changed = {n: v for n, v in resume_file.items() if self._targets[n] != v or n in self._travel}
        self._targets, self._travel = {**self._targets, **resume_file}, {}
        self._origins |= dict.fromkeys(changed, origin)
        self._touched -= resume_file.keys()
        self.revision += 1
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
        share = FADE_CURVES[glide.curve](progress)
        if isinstance(glide.start, Blend):
            return glide.start.towards(target, share)
        number = glide.start + (float(target) - glide.start) * share
        return round(number) if self.table[name].kind == "int" else number
