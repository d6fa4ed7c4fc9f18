"""Board: what a controller sees of the show. It lives in the desk; the stage holds the truth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lcm_daemon.document import nearest
from lcm_daemon.frame import Frame
from lcm_daemon.health import Health, Seldom
from lcm_daemon.parameters import Parameter, Refused, Table, Value

log = logging.getLogger(__name__)

FLOOD = 64  # commands kept until the stage takes them
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
class Standing:
    """One parameter at this moment: where it was set to, the value in force, and who set it ("osc 192.168.1.7")."""

    base: Value
    value: Value
    by: str


@dataclass(frozen=True)
class Call:
    """A command with its arguments, and who gave it."""

    name: str
    origin: str
    arguments: tuple[Value, ...] = ()


Listener = Callable[[list[Change]], None]
TableListener = Callable[[], None]
StatusListener = Callable[[Mapping[str, Value]], None]


@dataclass
class Pending:
    """What the controllers asked for since the last hand-over, in its order.

    Of several moves of one parameter between two commands the newest counts: what a command finds is what was sent
    before it.
    """

    steps: list[dict[str, Change] | Call] = field(default_factory=list)  # moves by parameter, and what came between

    def __bool__(self) -> bool:
        return any(self.steps)  # a set of moves may have gone with its parameters

    def __iter__(self) -> Iterator[Change | Call]:
        for step in self.steps:
            yield from (step,) if isinstance(step, Call) else step.values()

    @property
    def changes(self) -> dict[str, Change]:
        """The newest move of each parameter."""
        return {step.name: step for step in self if isinstance(step, Change)}

    @property
    def commands(self) -> list[Call]:
        return [step for step in self.steps if isinstance(step, Call)]

    def move(self, change: Change) -> None:
        """Add a move, in place of an earlier one that no command has come after."""
        if not self.steps or isinstance(self.steps[-1], Call):
            self.steps.append({})
        moves = self.steps[-1]
        assert isinstance(moves, dict)
        moves[change.name] = change


class Board:
    """The parameter table, the values and the status as last heard, and the way to change them.

    All calls on one thread: the desk's event loop. `set` coerces and refuses here already, so that a flood of
    nonsense never leaves the desk; the stage echoes what it took, and only then do listeners hear of it.
    """

    def __init__(
        self, table: Table, values: Mapping[str, Value], health: Health, wake: Callable[[], None],
        commands: Commands = COMMANDS,
    ) -> None:
        self.show = ""  # the show's name
        self.table = table
        self.commands = commands
        self.values: dict[str, Value] = dict(values)
        self.status: dict[str, Value] = {}
        self.live: Mapping[str, Standing] = {}  # every parameter, as it stood with the last status
        self.kept: dict[str, Any] = {}  # what a controller's next incarnation should know, picklable, by controller
        self.health = health
        self.frame: Frame | None = None  # the newest output picture, for previews
        self.listeners: list[Listener] = []
        self.status_listeners: list[StatusListener] = []
        self.table_listeners: list[TableListener] = []  # called once `table` and `values` are others
        self.panic_listeners: list[Callable[[], None]] = []  # called when whatever is on its way is void
        self._pending = Pending()
        self._wake = wake
        self._seldom = Seldom(log, health)

    def set(self, name: str, value: Any, origin: str) -> bool:
        """Ask for a parameter's new value; False where the name is unknown or the value is refused (counted)."""
        parameter = self.table.get(name)
        if parameter is None:
            self._seldom.warn("desk/unknown", f"{origin}: there is no parameter {name!r:.80}")
            return False
        try:
            coerced = parameter.coerce(value)
        except Refused as refusal:
            self._seldom.warn("desk/refused", f"{origin}: {refusal}")
            return False
        self._pending.move(Change(name, coerced, origin))
        self._wake()
        return True

    def command(self, name: str, origin: str, arguments: Sequence[Any] = ()) -> bool:
        """Ask for a command; False where there is none of that name, or it refuses the arguments (counted)."""
        objection = self.objection(name, arguments)
        if objection:
            path = "desk/refused" if name in self.commands else "desk/unknown"
            self._seldom.warn(path, f"{origin}: {objection}")
            return False
        self._call(Call(name, origin, self.commands[name].coerce(arguments)))
        self._wake()
        return True

    def objection(self, name: str, arguments: Sequence[Any] = ()) -> str:
        """Why a command would not be taken; empty where it would."""
        if name not in self.commands:
            return f"there is no command {name!r:.80}"
        try:
            self.commands[name].coerce(arguments)
        except Refused as refusal:
            return f"{name}: {refusal}"
        return ""

    def _call(self, call: Call) -> None:
        pending = self._pending
        if call.name == "panic":  # whatever came before it is void
            pending.steps.clear()
            for listener in self.panic_listeners:
                listener()
        if call.arguments:  # of several calls with arguments the newest counts
            key = self._key(call)
            pending.steps = [step for step in pending.steps if not isinstance(step, Call) or self._key(step) != key]
        if len(pending.commands) < FLOOD:  # a flood of triggers is one trigger
            pending.steps.append(call)

    def _key(self, call: Call) -> tuple[Any, ...]:
        return (call.name, *call.arguments[:1]) if self.commands[call.name].keyed else (call.name,)

    def keep(self, controller: str, what: Any) -> None:
        """Give the stage something for the controller of a later desk, which finds it again in `kept`.

        What is kept as "tempo", a `Heard`, is for the stage itself: an outside clock's word.
        """
        self.kept[controller] = what
        self._wake()

    def take(self) -> Pending:
        """Hand over what has been asked for and begin anew."""
        pending, self._pending = self._pending, Pending()
        return pending

    def adopt(self, table: Table, values: Mapping[str, Value]) -> None:
        """Live by another table of parameters, and tell the listeners."""
        self.table, self.values = table, dict(values)
        for step in self._pending.steps:
            if isinstance(step, dict):
                for name in step.keys() - table.keys():
                    del step[name]
        for listener in self.table_listeners:
            listener()

    def hear(
        self, changes: list[Change], status: Mapping[str, Value] | None, live: Mapping[str, Standing] | None = None,
    ) -> None:
        """Take in what the stage says is now so, and tell the listeners."""
        self.live = self.live if live is None else live
        changes = [change for change in changes if change.name in self.table]
        self.values.update({c.name: c.value for c in changes})
        for listener in self.listeners if changes else ():
            listener(changes)
        if status is not None:
            self.status = dict(status)
            for status_listener in self.status_listeners:
                status_listener(status)
