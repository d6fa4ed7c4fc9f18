"""Parameters: the live values of a show, with their glides and fades."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lcm_daemon.core.float32 import float32
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import DRAW, Parameter, Table, Value

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
    """A value on its way.

    Attributes:
        start: Value that it comes from.
        begun: When it began, monotonic seconds.
        seconds: How long it takes.
        curve: Key of FADE_CURVES.
        held: Progress, 0 to 1, that it stays at; None while it moves.
        paused: Whether `resume` lets it move again.
    """

    start: float | Blend
    begun: float
    seconds: float
    curve: str = "linear"
    held: float | None = None
    paused: bool = False

    def progress(self, now: float) -> float:
        """Progress over its time, 0 to 1."""
        if self.held is not None:
            return self.held
        return min(max((now - self.begun) / self.seconds, 0.0), 1.0)


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
        self._drawn: dict[str, Value] = {}  # what was drawn for a start value of DRAW: once, for every reset
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
        self._start = {p.name: self._start_of(p) for p in table.values()}
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

    def move(self, name: str, value: Any, now: float, origin: str = "") -> Value | None:
        """As `set`, for the move of a controller. A move to the target already set is none: it ends no fade.

        Returns:
            The value that it glides to, or None if it was the target already.
        """
        target, before, glide = self.table[name].coerce(value), self._targets[name], self._travel.get(name)
        is_held = glide is not None and glide.held is not None and not glide.paused  # not on its way to the target
        same = target == before or (isinstance(target, float) and float32(target) == float32(float(before)))
        if same and not is_held:
            return None
        return self.set(name, target, now, origin)

    def fade(
        self, name: str, value: Any, now: float, seconds: float, curve: str = "linear", origin: str = "",
    ) -> Value:
        """As `set`, in this many seconds and by a curve of FADE_CURVES. Booleans and choices jump."""
        parameter = self.table[name]
        target = parameter.drawn(parameter.coerce(value))
        if seconds > 0.0 and (parameter.glides or parameter.kind == "int"):
            self._start_glide(parameter, now, seconds, curve)
        else:
            self._travel.pop(name, None)
        self._targets[name] = target
        self._origins[name], self.moved = origin, name
        self._touched.add(name)
        self.revision += 1
        return target

    def hold(self, name: str, start: Value | Blend, value: Any, share: float, now: float, origin: str = "") -> Value:
        """Put one parameter at `share` (0 to 1) of the way from `start` to a value, where it stays.

        A text or a seed is blended, with the nearer value as its target. A boolean or a choice has the new value as
        soon as `share` is above 0.

        Returns:
            The value, or the target of a blend.

        Raises:
            Refused: The value is invalid.
            KeyError: The name is unknown.
        """
        parameter = self.table[name]
        target = parameter.drawn(parameter.coerce(value))
        if parameter.glided_by:
            mix = Blend.of(start).towards(target, share)
            held = self.fade(name, max(mix.parts, key=lambda part: part[1])[0], now, 0.0, origin=origin)
            if len(mix.parts) > 1:
                self._travel[name] = _Glide(mix, now, 1.0, held=0.0)
            return held
        if isinstance(start, Blend) or isinstance(target, str | bool):
            return self.fade(name, target if share > 0.0 else start, now, 0.0, origin=origin)
        return self.fade(name, float(start) + (float(target) - float(start)) * share, now, 0.0, origin=origin)

    def follow_recipe(self, name: str, now: float) -> None:
        """Set a parameter that is untouched to the start value of the recipe that plays now."""
        self.set(name, self._start[name], now, "recipe")
        self._touched.discard(name)

    def is_untouched(self, name: str) -> bool:
        """Whether the parameter has not been set since the start or the last reset."""
        return name not in self._touched

    def touched(self) -> dict[str, Value]:
        """Target values of all parameters that have been set, or drawn, since the start or the last reset."""
        return {name: self._targets[name] for name in self.table if name in self._touched or name in self._drawn}

    def reset(self, origin: str = "", now: float = 0.0, seconds: float = 0.0) -> dict[str, Value]:
        """Return to the show's values, except for parameters that are not part of a look.

        Args:
            origin: Who resets them, as in Change.origin.
            now: Monotonic seconds.
            seconds: How long numbers, prompts and seeds take; everything else changes at once.

        Returns:
            The values that changed.
        """
        look = {name: value for name, value in self._start.items() if self.table[name].look}
        changed = {n: v for n, v in look.items() if self._targets[n] != v or n in self._travel}
        if seconds > 0.0:
            self.resume(now)
            for name, value in changed.items():
                self.fade(name, value, now, seconds, origin=origin)
        else:
            self._targets, self._travel = {**self._targets, **look}, {}
            self._origins |= dict.fromkeys(changed, origin)
        self._touched -= look.keys()
        self.revision += 1
        return changed

    # --- fades on their way; `prefix` is how the origin of their last move begins, or several of these ---

    def pause(self, prefix: str | tuple[str, ...], now: float) -> None:
        """Stop fades where they are until `resume`."""
        for name in self._moving(prefix, now):
            glide = self._travel[name]
            glide.held, glide.paused = glide.progress(now), True

    def resume(self, now: float) -> None:
        """Continue the fades that were paused, with the time that they had left."""
        for glide in self._travel.values():
            if glide.paused and glide.held is not None:
                glide.begun, glide.held, glide.paused = now - glide.held * glide.seconds, None, False

    def stop(self, prefix: str | tuple[str, ...], now: float) -> dict[str, Value]:
        """End fades where they are. Return the new targets.

        A text or a seed that is blended stays blended; its target is the value with the larger share.
        """
        self.resume(now)
        stopped: dict[str, Value] = {}
        for name in self._moving(prefix, now):
            here, origin = self._at(name, now), self._origins.get(name, "")
            value = here.parts[0][0] if isinstance(here, Blend) else here
            stopped[name] = self.hold(name, here, value, 0.0, now, origin)
        return stopped

    def fade_progress(self, prefix: str | tuple[str, ...], now: float) -> tuple[float, float]:
        """Progress (0 to 1) and seconds left of the fade that ends last; (1, 0) if nothing fades."""
        fades = [self._travel[name] for name in (*self._moving(prefix, now), *self._paused())]
        left = [((1.0 - fade.progress(now)) * fade.seconds, fade.progress(now)) for fade in fades]
        seconds, progress = max(left, default=(0.0, 1.0))
        return progress, seconds

    def _moving(self, prefix: str | tuple[str, ...], now: float) -> list[str]:
        return [name for name, glide in self._travel.items()
                if glide.held is None and glide.progress(now) < 1.0 and self._origins.get(name, "").startswith(prefix)]

    def _paused(self) -> list[str]:
        return [name for name, glide in self._travel.items() if glide.paused]

    def shown(self) -> Table:
        """The table for controllers: the defaults are the show's start values."""
        return {name: replace(parameter, default=self._start[name]) for name, parameter in self.table.items()}

    def origin(self, name: str) -> str:
        """Who set a parameter last; empty if it has not been set since the show began."""
        return self._origins.get(name, "")

    def targets(self) -> dict[str, Value]:
        """Every parameter's value, or the value that it glides to."""
        if len(self._targets) == len(self.table):  # asked hundreds of times a second
            return dict(self._targets)
        return {name: self._targets[name] for name in self.table}

    def resting(self) -> dict[str, Value | Blend]:
        """As `targets`, with a Blend where a crossfade or a stop has left a value between two."""
        held = {name: glide.start for name, glide in self._travel.items()
                if isinstance(glide.start, Blend) and glide.held is not None and not glide.paused}
        return {**self.targets(), **held}

    def at(self, name: str, now: float) -> Any:
        """One parameter's value at `now` (monotonic seconds): a Value, or a Blend while it glides."""
        return self._at(name, now) if name in self._travel else self._targets[name]

    def evaluate(self, now: float) -> dict[str, Any]:
        """Every parameter's value at `now` (monotonic seconds), on its way where it glides."""
        values: dict[str, Any] = self.targets()
        for name in list(self._travel):
            values[name] = self._at(name, now)
        return values

    def _start_of(self, parameter: Parameter) -> Value:
        start = parameter.coerce(self.start.get(parameter.name, parameter.default))
        if parameter.draws and start == DRAW:
            return self._drawn.setdefault(parameter.name, parameter.drawn(start))
        return start

    def _seconds(self, parameter: Parameter) -> float:
        """The live value of its glide parameter if that is above 0; otherwise what the show or the table says."""
        live = float(self._targets.get(parameter.glided_by, 0.0))
        return live or (self.glides.get(parameter.name, parameter.glide) if parameter.glides else 0.0)

    def _start_glide(self, parameter: Parameter, now: float, seconds: float, curve: str) -> None:
        name = parameter.name
        here = self.at(name, now)
        start = Blend.of(here) if isinstance(here, Blend) or parameter.glided_by else float(here)
        self._travel[name] = _Glide(start, now, seconds, curve)

    def _at(self, name: str, now: float) -> Value | Blend:
        glide, target = self._travel[name], self._targets[name]
        progress = glide.progress(now)
        if progress >= 1.0:
            del self._travel[name]
            return target
        share = FADE_CURVES[glide.curve](progress)
        if isinstance(glide.start, Blend):
            return glide.start.towards(target, share)
        number = glide.start + (float(target) - glide.start) * share
        return round(number) if self.table[name].kind == "int" else number
