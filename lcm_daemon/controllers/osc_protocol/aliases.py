"""Addresses of other tools, and the show's own addresses, for parameters and commands.

A profile holds the addresses that were found in the tool itself and that have a counterpart here:

    streamdiffusiontd   the handlers in StreamDiffusionTD/main_sdtd.py (github.com/smon1127/StreamDiffusion at ebeaf38)
                        and in the OSC handler of its later versions, both on UDP port 8247. Not included: /delta,
                        /num_inference_steps, the /fx/ tree, ControlNets and IP-Adapters as JSON.
    scope               docs/osc.md and src/scope/server/osc_docs.py (github.com/daydreamlive/scope, 68b0f95), on UDP
                        port 8000. Not included: transitions in steps, caches, VACE, and paths of a user's own graph.
    bare                plain names, as small scripts around diffusers use them

A *namespace* is a set of addresses that a subscriber can choose: the daemon's own ("lcm"), the show's map ("map"), or
one of the profiles.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lcm_daemon.controllers.curves import FADER_CURVES, clamp
from lcm_daemon.controllers.osc_protocol.dispatch import (
    is_question,
    is_release,
    run_command,
    set_parameter,
    weighted_prompt,
)
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Parameter, Refused, Value

OWN_NAMESPACE = "lcm"  # the daemon's own addresses
MAP_NAMESPACE = "map"  # the addresses of the show's `osc.map`
_SCHEDULE_LENGTH = 50  # timesteps of StreamDiffusion's schedule; a t_list holds indices into it

ReadArguments = Callable[[Sequence[Any]], Sequence[Any] | None]
WriteValue = Callable[[Value], Value | None]


def _same_arguments(arguments: Sequence[Any]) -> Sequence[Any]:
    return arguments


def _same_value(value: Value) -> Value | None:
    return value


def _no_feedback(value: Value) -> Value | None:
    return None


@dataclass(frozen=True)
class Alias:
    """An address for a parameter or a command.

    Attributes:
        address: The OSC address.
        to: Name of the parameter or command.
        read: Converts the message's arguments to those of the parameter or command; None does nothing. Raises Refused.
        write: Converts a value to the argument of a feedback message; None sends no feedback.
        trigger: A message without arguments sets the parameter instead of asking for its value.
        argument: How OSCQuery describes the argument; None describes that of the parameter or command.
        scales: Whether every finite number, as the first argument, is converted to a value of the parameter.
    """

    address: str
    to: str
    read: ReadArguments = _same_arguments
    write: WriteValue = _same_value
    trigger: bool = False
    argument: Parameter | None = None
    scales: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the arguments are those of the parameter or command."""
        return self.read is _same_arguments

    @property
    def has_feedback(self) -> bool:
        """Whether the address can be asked for its value."""
        return self.write is not _no_feedback


@dataclass(frozen=True)
class MapEntry:
    """One entry of a show's `osc.map`.

    Without `span`, `input_range`, `curve` and `fixed`, the arguments are passed on unchanged.

    Attributes:
        address: The OSC address.
        to: Name of the parameter or command.
        span: Values of the parameter at the fader's two ends, or None for its own range.
        input_range: What the fader sends at its two ends, or None for (0, 1).
        curve: Key of FADER_CURVES, or None for linear.
        argument: Index of the message's argument that counts.
        fixed: The arguments in place of the message's own; a released button does nothing.
        is_value: Whether `fixed` is a value of the parameter, which a lamp can show.
    """

    address: str
    to: str
    span: tuple[float, float] | None = None
    input_range: tuple[float, float] | None = None
    curve: str | None = None
    argument: int = 0
    fixed: tuple[Value, ...] = ()
    is_value: bool = False

    def alias(self, parameter: Parameter | None) -> Alias:
        """Build the alias. `parameter` is the target, or None for a command."""
        if self.fixed:
            return self._button(parameter)
        if parameter is None:
            return Alias(self.address, self.to, write=_no_feedback)
        if not (self.span or self.input_range or self.curve):
            if self.argument:
                return Alias(self.address, self.to, lambda arguments: [self._pick(arguments)], _no_feedback)
            return Alias(self.address, self.to)
        scale = _FaderScale(
            self.input_range or (0.0, 1.0), self.span or _value_range(parameter), self.curve or "linear", parameter)
        low, high = sorted(scale.input_range)
        return Alias(self.address, self.to, lambda arguments: [scale.to_value(self._pick(arguments))],
                     _no_feedback if self.argument else scale.to_fader,
                     argument=Parameter(self.to, "float", low, parameter.help, low, high), scales=not self.argument)

    def _button(self, parameter: Parameter | None) -> Alias:
        """An alias of which any message, but that of a released button, carries the same arguments."""
        write: WriteValue = _no_feedback
        if parameter is not None and self.is_value:
            try:
                pressed = parameter.coerce(self.fixed[0])
            except Refused:
                pressed = ""  # logged with each message
            write = lambda value: value == pressed  # noqa: E731
        return Alias(self.address, self.to, self._read_button, write, trigger=True,
                     argument=Parameter(self.to, "bool", False, parameter.help if parameter else ""))

    def _read_button(self, arguments: Sequence[Any]) -> Sequence[Any] | None:
        return None if len(arguments) > self.argument and is_release(arguments[self.argument]) else self.fixed

    def _pick(self, arguments: Sequence[Any]) -> Any:
        if len(arguments) <= self.argument:
            raise Refused(f"{self.address} has no argument {self.argument}")
        return arguments[self.argument]


