"""Board: what a controller sees of the show. It lives in the desk; the stage holds the truth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lcm_daemon.frame import Frame
from lcm_daemon.health import Health, Seldom
from lcm_daemon.parameters import Refused, Table, Value

log = logging.getLogger(__name__)

COMMANDS: Mapping[str, str] = {
    "panic": "Return to the show's own values at once.",
}


@dataclass(frozen=True)
class Change:
    """One parameter moved. origin names who moved it ("osc/127.0.0.1:52311", "panel/3"), so that no echo goes back."""

    name: str
    value: Value
    origin: str


Listener = Callable[[list[Change]], None]
StatusListener = Callable[[Mapping[str, Value]], None]


@dataclass
class Pending:
    """What the controllers asked for since the last hand-over; of several moves of one parameter the newest counts."""

    changes: dict[str, Change] = field(default_factory=dict)
    commands: list[tuple[str, str]] = field(default_factory=list)  # (command, origin)

    def __bool__(self) -> bool:
        return bool(self.changes or self.commands)


class Board:
    """The parameter table, the values and the status as last heard, and the way to change them.

    All calls on one thread: the desk's event loop. `set` coerces and refuses here already, so that a flood of
    nonsense never leaves the desk; the stage echoes what it took, and only then do listeners hear of it.
    """

    def __init__(self, table: Table, values: Mapping[str, Value], health: Health, wake: Callable[[], None]) -> None:
        self.show = ""  # the show's name
        self.table = table
        self.values: dict[str, Value] = dict(values)
        self.status: dict[str, Value] = {}
        self.kept: dict[str, Any] = {}  # what a controller's next incarnation should know, picklable, by controller
        self.health = health
        self.frame: Frame | None = None  # the newest output picture, for previews
        self.listeners: list[Listener] = []
        self.status_listeners: list[StatusListener] = []
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
        self._pending.changes[name] = Change(name, coerced, origin)
        self._wake()
        return True

    def command(self, name: str, origin: str) -> bool:
        """Ask for a command of COMMANDS; False where there is none of that name."""
        if name not in COMMANDS:
            self._seldom.warn("desk/unknown", f"{origin}: there is no command {name!r:.80}")
            return False
        if name == "panic":
            self._pending.changes.clear()  # whatever came before it is void
        if len(self._pending.commands) < 64:  # a flood of triggers is one trigger
            self._pending.commands.append((name, origin))
        self._wake()
        return True

    def keep(self, controller: str, what: Any) -> None:
        """Give the stage something for the controller of a later desk; it finds it again in `kept`."""
        self.kept[controller] = what
        self._wake()

    def take(self) -> Pending:
        """Hand over what has been asked for and begin anew."""
        pending, self._pending = self._pending, Pending()
        return pending

    def hear(self, changes: list[Change], status: Mapping[str, Value] | None) -> None:
        """Take in what the stage says is now so, and tell the listeners."""
        self.values.update({c.name: c.value for c in changes})
        for listener in self.listeners if changes else ():
            listener(changes)
        if status is not None:
            self.status = dict(status)
            for status_listener in self.status_listeners:
                status_listener(status)
