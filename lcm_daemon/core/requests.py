"""What controllers ask of the stage: commands, changes of parameters, and the queue they wait in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Parameter, Refused, Value
from lcm_daemon.core.render_size import MAX_SIDE, MIN_SIDE, SIDE_STEP
from lcm_daemon.core.suggestions import nearest


@dataclass(frozen=True)
class Command:
    """An action that a controller can request. Its arguments are checked and coerced like parameters.

    Attributes:
        help: One sentence for users.
        arguments: The arguments, the optional ones last.
        keyed: Requests with different first arguments are different: one does not replace another that waits.
        optional: How many of the last arguments a request may omit.
        cumulative: Each request counts; a newer one does not replace one that waits.
        exact: Whole numbers outside of their range or between two steps are refused; otherwise the nearest possible
            ones are taken.
        limited_by: The key of the show that sets the ranges, for the reason of a refusal.
    """

    help: str
    arguments: tuple[Parameter, ...] = ()
    keyed: bool = False
    optional: int = 0
    cumulative: bool = False
    exact: bool = False
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
        if self.exact:
            return self._coerce_exactly(given)
        return tuple(_coerce(argument, value) for argument, value in zip(self.arguments, given, strict=False))

    def _coerce_exactly(self, given: Sequence[Any]) -> tuple[Value, ...]:
        """Convert whole numbers; refuse those that are not possible, and name the nearest that are."""
        numbers = [(argument, replace(argument, low=-math.inf, high=math.inf, step=1).coerce(value))
                   for argument, value in zip(self.arguments, given, strict=False)]
        possible = tuple(argument.coerce(number) for argument, number in numbers)
        for argument, number in numbers:
            if number != argument.coerce(number):
                span = f"{argument.low:g} to {argument.high:g} {argument.unit} in steps of {argument.step}"
                limit = f": the show's {self.limited_by} sets the limit" if self._is_limited(argument, number) else ""
                raise Refused(f"{argument.name} may be {span}, not {number}{limit}; the nearest possible is "
                              f"{' x '.join(map(str, possible))}")
        return possible

    def _is_limited(self, argument: Parameter, number: Value) -> bool:
        return bool(self.limited_by) and isinstance(number, int) and number > argument.high


def _coerce(argument: Parameter, value: Any) -> Value:
    """A choice must be given by name: a number that a button sends must not select a recipe."""
    if argument.kind == "choice" and value not in argument.choices:
        raise Refused(f"{value!r:.80} is not known{nearest(str(value)[:80], argument.choices)}")
    return argument.coerce(value)


Commands = Mapping[str, Command]


MAX_FADE = 86_400.0  # seconds
COMMANDS_KEPT, REQUESTS_KEPT = 64, 256  # commands, and commands and changes, that wait for the stage
MAX_CUES = 256  # with this many cues, no new one is recorded
_FADE = Parameter("fade", "float", 0.0, "Seconds, in place of the cue's own fade.", 0.0, MAX_FADE, "s")
_PLACE = Parameter("number", "float", 1.0, "Its place in the bank, counted from 1.", 0.0, 9999.0)
_CUE_NAME = Parameter("name", "text", "", "A cue's name, or its place in the list, counted from 1.")


def _sides(max_size: Size | None) -> tuple[Parameter, Parameter]:
    """Width and height of rendered frames, up to a size in pixels."""
    widest, highest = max_size or (MAX_SIDE, MAX_SIDE)
    return (Parameter("width", "int", min(512, widest), "Width of the rendered frames.", MIN_SIDE, widest, "px",
                      step=SIDE_STEP),
            Parameter("height", "int", min(512, highest), "Height of the rendered frames.", MIN_SIDE, highest, "px",
                      step=SIDE_STEP))


_UNDO: Commands = {
    "undo": Command("Take back the last move: of a parameter, a prompt, a look, or a panic."),
    "redo": Command("Repeat the move that was undone last, if nothing else has been moved since."),
    "undo_panic": Command("Take back the last panic, except for values that have been moved since."),
}
_BANK: Commands = {
    "prompts/play": Command("Set the prompt to one of the show's bank, `prompts`.", (_PLACE,)),
    "prompts/store": Command("Put a prompt into the show's bank, in place of the one that is there.", (
        replace(_PLACE, help="Its place in the bank, counted from 1; 0 is the first free place."),
        Parameter("text", "text", "", "The prompt; without it, the one in effect."),
    ), optional=1, cumulative=True),
    "prompts/clear": Command("Clear a place of the show's bank of prompts.", (_PLACE,), cumulative=True),
}
_PARAMETER = Parameter("parameter", "text", "", "The parameter's name.")
_TARGET = Parameter("target", "text", "", "A parameter, or a command with its argument, such as `cue/goto intro`.")
_CONTROL = Parameter("control", "text", "", "The control, as the page shows it, where there are several.")
_LEARN: Commands = {
    "learn/start": Command("Bind the next MIDI control or OSC address that moves to a parameter or a command.", (
        _TARGET,)),
    "learn/accept": Command("Bind a control that moves something else already.", (
        Parameter("how", "choice", "move", "move: take it from there; share: it moves both.",
                  choices=("move", "share")),), optional=1),
    "learn/cancel": Command("End learning without a binding."),
    "learn/range": Command("Set the values at the two ends of a control.", (
        _PARAMETER, Parameter("low", "float", 0.0, "The value at its low end."),
        Parameter("high", "float", 1.0, "The value at its high end."), _CONTROL), optional=1, cumulative=True),
    "learn/curve": Command("Set the curve between the two ends of a control.", (
        _PARAMETER, Parameter("curve", "text", "linear", "As in a show's `midi.map` and `osc.map`."), _CONTROL),
        optional=1, cumulative=True),
    "learn/remove": Command("Remove the bindings of a parameter or a command, or one of them.", (
        _TARGET, _CONTROL), optional=1, cumulative=True),
}
_SHOW: Commands = {
    "show/reload": Command("Read the show's file again. What has been played stays, but for what the file changes."),
    "show/open": Command("Open another show: one beside this one, or one that comes with the daemon.", (
        Parameter("name", "text", "", "Its name, as the page lists it."),)),
    "show/save": Command("Write what was changed into the show's file; its comments stay."),
    "show/save_as": Command("Write the show and what was changed into a new file beside it.", (
        Parameter("name", "text", "", "The name of the new show: letters, digits, spaces, _ and -."),)),
}
_SESSION = Parameter("session", "int", 1, "Number of the visitor's session.", 0, 2**31 - 1)
_AUDIENCE: Commands = {
    "audience/skip": Command("End a visitor's turn; the next one is called.", (_SESSION,), cumulative=True),
    "audience/skip_shown": Command("End the turn of the visitor whose picture the output shows."),
    "audience/extend": Command("Prolong a visitor's turn.", (
        _SESSION, Parameter("seconds", "float", 30.0, "By how many seconds; 30 if it does not say.", 1.0, 3600.0, "s")),
        optional=1, cumulative=True),
    "audience/block": Command("End a visitor's turn, and let the visitor join no more.", (_SESSION,), cumulative=True),
    "audience/show": Command("Show the picture of one visitor.", (_SESSION,)),
    "audience/show_next": Command("Show the picture of the next visitor who plays."),
    "audience/wall": Command("Change what the output shows.", (
        Parameter("wall", "choice", "stage", "stage: the show's own picture; one: that of one visitor; cycle: each "
                  "visitor after the other; mosaic: all visitors.", choices=("stage", "one", "cycle", "mosaic")),)),
    "audience/open": Command("Let new visitors join again."),
    "audience/close": Command("Let no new visitors join; those who wait keep their places."),
}
_FOR_HOURS = Parameter("hours", "float", 2.0, "For how many hours, more than 1 (which a button sends); without it, "
                       "until opening_hours change next.", 1.0, 99.0, "h")
_HOURS: Commands = {
    "hours/open": Command("Open the show, against what its opening_hours say.", (_FOR_HOURS,), optional=1),
    "hours/close": Command("Close the show, against what its opening_hours say.", (_FOR_HOURS,), optional=1),
    "hours/auto": Command("Open and close the show by its opening_hours again."),
}
_ENGINE = Parameter("name", "text", "", "The engine's name, as the page lists it, such as `cuda:1`.")
_MODULATOR_NAME = Parameter("name", "text", "", "The modulator's name: letters, digits, _ and -.")
_CUES: Commands = {
    "cue/go": Command("Start the next cue.", (_FADE,), optional=1),
    "cue/back": Command("Start the previous cue.", (_FADE,), optional=1),
    "cue/goto": Command("Start the cue of this name or number.", (_CUE_NAME, _FADE), optional=1),
    "cue/load": Command("Let the next GO start the cue of this name or number.", (_CUE_NAME,)),
    "cue/pause": Command("Stop the fade where it is until it is resumed. A delay and an automatic GO wait too."),
    "cue/resume": Command("Continue the fade that was paused."),
    "cue/stop": Command("End the fade where it is. No cue that waits will start."),
    "cue/release": Command("Leave the cue list; the next GO starts the first cue."),
    "cue/record": Command("Store the current look as a cue. A cue of this name is overwritten.", (
        Parameter("name", "text", "", "The cue's name."),), keyed=True),
    "cue/overwrite": Command("Store the current look in an existing cue, which keeps its name, place and fade.", (
        _CUE_NAME,), keyed=True),
    "cue/rename": Command("Give a recorded cue another name.", (
        _CUE_NAME, Parameter("new_name", "text", "", "Its new name.")), keyed=True),
    "cue/fade": Command("Set the fade of a cue.", (
        _CUE_NAME, Parameter("seconds", "float", 1.0, "Seconds that it takes.", 0.0, MAX_FADE, "s")), keyed=True),
    "cue/follow": Command("Let a cue start the next one by itself, or not.", (
        _CUE_NAME, Parameter("seconds", "float", -1.0, "Seconds from the end of its fade to the next cue; -1 is "
                             "never.", -1.0, MAX_FADE, "s")), keyed=True),
    "cue/move": Command("Move a cue to another place in the list.", (
        _CUE_NAME, Parameter("place", "int", 1, "Its new place, counted from 1.", 1, MAX_CUES)), keyed=True),
    "cue/duplicate": Command("Record a copy of a cue, right after it.", (
        _CUE_NAME, Parameter("new_name", "text", "", "Name of the copy.")), optional=1, cumulative=True),
    "cue/delete": Command("Delete a recorded cue.", (_CUE_NAME,), keyed=True),
    "cue/undo": Command("Undo the last change of the cues: recording, name, fade, follow, place or deletion."),
}
_MOVES: Commands = {
    "adjust": Command("Move a parameter by an amount from where it is; a choice by places.", (
        Parameter("name", "text", "", "The parameter's name."),
        Parameter("amount", "float", 0.0, "What is added to its value; below 0 it is subtracted."),
    ), cumulative=True),
    "toggle": Command("Switch a parameter on or off, or a choice to its next option.", (
        Parameter("name", "text", "", "The parameter's name."),), cumulative=True),
}
_MODULATORS: Commands = {
    "modulator/add": Command("Add a modulator, or change the one of this name.", (
        _MODULATOR_NAME,
        Parameter("to", "text", "", "The parameter that it moves."),
        Parameter("wave", "text", "sine", "Shape of the movement, as in a show's `modulation`."),
        Parameter("depth", "float", 0.25, "How far in each direction, as a share of the range.", -1.0, 1.0),
        Parameter("rate", "float", 0.5, "Cycles per second.", 0.0, 30.0, "Hz"),
        Parameter("beats", "float", 0.0, "Beats per cycle, in place of the rate.", 0.0, 1024.0, "beats"),
        Parameter("phase", "float", 0.0, "Where in the cycle it starts.", 0.0, 1.0),
        Parameter("band", "text", "level", "What the wave `audio` follows: low, mid, high, level or onset."),
    ), keyed=True, optional=6),
    "modulator/remove": Command("Remove a modulator.", (_MODULATOR_NAME,), keyed=True),
}


def commands(recipes: Sequence[str] = (), sinks: Sequence[str] = (), max_size: Size | None = None) -> Commands:
    """All commands by name, for a show with these recipes, sinks and `network.max_size`. The only list of them."""
    return {
        "panic": Command("Reset all parameters to the show's values, at once or over some seconds.", (
            Parameter("seconds", "float", 0.0, "Seconds that it takes.", 0.0, MAX_FADE, "s"),), optional=1),
        **_UNDO,
        "recipe": Command("Change to another recipe: it is loaded in the background, then faded in.", (
            Parameter("name", "choice", recipes[0] if recipes else "", "A recipe's name.", choices=tuple(recipes)),
        )),
        "size": Command("Render at another size, in pixels: it is loaded in the background, then faded in.",
                        _sides(max_size), exact=True, limited_by="network.max_size" if max_size else ""),
        "source": Command("Change the source: it opens beside the old one, then is faded in.", (
            Parameter("name", "text", "", "One of the show's `sources`, `show` for its own source, or a transport and "
                      "a name that `list sources` prints, such as `ndi CAM 1`."),)),
        "guide": Command("Change the guide, as `source` changes the source.", (
            Parameter("name", "text", "", "A source's name."),)),
        "fetch/start": Command("Download the files of a recipe that is not on this machine, one recipe at a time.", (
            Parameter("name", "choice", recipes[0] if recipes else "", "A recipe's name.", choices=tuple(recipes)),
        )),
        "fetch/stop": Command("Stop the download of a recipe. A later one continues where it was."),
        "prompt_picture": Command("Use a picture that a page has sent as the image prompt: it is faded in.", (
            Parameter("name", "text", "", "Its name, such as `picture 1`, or `recipe` for the recipe's own image; of a "
                      "recipe with several image prompts also which one: `picture 1 style`."),)),
        "record/start": Command("Start a recording: each start is another file. Needs a sink with transport record."),
        "record/stop": Command("Stop the recording and close its file."),
        **{f"sink/{name}": Command(f"Switch the sink {name} on (1) or off (0).", (
            Parameter("on", "bool", True, "1 or 0."),)) for name in sinks},
        **_CUES,
        **_BANK,
        **_MOVES,
        **_MODULATORS,
        **_LEARN,
        **_SHOW,
        **_AUDIENCE,
        **_HOURS,
        "engine/restart": Command("Load a new engine beside the old one, and change to it once it renders."),
        "engine/stop": Command("Stop one of several engines; the others render on.", (_ENGINE,), cumulative=True),
        "engine/start": Command("Start an engine again that was stopped.", (_ENGINE,), cumulative=True),
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

    def __len__(self) -> int:
        """The number of requests."""
        return sum(1 if isinstance(step, CommandRequest) else len(step) for step in self.steps)

    @property
    def changes(self) -> dict[str, Change]:
        """The newest change of each parameter."""
        return {step.name: step for step in self if isinstance(step, Change)}

    @property
    def commands(self) -> list[CommandRequest]:
        return [step for step in self.steps if isinstance(step, CommandRequest)]

    def add(self, request: CommandRequest) -> bool:
        """Add a command. Returns whether another one was dropped for it, or this one, because too many wait.

        It is one of those who have the most: the newest of them.
        """
        self.steps.append(request)
        commands = self.commands
        if len(commands) <= COMMANDS_KEPT and len(self) <= REQUESTS_KEPT:
            return False
        busiest, _ = Counter(each.origin for each in reversed(commands)).most_common(1)[0]
        self._remove(max(place for place, step in enumerate(self.steps)
                         if isinstance(step, CommandRequest) and step.origin == busiest))
        return True

    def _remove(self, place: int) -> None:
        """Remove a command, and join the changes before and after it."""
        del self.steps[place]
        if 0 < place < len(self.steps):
            before, after = self.steps[place - 1], self.steps[place]
            if isinstance(before, dict) and isinstance(after, dict):
                before.update(after)
                del self.steps[place]

    def drop_replaced(self, request: CommandRequest, key: Callable[[CommandRequest], tuple[Any, ...]]) -> None:
        """Drop the command that a newer one replaces, unless another one came between: `load A`, GO, `load B`.

        Args:
            request: The newer one.
            key: What a command has in common with those that replace it.
        """
        for place in range(len(self.steps) - 1, -1, -1):
            step = self.steps[place]
            if not isinstance(step, CommandRequest):
                continue
            if key(step) == key(request):
                del self.steps[place]
            if step.name != request.name:
                return

    def set(self, change: Change) -> None:
        """Add a change, in place of an earlier one that is not followed by a command."""
        if not self.steps or isinstance(self.steps[-1], CommandRequest):
            self.steps.append({})
        changes = self.steps[-1]
        assert isinstance(changes, dict)
        changes[change.name] = change
