"""Aliases: addresses of other tools, and the show's own, that stand for parameters and commands.

The profiles hold what was found in the tools themselves, and nothing that has no counterpart here:

    streamdiffusiontd   its handlers, as in StreamDiffusionTD/main_sdtd.py (github.com/smon1127/StreamDiffusion at
                        ebeaf38) and in the OSC handler of its later versions, both on UDP port 8247.
                        Left out: /delta, /num_inference_steps, the /fx/ tree, ControlNets and IP-Adapters as JSON.
    scope               docs/osc.md and src/scope/server/osc_docs.py (github.com/daydreamlive/scope, 68b0f95), on UDP
                        port 8000. Left out: transitions in steps, caches, VACE, and the paths of a user's own graph.
    bare                plain names, as small scripts around diffusers have them
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lcm_daemon.controllers.curves import CURVES, clamp
from lcm_daemon.controllers.osc.dispatch import blended
from lcm_daemon.core.parameters import Parameter, Refused, Value

MAP = "map"  # the show's own aliases, as a subscriber asks for them
_SCHEDULE = 50  # timesteps of StreamDiffusion's schedule, which a t_list counts in

Read = Callable[[Sequence[Any]], Sequence[Any]]
Write = Callable[[Value], Value | None]


def _as_they_are(arguments: Sequence[Any]) -> Sequence[Any]:
    return arguments


def _as_it_is(value: Value) -> Value | None:
    return value


def _silent(value: Value) -> Value | None:
    return None


@dataclass(frozen=True)
class Alias:
    """An address that stands for a parameter or a command.

    read: its arguments to the parameter's own; raises Refused.   write: a value as feedback; None where there is none.
    trigger: without arguments it acts, where others ask.
    """

    address: str
    to: str
    read: Read = _as_they_are
    write: Write = _as_it_is
    trigger: bool = False


@dataclass(frozen=True)
class Mapped:
    """One entry of a show's `map`. `span` and `taken`: the parameter's range, and that of the argument at `argument`.

    Without a curve, a span and a range taken, the arguments are passed on as they are.
    """

    address: str
    to: str
    span: tuple[float, float] | None = None
    taken: tuple[float, float] | None = None
    curve: str | None = None
    argument: int = 0

    def alias(self, parameter: Parameter | None) -> Alias:
        """The alias it makes; `parameter` is what it moves, None for a command."""
        if parameter is None:
            return Alias(self.address, self.to, write=_silent)
        if not (self.span or self.taken or self.curve):
            if self.argument:
                return Alias(self.address, self.to, lambda arguments: [self._pick(arguments)], _silent)
            return Alias(self.address, self.to)
        scale = _Scale(self.taken or (0.0, 1.0), self.span or _range(parameter), self.curve or "linear", parameter)
        return Alias(self.address, self.to, lambda arguments: [scale.there(self._pick(arguments))],
                     _silent if self.argument else scale.back)

    def _pick(self, arguments: Sequence[Any]) -> Any:
        if len(arguments) <= self.argument:
            raise Refused(f"{self.address} has no argument {self.argument}")
        return arguments[self.argument]


@dataclass(frozen=True)
class _Scale:
    """From a fader's range over a curve to a parameter's, and back."""

    taken: tuple[float, float]
    span: tuple[float, float]
    curve: str
    parameter: Parameter

    def there(self, value: Any) -> float:
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise Refused(f"{self.parameter.name} takes a number here, not {value!r:.80}")
        (low, high), (start, end) = self.taken, self.span
        return start + (end - start) * CURVES[self.curve].there(clamp((value - low) / (high - low)))

    def back(self, value: Value) -> float | None:
        choices = self.parameter.choices
        number = choices.index(value) if isinstance(value, str) and value in choices else value
        if isinstance(number, str):
            return None
        (low, high), (start, end) = self.taken, self.span
        return low + (high - low) * CURVES[self.curve].back(clamp((number - start) / (end - start)))


def _range(parameter: Parameter) -> tuple[float, float]:
    if parameter.choices:
        return 0.0, float(len(parameter.choices) - 1) or 1.0
    return (parameter.low, parameter.high) if math.isfinite(parameter.high - parameter.low) else (0.0, 1.0)


def _weighted(arguments: Sequence[Any]) -> list[tuple[Any, float]]:
    """A JSON list of [item, weight] pairs, as StreamDiffusionTD sends them."""
    try:
        return [(item, float(weight)) for item, weight in json.loads(str(arguments[0]))]
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused(f"a list such as [[\"ocean\", 0.7]] is wanted, not {arguments[0]!r:.80}") from error


def _prompt_list(arguments: Sequence[Any]) -> Sequence[Any]:
    return [blended([part for text, weight in _weighted(arguments) for part in (str(text), weight)])]


def _seed_list(arguments: Sequence[Any]) -> Sequence[Any]:
    """The seed that weighs most: noises are not blended at rest here."""
    seeds = _weighted(arguments)
    if not seeds:
        raise Refused("a list of seeds is empty")
    return [max(seeds, key=lambda pair: pair[1])[0]]


def _first_timestep(arguments: Sequence[Any]) -> Sequence[Any]:
    if not isinstance(arguments[0], int | float):
        raise Refused(f"a t_list holds numbers, not {arguments[0]!r:.80}")
    return [1.0 - arguments[0] / _SCHEDULE]


def _count(arguments: Sequence[Any]) -> Sequence[Any]:
    return [len(arguments)]


def _named(names: Mapping[str, str]) -> tuple[Read, Write]:
    """A choice under other names, and back."""

    def read(arguments: Sequence[Any]) -> Sequence[Any]:
        if arguments[0] not in names:
            raise Refused(f"it is one of {', '.join(names)}, not {arguments[0]!r:.80}")
        return [names[arguments[0]]]

    others = {own: other for other, own in names.items()}
    return read, lambda value: others.get(str(value))


PROFILES: Mapping[str, tuple[Alias, ...]] = {
    "bare": (
        *(Alias(f"/{name}", name) for name in ("prompt", "negative_prompt", "strength", "steps", "seed", "blend")),
        Alias("/guidance_scale", "guidance"),
    ),
    "streamdiffusiontd": (
        *(Alias(f"/{name}", name) for name in ("prompt", "negative_prompt", "seed")),
        Alias("/guidance_scale", "guidance"),
        Alias("/prompt_list", "prompt", _prompt_list, _silent),
        Alias("/seed_list", "seed", _seed_list, _silent),
        Alias("/t_list", "strength", _first_timestep, _silent),
        Alias("/t_list", "steps", _count, _silent),
        Alias("/sdmode", "mode", *_named({"txt2img": "text", "img2img": "image"})),
        Alias("/pause", "freeze", lambda _: [True], _silent, trigger=True),
        Alias("/play", "freeze", lambda _: [False], _silent, trigger=True),
    ),
    "scope": (
        Alias("/scope/prompt", "prompt"),
        Alias("/scope/noise_scale", "strength"),
        Alias("/scope/denoising_step_list", "steps", _count, _silent),
        Alias("/scope/input_mode", "mode", *_named({"text": "text", "video": "image"})),
        Alias("/scope/paused", "freeze"),
    ),
}


class Aliases:
    """The aliases of a show, while `table` and `commands` are what there is. The first of a name's owners has it."""

    def __init__(
        self, profiles: Sequence[str], mapped: Sequence[Mapped], table: Mapping[str, Parameter],
        commands: Mapping[str, Any],
    ) -> None:
        own = [entry.alias(table.get(entry.to)) for entry in mapped if entry.to in table or entry.to in commands]
        self._words = {MAP: own} | {
            profile: [alias for alias in PROFILES[profile] if alias.to in table] for profile in profiles}
        self.targets: dict[str, tuple[Alias, ...]] = {}
        for aliases in self._words.values():
            found: dict[str, tuple[Alias, ...]] = {}
            for alias in aliases:
                found[alias.address] = (*found.get(alias.address, ()), alias)
            self.targets = {**found, **self.targets}
        self._by_target = {
            (word, name): [alias for alias in aliases if alias.to == name]
            for word, aliases in self._words.items() for name in {alias.to for alias in aliases}}

    @property
    def words(self) -> Sequence[str]:
        """What a subscriber can ask for beside the daemon's own addresses."""
        return list(self._words)

    def feedback(self, name: str, value: Value, word: str) -> Iterator[tuple[str, Value]]:
        """A parameter's value under the addresses of one profile, or of the map."""
        for alias in self._by_target.get((word, name), ()):
            written = alias.write(value)
            if written is not None:
                yield alias.address, written
