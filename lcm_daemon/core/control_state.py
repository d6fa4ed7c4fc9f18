"""Board: what a controller sees of the show. It lives in the desk; the stage holds the truth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.parameters import Refused, Table, Value
from lcm_daemon.core.requests import COMMANDS, Change, CommandRequest, Commands, ParameterState, RequestQueue

log = logging.getLogger(__name__)

FLOOD = 64  # commands kept until the stage takes them


Listener = Callable[[list[Change]], None]
TableListener = Callable[[], None]
StatusListener = Callable[[Mapping[str, Value]], None]


class ControlState:
    """The parameter table, the values and the status as last heard, and the way to change them.

    All calls on one thread: the desk's event loop. `set` coerces and refuses here already, so that a flood of
    nonsense never leaves the desk; the stage echoes what it took, and only then do listeners hear of it.
    """

    def __init__(
        self, table: Table, values: Mapping[str, Value], metrics: Metrics, wake: Callable[[], None],
        commands: Commands = COMMANDS,
    ) -> None:
        self.show = ""  # the show's name
        self.browser_source = ""  # name of the show's browser source; empty if it has none
        self.table = table
        self.commands = commands
        self.values: dict[str, Value] = dict(values)
        self.status: dict[str, Value] = {}
        self.live: Mapping[str, ParameterState] = {}  # every parameter, as it stood with the last status
        self.kept: dict[str, Any] = {}  # what a controller's next incarnation should know, picklable, by controller
        self.metrics = metrics
        self.frame: Frame | None = None  # the newest output picture, for previews
        self.listeners: list[Listener] = []
        self.status_listeners: list[StatusListener] = []
        self.table_listeners: list[TableListener] = []  # called once `table` and `values` are others
        self.panic_listeners: list[Callable[[], None]] = []  # called when whatever is on its way is void
        self._pending = RequestQueue()
        self._wake = wake
        self._throttle = LogThrottle(log, metrics)

    def set(self, name: str, value: Any, origin: str) -> bool:
        """Ask for a parameter's new value; False where the name is unknown or the value is refused (counted)."""
        parameter = self.table.get(name)
        if parameter is None:
            self._throttle.warn("desk/unknown", f"{origin}: there is no parameter {name!r:.80}")
            return False
        try:
            coerced = parameter.coerce(value)
        except Refused as refusal:
            self._throttle.warn("desk/refused", f"{origin}: {refusal}")
            return False
        self._pending.move(Change(name, coerced, origin))
        self._wake()
        return True

    def command(self, name: str, origin: str, arguments: Sequence[Any] = ()) -> bool:
        """Ask for a command; False where there is none of that name, or it refuses the arguments (counted)."""
        objection = self.objection(name, arguments)
        if objection:
            path = "desk/refused" if name in self.commands else "desk/unknown"
            self._throttle.warn(path, f"{origin}: {objection}")
            return False
        self._call(CommandRequest(name, origin, self.commands[name].coerce(arguments)))
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

    def _call(self, call: CommandRequest) -> None:
        pending = self._pending
        if call.name == "panic":  # whatever came before it is void
            pending.steps.clear()
            for listener in self.panic_listeners:
                listener()
        if call.arguments:  # of several calls with arguments the newest counts
            key = self._key(call)
            pending.steps = [step for step in pending.steps if not isinstance(step, CommandRequest) or self._key(step) != key]
        if len(pending.commands) < FLOOD:  # a flood of triggers is one trigger
            pending.steps.append(call)

    def _key(self, call: CommandRequest) -> tuple[Any, ...]:
        return (call.name, *call.arguments[:1]) if self.commands[call.name].keyed else (call.name,)

    def keep(self, controller: str, what: Any) -> None:
        """Give the stage something for the controller of a later desk, which finds it again in `kept`.

        What is kept as "tempo", a `ExternalTempo`, is for the stage itself: an outside clock's word.
        """
        self.kept[controller] = what
        self._wake()

    def take(self) -> RequestQueue:
        """Hand over what has been asked for and begin anew."""
        pending, self._pending = self._pending, RequestQueue()
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
        self, changes: list[Change], status: Mapping[str, Value] | None, live: Mapping[str, ParameterState] | None = None,
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