@dataclass(frozen=True)
class _FaderScale:
    """Maps a fader's range over a curve to a parameter's range, and back."""

    input_range: tuple[float, float]
    span: tuple[float, float]
    curve: str
    parameter: Parameter

    def to_value(self, value: Any) -> float:
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise Refused(f"{self.parameter.name} needs a finite number here, not {value!r:.80}")
        (low, high), (start, end) = self.input_range, self.span
        return start + (end - start) * FADER_CURVES[self.curve].forward(clamp((value - low) / (high - low)))

    def to_fader(self, value: Value) -> float | None:
        choices = self.parameter.choices
        number = choices.index(value) if isinstance(value, str) and value in choices else value
        if isinstance(number, str):
            return None
        (low, high), (start, end) = self.input_range, self.span
        return low + (high - low) * FADER_CURVES[self.curve].inverse(clamp((number - start) / (end - start)))


def _value_range(parameter: Parameter) -> tuple[float, float]:
    if parameter.choices:
        return 0.0, float(len(parameter.choices) - 1) or 1.0
    return (parameter.low, parameter.high) if math.isfinite(parameter.high - parameter.low) else (0.0, 1.0)


def _weighted_items(arguments: Sequence[Any]) -> list[tuple[Any, float]]:
    """Parse a JSON list of [item, weight] pairs, as StreamDiffusionTD sends it."""
    try:
        return [(item, float(weight)) for item, weight in json.loads(str(arguments[0]))]
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused(f"{arguments[0]!r:.80} is not a JSON list such as [[\"ocean\", 0.7]]") from error


def _read_prompt_list(arguments: Sequence[Any]) -> Sequence[Any]:
    return [weighted_prompt([part for text, weight in _weighted_items(arguments) for part in (str(text), weight)])]


def _read_seed_list(arguments: Sequence[Any]) -> Sequence[Any]:
    """The seed with the highest weight: a blend of several noises at rest is not supported."""
    seeds = _weighted_items(arguments)
    if not seeds:
        raise Refused("the list of seeds is empty")
    return [max(seeds, key=lambda pair: pair[1])[0]]


def _read_first_timestep(arguments: Sequence[Any]) -> Sequence[Any]:
    if not isinstance(arguments[0], int | float):
        raise Refused(f"a t_list holds numbers, not {arguments[0]!r:.80}")
    return [1.0 - arguments[0] / _SCHEDULE_LENGTH]


def _count_arguments(arguments: Sequence[Any]) -> Sequence[Any]:
    return [len(arguments)]


def _renamed_choice(address: str, to: str, names: Mapping[str, str]) -> Alias:
    """An alias of a choice whose options have other names in the other tool."""

    def read(arguments: Sequence[Any]) -> Sequence[Any]:
        if arguments[0] not in names:
            raise Refused(f"{arguments[0]!r:.80} is not one of {', '.join(names)}")
        return [names[arguments[0]]]

    others = {own: other for other, own in names.items()}
    argument = Parameter(to, "choice", next(iter(names)), "", choices=tuple(names))
    return Alias(address, to, read, lambda value: others.get(str(value)), argument=argument)


