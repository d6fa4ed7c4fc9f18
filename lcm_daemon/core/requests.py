"""Messages between controllers and the stage: commands, changes, and the queue they wait in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lcm_daemon.core.parameters import Parameter, Refused, Value
from lcm_daemon.core.schema import nearest

SIDES = (64.0, 2048.0)  # pixels of a rendered picture's side


@dataclass(frozen=True)
class Command:
    """Something a controller can ask for. Its arguments are checked and coerced as parameters are.

    keyed: with another first argument it is another call, and does not take the place of one that waits.
    """

    help: str
    arguments: tuple[Parameter, ...] = ()
    keyed: bool = False

    def coerce(self, given: Sequence[Any]) -> tuple[Value, ...]:
        """The arguments as the command takes them; more than it takes are passed over. Raises Refused."""
        if len(given) < len(self.arguments):
            raise Refused(f"it takes {' '.join(f'<{argument.name}>' for argument in self.arguments)}")
        return tuple(_coerce(argument, value) for argument, value in zip(self.arguments, given, strict=False))


def _coerce(argument: Parameter, value: Any) -> Value:
    """A choice goes by its name alone: a number that a button sends must not become a recipe."""
    if argument.kind == "choice" and value not in argument.choices:
        raise Refused(f"there is no {value!r:.80}{nearest(str(value)[:80], argument.choices)}")
    return argument.coerce(value)


Commands = Mapping[str, Command]


def commands(recipes: Sequence[str] = ()) -> Commands:
    """The commands of a show that can change to `recipes`."""
    return {
        "panic": Command("Return to the show's own values at once."),
        "recipe": Command("Change to another recipe: it loads aside, then it is faded in.", (
            Parameter("name", "choice", recipes[0] if recipes else "", "A recipe's name.", choices=tuple(recipes)),
        )),
        "size": Command("Render at another size, in pixels, by the same way.", (
            Parameter("width", "int", 512, "Of the rendered picture.", *SIDES, "px"),
            Parameter("height", "int", 512, "Of the rendered picture.", *SIDES, "px"),
        )),
        "cue/go": Command("The next cue."),
        "cue/back": Command("The cue before."),
        "cue/goto": Command("The cue of that name or number.", (
            Parameter("name", "text", "", "A cue's name, or its place in the list from 1."),)),
        "cue/release": Command("Leave the cue list; the next GO is the first cue."),
        "cue/record": Command(
            "Keep the present look as a cue.", (Parameter("name", "text", "", "The cue's name."),), keyed=True
        ),
        "tap": Command("Tap the tempo: each tap is a beat."),
        "next": Command("Set a parameter on the next bar, or on the next beat where `quantise` says so.", (
            Parameter("name", "text", "", "The parameter's name."),
            Parameter("value", "text", "", "Where it is to go."),
        ), keyed=True),
    }


COMMANDS: Commands = commands()


@dataclass(frozen=True)
class Change:
    """One parameter moved. origin names who moved it ("osc/127.0.0.1:52311", "panel/3"), so that no echo goes back."""

    name: str
    value: Value
    origin: str


@dataclass(frozen=True)
class ParameterState:
    """One parameter at this moment: where it was set to, the value in force, and who set it ("osc 192.168.1.7")."""

    base: Value
    value: Value
    by: str


@dataclass(frozen=True)
class CommandRequest:
    """A command with its arguments, and who gave it."""

    name: str
    origin: str
    arguments: tuple[Value, ...] = ()


@dataclass
class RequestQueue:
    """What the controllers asked for since the last hand-over, in its order.

    Of several moves of one parameter between two commands the newest counts: what a command finds is what was sent
    before it.
    """

    steps: list[dict[str, Change] | CommandRequest] = field(default_factory=list)  # moves by parameter, and what came between

    def __bool__(self) -> bool:
        return any(self.steps)  # a set of moves may have gone with its parameters

    def __iter__(self) -> Iterator[Change | CommandRequest]:
        for step in self.steps:
            yield from (step,) if isinstance(step, CommandRequest) else step.values()

    @property
    def changes(self) -> dict[str, Change]:
        """The newest move of each parameter."""
        return {step.name: step for step in self if isinstance(step, Change)}

    @property
    def commands(self) -> list[CommandRequest]:
        return [step for step in self.steps if isinstance(step, CommandRequest)]

    def set(self, change: Change) -> None:
        """Add a move, in place of an earlier one that no command has come after."""
        if not self.steps or isinstance(self.steps[-1], CommandRequest):
            self.steps.append({})
        moves = self.steps[-1]
        assert isinstance(moves, dict)
        moves[change.name] = change
