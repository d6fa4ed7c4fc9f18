"""What controllers ask of the stage: commands, changes of parameters, and the queue they wait in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Parameter, Refused, Value
from lcm_daemon.core.render_size import MAX_SIDE, MIN_SIDE
from lcm_daemon.core.schema import nearest


@dataclass(frozen=True)
class Command:
    """An action that a controller can request. Its arguments are checked and coerced like parameters.

    Attributes:
        help: One sentence for users.
        arguments: The arguments, the optional ones last.
        keyed: Requests with different first arguments are different: one does not replace another that waits.
        optional: How many of the last arguments a request may omit.
        cumulative: Each request counts; a newer one does not replace one that waits.
        limited_by: The key of the show that sets the ranges. A number outside of them is refused; without such a key,
            the nearest one inside is taken.
    """

    help: str
    arguments: tuple[Parameter, ...] = ()
    keyed: bool = False
    optional: int = 0
    cumulative: bool = False
    limited_by: str = ""

    @property
    def required(self) -> tuple[Parameter, ...]:
        """The arguments that every request has."""
        return self.arguments[:len(self.arguments) - self.optional]

    @property
    def usage(self) -> str:
        """The arguments as a line of help: `<name> [<fade>]`."""
        required = len(self.required)
        return " ".join(f"<{argument.name}>" if place < required else f"[<{argument.name}>]"
                        for place, argument in enumerate(self.arguments))

    def coerce(self, given: Sequence[Any]) -> tuple[Value, ...]:
        """Convert the arguments that were given; surplus ones are ignored. Raises Refused."""
        if len(given) < len(self.required):
            raise Refused(f"it takes {self.usage}")
        coerce = self._coerce_within if self.limited_by else _coerce
        return tuple(coerce(argument, value) for argument, value in zip(self.arguments, given, strict=False))

    def _coerce_within(self, argument: Parameter, value: Any) -> Value:
        """Convert a number; refuse it outside of its range."""
        number = replace(argument, low=-math.inf, high=math.inf).coerce(value)
        assert isinstance(number, int)
        if not argument.low <= number <= argument.high:
            span = f"{argument.low:g} to {argument.high:g} {argument.unit}"
            raise Refused(f"{argument.name} may be {span}, not {number}: the show's {self.limited_by} sets the limit")
        return number


def _coerce(argument: Parameter, value: Any) -> Value:
    """A choice must be given by name: a number that a button sends must not select a recipe."""
    if argument.kind == "choice" and value not in argument.choices:
        raise Refused(f"{value!r:.80} is not known{nearest(str(value)[:80], argument.choices)}")
    return argument.coerce(value)


Commands = Mapping[str, Command]


MAX_FADE = 86_400.0  # seconds
_FADE = Parameter("fade", "float", 0.0, "Seconds, in place of the cue's own fade.", 0.0, MAX_FADE, "s")
_CUE_NAME = Parameter("name", "text", "", "A cue's name, or its place in the list, counted from 1.")


def _sides(max_size: Size | None) -> tuple[Parameter, Parameter]:
    """Width and height of rendered frames, up to a size in pixels."""
    widest, highest = max_size or (MAX_SIDE, MAX_SIDE)
    return (Parameter("width", "int", min(512, widest), "Width of the rendered frames.", MIN_SIDE, widest, "px"),
            Parameter("height", "int", min(512, highest), "Height of the rendered frames.", MIN_SIDE, highest, "px"))


def commands(recipes: Sequence[str] = (), sinks: Sequence[str] = (), max_size: Size | None = None) -> Commands:
    """All commands by name, for a show with these recipes, sinks and `network.max_size`. The only list of them."""
    return {
        "panic": Command("Reset all parameters to the show's values, at once or over some seconds.", (
            Parameter("seconds", "float", 0.0, "Seconds that it takes.", 0.0, MAX_FADE, "s"),), optional=1),
        "recipe": Command("Change to another recipe: it is loaded in the background, then faded in.", (
            Parameter("name", "choice", recipes[0] if recipes else "", "A recipe's name.", choices=tuple(recipes)),
        )),
        "size": Command("Render at another size, in pixels: it is loaded in the background, then faded in.",
                        _sides(max_size), limited_by="network.max_size" if max_size else ""),
        "source": Command("Change the source: it opens beside the old one, then is faded in.", (
            Parameter("name", "text", "", "One of the show's `sources`, `show` for its own source, or a transport and "
                      "a name that `list sources` prints, such as `ndi CAM 1`."),)),
        "guide": Command("Change the guide, as `source` changes the source.", (
            Parameter("name", "text", "", "A source's name."),)),
        "record/start": Command("Start a recording: each start is another file. Needs a sink with transport record."),
        "record/stop": Command("Stop the recording and close its file."),
        **{f"sink/{name}": Command(f"Switch the sink {name} on (1) or off (0).", (
            Parameter("on", "bool", True, "1 or 0."),)) for name in sinks},
        "cue/go": Command("Start the next cue.", (_FADE,), optional=1),
        "cue/back": Command("Start the previous cue.", (_FADE,), optional=1),
        "cue/goto": Command("Start the cue of this name or number.", (_CUE_NAME, _FADE), optional=1),
        "cue/load": Command("Let the next GO start the cue of this name or number.", (_CUE_NAME,)),
        "cue/pause": Command("Stop the fade where it is until it is resumed. A delay and an automatic GO wait too."),
        "cue/resume": Command("Continue the fade that was paused."),
        "cue/stop": Command("End the fade where it is. No cue that waits will start."),
        "cue/release": Command("Leave the cue list; the next GO starts the first cue."),
        "cue/record": Command(
            "Store the current look as a cue.", (Parameter("name", "text", "", "The cue's name."),), keyed=True
        ),
        "prompts/play": Command("Set the prompt to one of the show's bank, `prompts`.", (
            Parameter("number", "float", 1.0, "Its place in the bank, counted from 1.", 0.0, 9999.0),)),
        "adjust": Command("Move a parameter by an amount from where it is; a choice by places.", (
            Parameter("name", "text", "", "The parameter's name."),
            Parameter("amount", "float", 0.0, "What is added to its value; below 0 it is subtracted."),
        ), cumulative=True),
        "toggle": Command("Switch a parameter on or off, or a choice to its next option.", (
            Parameter("name", "text", "", "The parameter's name."),), cumulative=True),
        "tap": Command("Tap the tempo: each tap is a beat."),
        "next": Command("Set a parameter on the next bar, or on the next beat if `quantise` says so.", (
            Parameter("name", "text", "", "The parameter's name."),
            Parameter("value", "text", "", "Its new value."),
        ), keyed=True),
    }


COMMANDS: Commands = commands()


@dataclass(frozen=True)
class Change:
    """A parameter's new value. origin: who set it ("osc/127.0.0.1:52311", "panel/3"), so that it gets no echo."""

    name: str
    value: Value
    origin: str


