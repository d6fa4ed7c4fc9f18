"""ControlState: the show as a controller sees it. It lives in the desk; the stage holds the authoritative values."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcm_daemon.core.activity import Activity
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.held_packets import HeldPackets
from lcm_daemon.core.held_sockets import HeldSockets
from lcm_daemon.core.learning import Learning
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.moving_values import MovingValues
from lcm_daemon.core.network import NO_POLICY, VIEW_ONLY
from lcm_daemon.core.parameters import Refused, Table, Value
from lcm_daemon.core.presses import Presses
from lcm_daemon.core.rate_limit import RateLimit
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import COMMANDS, Change, CommandRequest, Commands, ParameterState, RequestQueue
from lcm_daemon.core.stage_numbers import StageNumbers
from lcm_daemon.core.tempo import Tempo
from lcm_daemon.core.timecode_input import TimecodeInput

log = logging.getLogger(__name__)

MAX_REFUSALS = 64  # of one sender that are reported in a second: a flood must not cost more than what it is
RECEIPTS_KEPT = 256  # callers of `when_handled` that wait; further ones are not called
INPUT_SECONDS = 2.0  # for which the stage goes on to send the input to pages that asked for it
LARGE_QUEUE = 8  # requests; of such queues the stage handles one after the other
FULL_QUEUE = 16  # commands that wait for the stage, beyond which senders that flood have to wait

Row = Mapping[str, Value]  # one entry of a list, for people: strings, numbers and switches by column
Rows = tuple[Row, ...]


@dataclass(frozen=True, eq=False)
class Subscription:
    """The callbacks of one subscriber."""

    on_changes: Callable[[list[Change]], None] | None
    on_status: Callable[[Mapping[str, Value]], None] | None
    on_table: Callable[[], None] | None
    on_panic: Callable[[], None] | None
    on_moving: Callable[[Mapping[str, Value]], None] | None = None
    on_refusal: Callable[[Refusal], None] | None = None
    on_tempo: Callable[[Tempo], None] | None = None
    on_list: Callable[[str], None] | None = None
    on_frame: Callable[[], None] | None = None


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
        self.network = NO_POLICY
        self.viewers: set[str] = set()  # origins that may only look
        self.browser_source = ""  # name of the show's browser source; empty if it has none
        self.looks_folder: Path | None = None  # where the thumbnails of the looks are
        self.sources: Mapping[str, Mapping[str, Any]] = {}  # the show's: `transport`, `label` and `options` by name
        self.table = table
        self.commands = commands
        self.values: dict[str, Value] = dict(values)
        self.status: dict[str, Value] = {}
        self.numbers: StageNumbers | None = None  # what the stage measures; None until it has said so
        self.activity = Activity()  # of OSC and MIDI
        self.presses = Presses()  # the buttons of OSC peers
        self.moving = MovingValues()  # up to date while a subscriber has `on_moving`
        self.parameter_states: Mapping[str, ParameterState] = {}  # of every parameter, at the time of the last status
        self.lists: dict[str, Rows] = {}  # what there is to choose from, by name: see `set_list`
        self.tempo = Tempo()  # of the show: its own, or that of an external clock
        self.kept: dict[str, Any] = {}  # see `keep_for_restart`
        self.sockets: HeldSockets | None = None  # those that controllers listen on, where another desk may follow
        self.packets = HeldPackets()  # what they have read, and not carried out
        self.metrics = metrics
        self._frame: Frame | None = None
        self.input: Frame | None = None  # the newest input frame, of the output's size; see `ask_for_input`
        self._input_asked_at = -math.inf
        self.subscribers: list[Subscription] = []
        self._queue = RequestQueue()
        self._wanting: list[Callable[[], None]] = []  # called once the present queue has been handled
        self._unhandled: dict[int, list[Callable[[], None]]] = {}  # the same of queues that were sent, by receipt
        self._receipt = 0
        self._large = 0  # receipt of the last large queue
        self._wake = wake
        self._throttle = LogThrottle(log, metrics)
        self._refusal_limit = RateLimit(MAX_REFUSALS)
        self.learning = Learning(self)
        self.timecode = TimecodeInput(lambda report: self.keep_for_restart("timecode", report))
        self.own_commands: Mapping[str, Callable[[str, tuple[Value, ...]], None]] = {  # the others are the stage's
            "learn/start": self.learning.start, "learn/cancel": self.learning.cancel,
            "learn/accept": self.learning.accept, "learn/range": self.learning.set_range,
            "learn/curve": self.learning.set_curve, "learn/remove": self.learning.remove,
        }

    def subscribe(
        self,
        *,
        on_changes: Callable[[list[Change]], None] | None = None,
        on_status: Callable[[Mapping[str, Value]], None] | None = None,
        on_table: Callable[[], None] | None = None,
        on_panic: Callable[[], None] | None = None,
        on_moving: Callable[[Mapping[str, Value]], None] | None = None,
        on_refusal: Callable[[Refusal], None] | None = None,
        on_tempo: Callable[[Tempo], None] | None = None,
        on_list: Callable[[str], None] | None = None,
        on_frame: Callable[[], None] | None = None,
    ) -> Callable[[], None]:
        """Call these functions from now until the returned function is called.

        Args:
            on_changes: called with the parameters that changed, once `values` has their new values.
            on_status: called with every status.
            on_table: called once `table` and `values` have been replaced.
            on_panic: called when a panic is requested, which cancels every request made before it.
            on_moving: called with the values in force that have changed, some 20 times a second while something
                moves. Without such a subscriber the stage does not send them.
            on_refusal: called with every request that is refused, here or by the stage.
            on_tempo: called with the tempo of the show when it has changed.
            on_list: called with the name of a list when its rows have changed.
            on_frame: called when `frame` is a newer one. Without such a subscriber the stage sends only some frames.

        Returns:
            A function that ends the subscription; further calls of it do nothing.
        """
        subscription = Subscription(on_changes, on_status, on_table, on_panic, on_moving, on_refusal, on_tempo,
                                    on_list, on_frame)
        self.subscribers.append(subscription)
        if on_moving or on_frame:
            self._wake()  # the stage learns that it is wanted

        def unsubscribe() -> None:
            if subscription in self.subscribers:
                self.subscribers.remove(subscription)
                if on_moving or on_frame:
                    self._wake()

        return unsubscribe

    @property
    def wants_moving(self) -> bool:
        """Whether a subscriber wants the values in force."""
        return any(subscriber.on_moving for subscriber in self.subscribers)

    @property
    def wants_every_frame(self) -> bool:
        """Whether a subscriber wants each output frame."""
        return any(subscriber.on_frame for subscriber in self.subscribers)

    @property
    def frame(self) -> Frame | None:
        """The newest output frame, for previews; None before the first."""
        return self._frame

    @frame.setter
    def frame(self, frame: Frame | None) -> None:
        self._frame = frame
        for subscriber in list(self.subscribers):
            if subscriber.on_frame:
                subscriber.on_frame()

    def ask_for_input(self) -> None:
        """Let the stage send `input` beside the output for INPUT_SECONDS more. Until someone asks, it sends none."""
        wanted, self._input_asked_at = self.wants_input, time.monotonic()
        if not wanted:
            self.input = None  # of an earlier time
            self._wake()

    @property
    def wants_input(self) -> bool:
        """Whether `ask_for_input` was called within the last INPUT_SECONDS."""
        return time.monotonic() - self._input_asked_at < INPUT_SECONDS

    def faded(self, name: str) -> Value:
        """A parameter's value on its fade, without modulation; needs a subscriber with `on_moving`."""
        return self.moving.faded.get(name, self.values[name])

    def update_tempo(self, tempo: Tempo) -> None:
        """Take the show's tempo from the stage, and call the subscribers."""
        self.tempo = tempo
        for subscriber in list(self.subscribers):
            if subscriber.on_tempo:
                subscriber.on_tempo(tempo)

    def set_list(self, name: str, rows: Rows) -> None:
        """Replace a list, such as the looks or the sources that were found, and call the subscribers."""
        if self.lists.get(name) == rows:
            return
        self.lists[name] = rows
        for subscriber in list(self.subscribers):
            if subscriber.on_list:
                subscriber.on_list(name)

    def in_force(self, name: str) -> Value:
        """A parameter's value in force; needs a subscriber with `on_moving`."""
        return self.moving.in_force.get(name, self.values[name])

    def set(self, name: str, value: Any, origin: str) -> bool:
        """Request a new value of a parameter. Returns False, and counts it, if the name or the value is invalid."""
        if self.refuses(origin):
            return False
        parameter = self.table.get(name)
        if parameter is None:
            self._refuse("desk/unknown", origin, f"no parameter {name!r:.80}")
            return False
        try:
            coerced = parameter.coerce(value)
        except Refused as refusal:
            self._refuse("desk/refused", origin, str(refusal))
            return False
        self._queue.set(Change(name, coerced, origin))
        self._wake()
        return True

    def command(self, name: str, origin: str, arguments: Sequence[Any] = ()) -> bool:
        """Request a command. Returns False, and counts it, if the name or the arguments are invalid."""
        if self.refuses(origin):
            return False
        try:
            coerced = self._coerce(name, arguments)
            if name in self.own_commands:
                self.own_commands[name](origin, coerced)
                return True
        except Refused as refusal:
            path = "desk/refused" if name in self.commands else "desk/unknown"
            self._refuse(path, origin, str(refusal))
            return False
        self._add(CommandRequest(name, origin, coerced))
        self._wake()
        return True

    def refuses(self, origin: str) -> bool:
        """Whether this origin may only look. If so, its request is counted, logged and answered as a refusal.

        `set` and `command` ask this themselves; ask it before anything else that a client may request.
        """
        if origin in self.viewers:
            self._refuse("desk/viewer/refused", origin, VIEW_ONLY)
            return True
        return False

    def _refuse(self, path: str, origin: str, text: str) -> None:
        if self._refusal_limit.allows(origin):
            self._throttle.warn(path, f"{origin}: {text}")
            self._tell_refusal(Refusal(origin, text))
        else:
            self.metrics.count(path)

    def report_refusal(self, refusal: Refusal) -> None:
        """Tell the subscribers of a request that was refused, up to MAX_REFUSALS. Its log line is written elsewhere."""
        if self._refusal_limit.allows(refusal.origin):
            self._tell_refusal(refusal)

    def _tell_refusal(self, refusal: Refusal) -> None:
        for subscriber in list(self.subscribers):
            if subscriber.on_refusal:
                subscriber.on_refusal(refusal)

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
            self.learning.cancel()
            for subscriber in list(self.subscribers):
                if subscriber.on_panic:
                    subscriber.on_panic()
        command = self.commands[request.name]
        if command.required and not command.cumulative:
            queue.drop_replaced(request, self._key)
        if queue.add(request):
            self._throttle.warn("desk/dropped", f"{request.origin}: too many commands wait for the stage; one of those "
                                "who send the most is dropped")

    def _key(self, request: CommandRequest) -> tuple[Any, ...]:
        is_keyed = self.commands[request.name].keyed
        return (request.name, *request.arguments[:1]) if is_keyed else (request.name,)

    def keep_for_restart(self, controller: str, state: Any) -> None:
        """Give the stage a picklable state that the controllers of a restarted desk find in `kept`.

        The stage itself reads "tempo", an `ExternalTempo` of an external clock, and "timecode", a `TimecodeReport`.
        """
        self.kept[controller] = state
        self._wake()

    def pop_requests(self) -> RequestQueue:
        """Return the requests made since the last call, and start an empty queue."""
        queue, self._queue = self._queue, RequestQueue()
        if self._wanting or len(queue) > LARGE_QUEUE:
            self._receipt = queue.receipt = self._receipt + 1
            self._unhandled[queue.receipt], self._wanting = self._wanting, []
            if len(queue) > LARGE_QUEUE:
                self._large = queue.receipt
        return queue

    @property
    def is_stage_busy(self) -> bool:
        """Whether the stage has a large queue to handle. What is requested now is merged until it has."""
        return self._large in self._unhandled

    @property
    def is_full(self) -> bool:
        """Whether a controller that has more requests of a flood should hold them back."""
        return len(self._queue.commands) >= FULL_QUEUE

    def when_handled(self, callback: Callable[[], None]) -> None:
        """Call a function once the stage has handled everything that was requested before."""
        if len(self._wanting) < RECEIPTS_KEPT and len(self._unhandled) < RECEIPTS_KEPT:
            self._wanting.append(callback)
            self._wake()

    def _on_receipt(self, receipt: int) -> None:
        for number in [each for each in self._unhandled if each <= receipt]:
            for callback in self._unhandled.pop(number):
                callback()

    def replace_table(self, table: Table, values: Mapping[str, Value]) -> None:
        """Use another table of parameters with its values. Drops requests for parameters that it does not have."""
        self.table, self.values = table, dict(values)
        self.learning.publish()
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
        moving: MovingValues | None = None,
        refusals: Sequence[Refusal] = (),
        receipt: int = 0,
    ) -> None:
        """Apply what the stage reports, and call the subscribers."""
        if parameter_states is not None:
            self.parameter_states = parameter_states
        before, self.moving = self.moving.in_force, moving or self.moving
        changes = [change for change in changes if change.name in self.table]
        if changes:
            self.values.update({change.name: change.value for change in changes})
            for subscriber in list(self.subscribers):
                if subscriber.on_changes:
                    subscriber.on_changes(changes)
        if moving is not None:
            self._report_moving(before)
        if status is not None:
            self.status = dict(status)
            for subscriber in list(self.subscribers):
                if subscriber.on_status:
                    subscriber.on_status(status)
        for refusal in refusals:
            self.report_refusal(refusal)
        self._on_receipt(receipt)

    def _report_moving(self, before: Mapping[str, Value]) -> None:
        now = self.moving.in_force
        moved = {name: self.in_force(name) for name in {**before, **now}
                 if name in self.table and before.get(name) != now.get(name)}
        for subscriber in list(self.subscribers):
            if subscriber.on_moving and moved:
                subscriber.on_moving(moved)
