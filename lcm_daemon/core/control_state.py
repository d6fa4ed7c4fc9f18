"""ControlState: the show as a controller sees it. It lives in the desk; the stage holds the authoritative values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.parameters import Refused, Table, Value
from lcm_daemon.core.requests import COMMANDS, Change, CommandRequest, Commands, ParameterState, RequestQueue

log = logging.getLogger(__name__)

COMMANDS_KEPT = 64  # commands that wait for the stage; further ones are dropped


@dataclass(frozen=True, eq=False)
class Subscription:
    """The callbacks of one subscriber."""

    on_changes: Callable[[list[Change]], None] | None
    on_status: Callable[[Mapping[str, Value]], None] | None
    on_table: Callable[[], None] | None
    on_panic: Callable[[], None] | None


class ControlState:
    """The parameter table, the last known values and status, and the way to request changes.

    Call it from one thread: the desk's event loop. `set` coerces and rejects values here already, so that a flood of
    invalid messages never leaves the desk. A value changes, and subscribers are called, when the stage confirms it.
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
        self.parameter_states: Mapping[str, ParameterState] = {}  # of every parameter, at the time of the last status
        self.kept: dict[str, Any] = {}  # see `keep_for_restart`
        self.metrics = metrics
        self.frame: Frame | None = None  # the newest output frame, for previews
        self.subscribers: list[Subscription] = []
        self._queue = RequestQueue()
        self._wake = wake
        self._throttle = LogThrottle(log, metrics)

    def subscribe(
        self,
        *,
        on_changes: Callable[[list[Change]], None] | None = None,
        on_status: Callable[[Mapping[str, Value]], None] | None = None,
        on_table: Callable[[], None] | None = None,
        on_panic: Callable[[], None] | None = None,
    ) -> Callable[[], None]:
        """Call these functions from now until the returned function is called.

        Args:
            on_changes: called with the parameters that changed, once `values` has their new values.
            on_status: called with every status.
            on_table: called once `table` and `values` have been replaced.
            on_panic: called when a panic is requested, which cancels every request made before it.

        Returns:
            A function that ends the subscription; further calls of it do nothing.
        """
        subscription = Subscription(on_changes, on_status, on_table, on_panic)
        self.subscribers.append(subscription)

        def unsubscribe() -> None:
            if subscription in self.subscribers:
                self.subscribers.remove(subscription)

        return unsubscribe

    def set(self, name: str, value: Any, origin: str) -> bool:
        """Request a new value of a parameter. Returns False, and counts it, if the name or the value is invalid."""
        parameter = self.table.get(name)
        if parameter is None:
            self._throttle.warn("desk/unknown", f"{origin}: no parameter {name!r:.80}")
            return False
        try:
            coerced = parameter.coerce(value)
        except Refused as refusal:
            self._throttle.warn("desk/refused", f"{origin}: {refusal}")
            return False
        self._queue.set(Change(name, coerced, origin))
        self._wake()
        return True

    def command(self, name: str, origin: str, arguments: Sequence[Any] = ()) -> bool:
        """Request a command. Returns False, and counts it, if the name or the arguments are invalid."""
        try:
            coerced = self._coerce(name, arguments)
        except Refused as refusal:
            path = "desk/refused" if name in self.commands else "desk/unknown"
            self._throttle.warn(path, f"{origin}: {refusal}")
            return False
        self._add(CommandRequest(name, origin, coerced))
        self._wake()
        return True

    def refusal(self, name: str, arguments: Sequence[Any] = ()) -> str:
        """The reason why `command` would reject this; empty if it would accept it."""
        try:
            self._coerce(name, arguments)
        except Refused as refusal:
            return str(refusal)
        return ""

    def _coerce(self, name: str, arguments: Sequence[Any]) -> tuple[Value, ...]:
        """Raises Refused, with the whole reason."""
        if name not in self.commands:
            raise Refused(f"no command {name!r:.80}")
        try:
            return self.commands[name].coerce(arguments)
        except Refused as refusal:
            raise Refused(f"{name}: {refusal}") from None

    def _add(self, request: CommandRequest) -> None:
        queue = self._queue
        if request.name == "panic":  # it cancels every earlier request
            queue.steps.clear()
            for subscriber in list(self.subscribers):
                if subscriber.on_panic:
                    subscriber.on_panic()
        command = self.commands[request.name]
        if command.required and not command.cumulative:  # of several requests with arguments only the newest counts
            key = self._key(request)
            queue.steps = [
                step for step in queue.steps if not isinstance(step, CommandRequest) or self._key(step) != key
            ]
        if len(queue.commands) < COMMANDS_KEPT:
            queue.steps.append(request)

    def _key(self, request: CommandRequest) -> tuple[Any, ...]:
        is_keyed = self.commands[request.name].keyed
        return (request.name, *request.arguments[:1]) if is_keyed else (request.name,)

    def keep_for_restart(self, controller: str, state: Any) -> None:
        """Give the stage a picklable state that the controllers of a restarted desk find in `kept`.

        The state "tempo", an `ExternalTempo`, is also read by the stage itself: the tempo of an external clock.
        """
        self.kept[controller] = state
        self._wake()

    def pop_requests(self) -> RequestQueue:
        """Return the requests made since the last call, and start an empty queue."""
        queue, self._queue = self._queue, RequestQueue()
        return queue

    def replace_table(self, table: Table, values: Mapping[str, Value]) -> None:
        """Use another table of parameters with its values. Drops requests for parameters that it does not have."""
        self.table, self.values = table, dict(values)
        for step in self._queue.steps:
            if isinstance(step, dict):
                for name in step.keys() - table.keys():
                    del step[name]
        for subscriber in list(self.subscribers):
            if subscriber.on_table:
                subscriber.on_table()

    def apply_update(
        self,
        changes: list[Change],
        status: Mapping[str, Value] | None,
        parameter_states: Mapping[str, ParameterState] | None = None,
    ) -> None:
        """Apply what the stage reports, and call the subscribers."""
        if parameter_states is not None:
            self.parameter_states = parameter_states
        changes = [change for change in changes if change.name in self.table]
        if changes:
            self.values.update({change.name: change.value for change in changes})
            for subscriber in list(self.subscribers):
                if subscriber.on_changes:
                    subscriber.on_changes(changes)
        if status is not None:
            self.status = dict(status)
            for subscriber in list(self.subscribers):
                if subscriber.on_status:
                    subscriber.on_status(status)