@dataclass(frozen=True)
class ParameterState:
    """One parameter at this moment: the value it was set to, the value in force, and who set it ("osc 192.168.1.7")."""

    base: Value
    value: Value
    by: str


@dataclass(frozen=True)
class CommandRequest:
    """A command with its arguments. origin: who requested it."""

    name: str
    origin: str
    arguments: tuple[Value, ...] = ()


@dataclass
class RequestQueue:
    """The controllers' requests in their order.

    Between two commands only the newest change of each parameter counts. A command finds the values that were
    requested before it.

    Attributes:
        steps: Commands, and between them the changes by parameter name.
        receipt: A number that the stage returns once it has handled the queue; 0 asks for none.
    """

    steps: list[dict[str, Change] | CommandRequest] = field(default_factory=list)
    receipt: int = 0

    def __bool__(self) -> bool:
        return any(self.steps)  # a step without changes is left when its parameters were removed

    def __iter__(self) -> Iterator[Change | CommandRequest]:
        for step in self.steps:
            if isinstance(step, CommandRequest):
                yield step
            else:
                yield from step.values()

    @property
    def changes(self) -> dict[str, Change]:
        """The newest change of each parameter."""
        return {step.name: step for step in self if isinstance(step, Change)}

    @property
    def commands(self) -> list[CommandRequest]:
        return [step for step in self.steps if isinstance(step, CommandRequest)]

    def set(self, change: Change) -> None:
        """Add a change, in place of an earlier one that is not followed by a command."""
        if not self.steps or isinstance(self.steps[-1], CommandRequest):
            self.steps.append({})
        changes = self.steps[-1]
        assert isinstance(changes, dict)
        changes[change.name] = change