_SEED_LIST = Parameter("seed", "text", "", "Seeds with their weights as JSON: the one with the highest weight is used.")


PROFILES: Mapping[str, tuple[Alias, ...]] = {
    "bare": (
        *(Alias(f"/{name}", name) for name in ("prompt", "negative_prompt", "strength", "steps", "seed", "blend")),
        Alias("/guidance_scale", "guidance"),
    ),
    "streamdiffusiontd": (
        *(Alias(f"/{name}", name) for name in ("prompt", "negative_prompt", "seed")),
        Alias("/guidance_scale", "guidance"),
        Alias("/prompt_list", "prompt", _read_prompt_list, _no_feedback),
        Alias("/seed_list", "seed", _read_seed_list, _no_feedback, argument=_SEED_LIST),
        Alias("/t_list", "strength", _read_first_timestep, _no_feedback),
        Alias("/t_list", "steps", _count_arguments, _no_feedback),
        _renamed_choice("/sdmode", "mode", {"txt2img": "text", "img2img": "image"}),
        Alias("/pause", "freeze", lambda _: [True], _no_feedback, trigger=True),
        Alias("/play", "freeze", lambda _: [False], _no_feedback, trigger=True),
    ),
    "scope": (
        Alias("/scope/prompt", "prompt"),
        Alias("/scope/noise_scale", "strength"),
        Alias("/scope/denoising_step_list", "steps", _count_arguments, _no_feedback),
        _renamed_choice("/scope/input_mode", "mode", {"text": "text", "video": "image"}),
        Alias("/scope/paused", "freeze"),
    ),
}


class Aliases:
    """The aliases of a show for one parameter table.

    If several namespaces define an address, the first one has it: the map, then the profiles in the show's order.

    Args:
        profiles: Keys of PROFILES.
        entries: The show's `osc.map`.
        table: The parameters.
        commands: The commands by name.

    Attributes:
        targets: Aliases by address.
    """

    def __init__(
        self, profiles: Sequence[str], entries: Sequence[MapEntry], table: Mapping[str, Parameter],
        commands: Mapping[str, Any],
    ) -> None:
        own = [entry.alias(table.get(entry.to)) for entry in entries if entry.to in table or entry.to in commands]
        self._namespaces = {MAP_NAMESPACE: own} | {
            profile: [alias for alias in PROFILES[profile] if alias.to in table] for profile in profiles}
        self.targets: dict[str, tuple[Alias, ...]] = {}
        for aliases in self._namespaces.values():
            found: dict[str, tuple[Alias, ...]] = {}
            for alias in aliases:
                found[alias.address] = (*found.get(alias.address, ()), alias)
            self.targets = {**found, **self.targets}
        self._by_target = {
            (namespace, name): [alias for alias in aliases if alias.to == name]
            for namespace, aliases in self._namespaces.items() for name in {alias.to for alias in aliases}}

    @property
    def namespaces(self) -> Sequence[str]:
        """The namespaces that a subscriber can choose, apart from OWN_NAMESPACE."""
        return list(self._namespaces)

    def feedback(self, name: str, value: Value, namespace: str) -> Iterator[tuple[str, Value]]:
        """Yield address and argument of each feedback message for a parameter's value in one namespace."""
        for alias in self._by_target.get((namespace, name), ()):
            written = alias.write(value)
            if written is not None:
                yield alias.address, written


def use_alias(
    controls: ControlState, alias: Alias, arguments: Sequence[Any], origin: str, value: Callable[[str], Value],
) -> Value | None:
    """Do what a message to an alias asks for.

    Args:
        controls: Control state of the show.
        alias: The alias.
        arguments: The message's arguments.
        origin: Who sent it.
        value: Returns the value of a parameter that is reported.

    Returns:
        The answer to a question, or None.

    Raises:
        Refused: The arguments are not those of the parameter or command.
    """
    is_parameter = alias.to in controls.table
    if is_parameter and is_question(arguments) and not alias.trigger:
        return alias.write(value(alias.to))
    read = alias.read(arguments)
    if read is None:
        controls.presses.release(origin, alias.to)
        return None
    if is_parameter:
        set_parameter(controls, alias.to, read, origin)
    else:
        run_command(controls, alias.to, read, origin)
    return None
