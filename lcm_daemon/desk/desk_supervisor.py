"""DeskSupervisor: keeps one desk open, and collects what it must be sent.

The stage holds copies of the sockets that the desk listens on, and a spare process waits. So a desk that is killed or
stopped is replaced within a fraction of a second, and what was sent in between arrives.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lcm_daemon.automation.cue_messages import CueMessage
from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.moving_values import MovingValues
from lcm_daemon.core.parameters import Table, Value
from lcm_daemon.core.refusals import MAX_WAITING, Refusal
from lcm_daemon.core.requests import Change, ParameterState, RequestQueue
from lcm_daemon.core.stage_numbers import StageNumbers
from lcm_daemon.core.tempo import Tempo
from lcm_daemon.desk import desk
from lcm_daemon.desk.spare_desk import MODULES, NAME, start_desk_process
from lcm_daemon.desk.takeover import DeskLeft, DeskRings, Leave, Left
from lcm_daemon.processes.bootstrap import log_levels
from lcm_daemon.processes.channel import CLOSED
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.frame_slots import FEWEST_SLOTS
from lcm_daemon.processes.prestarted import Prestarted
from lcm_daemon.processes.protocol import Failed, FrameResult, Ready
from lcm_daemon.processes.silence import SilenceWatch
from lcm_daemon.processes.socket_transfer import SocketsUsed, StageSockets
from lcm_daemon.processes.spare_process import SpareProcess
from lcm_daemon.processes.supervisor import ChildSupervisor

log = logging.getLogger(__name__)

START_SECONDS = 30.0  # how long a desk may take to open
WAIT_SECONDS = 0.1  # of each step of the wait for the first one, which a signal may end
FIRST_SPARE_SECONDS = 10.0  # until the first spare, after the start: the first engine loads then
SPARE_SECONDS = 1.0  # until the next spare, after a desk has taken over
SETTLED_SECONDS = 2.0  # a desk that was open for so long does not count as one that fails at its start
LEAVE_SECONDS = 1.0  # for a desk that is replaced on purpose to send what waits
CLOSE_SECONDS = 2.5  # for it to close its connections after that
MAX_OUTGOING = 256  # messages of cues that wait for a desk; further ones are dropped
MOVING_INTERVAL = 0.05  # seconds between two reports of values that move
RETRY_PAUSE = 5.0  # seconds until the next try, after three desks in a minute have failed


class DeskSupervisor(ChildSupervisor):
    """One desk after another. The stage holds the values, so a new desk is only sent the present ones.

    Args:
        config: What a desk is started with.
        size: (width, height) of the preview frames in pixels.
        prestarted: The process of the first desk, if it was started already.
    """

    kind = "desk"

    def __init__(
        self, config: desk.DeskConfig, size: Size, metrics: Metrics, prestarted: Prestarted | None = None,
    ) -> None:
        super().__init__(metrics)
        self.ready = False
        self.error = ""  # why the desk failed, in its own words
        self.counts: Mapping[str, int] = {}  # of this desk and those before it
        self.kept: Mapping[str, Any] = {}  # what the controllers keep for a later desk, and for the stage
        self._config, self._size, self._prestarted = config, size, prestarted
        self._values: Mapping[str, Value] = config.values
        self._changes: dict[str, Change] = {}
        self._status: Mapping[str, Value] | None = None
        self._parameter_states: Mapping[str, ParameterState] | None = None
        self._table: Table | None = None  # not yet sent
        self._requests: list[RequestQueue] = []
        self._refusals: list[Refusal] = []  # not yet sent
        self._receipt = 0  # not yet sent
        self.moving_values: Callable[[float], MovingValues] | None = None  # asked while the desk wants them
        self._wants_moving = False
        self.wants_every_frame = False  # a page shows the output at its full rate
        self.wants_input = False  # a page shows the input
        self._moving, self._moving_at = MovingValues(), 0.0  # what was sent last, and when
        self._outgoing: list[CueMessage] = []  # not yet sent
        self._lists: dict[str, Rows] = {}
        self._new_lists: dict[str, Rows] = {}  # not yet sent
        self._tempo: Tempo | None = None
        self._is_tempo_new = False  # not yet sent
        self._numbers: StageNumbers | None = None  # not yet sent
        self._silence = SilenceWatch()
        self._earlier_counts: dict[str, int] = {}
        self._retry_at = 0.0
        self._sockets, self._rings = StageSockets(), DeskRings()
        self._spare = SpareProcess(NAME, MODULES, "desk", metrics)
        self.keeps_spare = True  # one waits while a desk is open
        self._spare_at: float | None = None  # when the next spare is started; None: once this desk is open
        self._has_ended = False  # a desk has ended in this show
        self._ready_at = 0.0
        self.recycles = False  # another desk is to take over
        self._leaving_at: float | None = None  # when the desk was asked to leave
        self._closing: list[tuple[Child, float]] = []  # desks that have left, and until when they may close

    # --- start ---

    def open(self, values: Mapping[str, Value], now: float) -> None:
        """Start the first desk and wait until it listens. Raises as `begin` and `wait_until_open` do."""
        self.begin(values, now)
        self.wait_until_open(now)

    def begin(self, values: Mapping[str, Value], now: float) -> None:
        """Start the first desk. Raises LcmDaemonError if the system cannot."""
        self._values = values
        try:
            self._start(self._prestarted or start_desk_process(), now)
        except OSError as error:
            raise LcmDaemonError(f"desk (OSC, MIDI, page): cannot be started: {error}") from error

    def wait_until_open(self, now: float, is_ended: Callable[[], bool] = lambda: False) -> None:
        """Wait until the first desk listens.

        Args:
            is_ended: Ends the wait; asked ten times a second.

        Raises:
            LcmDaemonError: It cannot open, because a port is in use, for example.
        """
        end = time.monotonic() + START_SECONDS
        while not (self.ready or is_ended()):
            if self.child is None or time.monotonic() > end:
                raise LcmDaemonError("desk (OSC, MIDI, page): did not start")
            if self.wait_for_message(self.child, WAIT_SECONDS):
                self._read_messages(self.child, now)
            if self.error:
                raise LcmDaemonError(self.error)

    def _start(self, process: Prestarted, now: float) -> None:
        """Let a process become the desk. Raises OSError if the system has no room."""
        sockets = self._sockets.send(process.transfer, process.process.pid or 0)
        config = replace(
            self._config, values=dict(self._values), kept=self.kept, sockets=sockets, rings=self._rings.begin())
        try:
            self.child = Child(NAME, desk.run, self._size, config, log_levels(), guided=True, prestarted=process,
                               fewest=0 if self._has_ended else FEWEST_SLOTS)  # rather no preview than no controls
        except OSError:
            self._rings.end()
            process.kill_unused()
            raise
        if not self.child.channel.slots.count:
            log.warning("desk: /dev/shm is full; the page shows no pictures until the next desk starts")
        self.ready, self.started_at = False, now
        self._silence.heard(now)
        self._table, self._receipt = None, 0
        self._wants_moving, self._moving = False, MovingValues()
        self.wants_every_frame = self.wants_input = False
        self._is_tempo_new, self._new_lists = self._tempo is not None, dict(self._lists)

    def start_next(self, now: float) -> None:
        if now < self._retry_at:
            return
        self._spare.keep(now, is_urgent=True)
        process = self._spare.pop()
        if process is None:
            return
        try:
            self._start(process, now)
        except OSError as error:
            log.warning("desk: cannot be started: %s; next try in %g s", error, RETRY_PAUSE)
            self._retry_at = now + RETRY_PAUSE

    def _keep_spare(self, now: float) -> None:
        """Let a spare wait while a desk is open."""
        if not (self.ready and self.keeps_spare):
            return
        if self._spare_at is None:
            self._spare_at = now + (SPARE_SECONDS if self._has_ended else FIRST_SPARE_SECONDS)
            self._ready_at = now
        if now >= self._spare_at:
            self._spare.keep(now, in_background=not self._has_ended)  # after an end, another one may follow soon

    # --- a desk that is replaced on purpose ---

    def recycle(self, now: float) -> None:
        """Let another desk take over, once a spare waits for it. It returns at once; `recycles` is set until then."""
        self.recycles = True
        self._spare_at = now if self._spare_at is not None else None

    def _recycle(self, now: float) -> None:
        for child, until in [each for each in self._closing if now >= each[1] or not each[0].process.is_alive()]:
            self._closing.remove((child, until))
            self._reaper.kill(child)
        if not self.recycles or not self.ready or self.child is None:
            return
        if self._leaving_at is None and self._spare.is_warm:
            self._leaving_at = now
            self.child.channel.send_without_credit(Leave())
        elif self._leaving_at is not None and now - self._leaving_at >= LEAVE_SECONDS:
            self._let_go(now)

    def _let_go(self, now: float) -> None:
        """The desk has sent what waited: the next one starts while this one closes its connections."""
        if self.child is not None:
            self._closing.append((self.child, now + CLOSE_SECONDS))
        self.metrics.count("desk/recycled")
        self._end(now)
        self.child = None

    def _end(self, now: float) -> None:
        """The next desk takes the place of this one."""
        self._rings.end()
        self._earlier_counts = {**self._earlier_counts, **self.counts}
        self.ready = self.recycles = False
        self._leaving_at = self._spare_at = None
        self._has_ended = True

    def take_over(self, kept: Mapping[str, Any], left: DeskLeft) -> None:
        """Begin with what the desk of the show before has left. kept: As of `DeskConfig`."""
        self.kept, self._sockets, self._rings = kept, left.sockets, left.rings

    def release(self) -> DeskLeft:
        """End the desk, and leave what it has to that of the next show."""
        self.kill_child()
        self._rings.end()
        left, self._sockets, self._rings = DeskLeft(self._sockets, self._rings), StageSockets(), DeskRings()
        return left

    def waitables(self) -> list[Any]:
        return [*super().waitables(), *(self._spare.waitables() if self.child is None else ())]

    def stop(self, seconds: float = 1.0) -> None:
        """End the desk, the spare and the sockets for good, and wait up to `seconds` for their end."""
        self._spare.drop()
        for child, _ in self._closing:
            self._reaper.kill(child)
        self._closing = []
        super().stop(seconds)
        self._sockets.close()
        self._rings.close()

    # --- what the stage calls ---

    def step(self, values: Mapping[str, Value], now: float) -> list[RequestQueue]:
        """Read the controllers' requests, send the updates, replace a desk that died or hangs.

        Args:
            values: Every parameter's value, for a new desk.
        """
        self._values = values
        self.poll(now)
        self._recycle(now)
        self._keep_spare(now)
        self._send_update(values, now)
        requests, self._requests = self._requests, []
        return requests

    def tell(
        self, changes: list[Change], status: Mapping[str, Value] | None = None,
        parameter_states: Mapping[str, ParameterState] | None = None,
    ) -> None:
        """Collect changes and status for the next update; of several changes of one parameter the newest counts."""
        self._changes.update({change.name: change for change in changes})
        if status is not None:
            self._status = status
        if parameter_states is not None:
            self._parameter_states = parameter_states

    def tell_numbers(self, numbers: StageNumbers) -> None:
        """Send what the stage measures, with the next update."""
        self._numbers = numbers

    def tell_refusals(self, refusals: list[Refusal]) -> None:
        """Collect refusals for the next update."""
        self._refusals += refusals[:MAX_WAITING - len(self._refusals)]

    def acknowledge(self, queue: RequestQueue) -> None:
        """Everything in the queue has been handled; the next update says it if the desk wants to know."""
        self._receipt = queue.receipt or self._receipt

    def tell_tempo(self, tempo: Tempo) -> None:
        """Send the show's tempo with the next update, if it has changed."""
        if tempo != self._tempo:
            self._tempo, self._is_tempo_new = tempo, True

    def tell_list(self, name: str, rows: Rows) -> None:
        """Send a list with the next update, if it has changed: what the controllers may show and choose from."""
        if self._lists.get(name) != rows:
            self._lists[name] = self._new_lists[name] = rows

    def send_messages(self, messages: list[CueMessage]) -> None:
        """Let the desk send the messages of cues."""
        kept = messages[:MAX_OUTGOING - len(self._outgoing)]
        self._outgoing += kept
        if len(kept) < len(messages):
            self.metrics.count("dropped/cue messages", len(messages) - len(kept))

    def replace_table(self, table: Table) -> None:
        """Replace the parameter table, of this desk and later ones."""
        self._config, self._table = replace(self._config, table=table), table

    def show(self, frame: Frame, now: float, source: Frame | None = None) -> None:
        """Send a frame for the preview, if the desk accepts one.

        Args:
            frame: The output.
            source: The input, of the same size; it is sent while `wants_input`.
        """
        if self.ready and self.child is not None:
            try:
                self.child.channel.send_frame(frame, {}, now, source if self.wants_input else None)
            except CLOSED:
                return  # `step` finds the same closed pipe

    def _send_update(self, values: Mapping[str, Value], now: float) -> None:
        if not self.ready or self.child is None or not self.child.channel.has_credit:
            return
        moving = self._new_moving(now)
        if not (self._changes or self._status or self._table or moving or self._refusals or self._receipt
                or self._is_tempo_new or self._outgoing or self._new_lists or self._numbers):
            return
        changes, table_values = list(self._changes.values()), dict[str, Value]()
        if self._table:  # a change that waits may be older than the table's values, which the desk applies first
            table_values = dict(values)
            changes = [replace(change, value=values[change.name]) for change in changes if change.name in values]
        update = desk.DeskUpdate(
            changes, self._status, self._parameter_states, self._table, table_values, moving, tuple(self._refusals),
            self._receipt, self._tempo if self._is_tempo_new else None, tuple(self._outgoing),
            self._new_lists, self._numbers)
        try:
            if self.child.channel.send(update):
                self._changes, self._status, self._parameter_states, self._table = {}, None, None, None
                self._moving, self._refusals, self._receipt = moving or self._moving, [], 0
                self._is_tempo_new, self._outgoing, self._new_lists, self._numbers = False, [], {}, None
        except CLOSED:
            return

    def _new_moving(self, now: float) -> MovingValues | None:
        """The values that move, with every change and else 20 times a second; None if the desk has them already."""
        is_due = self._changes or now - self._moving_at >= MOVING_INTERVAL
        if not (self._wants_moving and self.moving_values and is_due):
            return None
        self._moving_at, moving = now, self.moving_values(now)
        return moving if moving != self._moving else None

    # --- the child ---

    def on_message(self, message: Any, child: Child, now: float) -> None:
        match message:
            case desk.DeskRequests():
                self._requests.append(message.queue)
                self._rings.on_message(message.number)
                self.kept, self._wants_moving = message.kept, message.wants_moving
                self.wants_every_frame, self.wants_input = message.wants_every_frame, message.wants_input
                self.counts = {path: n + self._earlier_counts.get(path, 0) for path, n in message.counts.items()}
            case FrameResult():
                child.channel.free_slot(message)
            case Ready():
                self.ready, self.error = True, ""
                self._silence.heard(None)  # its first credits may come a moment later
                self._sockets.on_ready(message.sockets, child.transfer)
                self._rings.on_ready()
            case SocketsUsed():
                self._sockets.on_ready(message, child.transfer)
            case Left():
                self._let_go(now)
            case Failed():
                self.error = message.text

    def is_hung(self, child: Child, now: float) -> bool:
        if not self.ready:
            return now - self.started_at > START_SECONDS or self._silence.is_stopped(child.pid or 0, now)
        if child.channel.has_credit:
            self._silence.heard(now)
        return self._silence.is_hung(child.pid or 0, now)

    def on_failure(self, reason: str, now: float) -> None:
        if self._leaving_at is not None:  # it was to end
            self._let_go(now)
            return
        log.warning("desk %s: %s; starting another", self.pid or "", self.error or reason)
        self.metrics.count("desk/replaced")
        self.report_end(Failed(self.error or reason), {"open": str(self.ready)})
        if self.error and not self.ready:  # it may have been given sockets that it cannot use
            self._sockets.close()
        is_settled = self.ready and now - self._ready_at >= SETTLED_SECONDS
        self.kill_child()
        self._end(now)
        self._retry_at = now if is_settled or self.restarts.allows(now) else now + RETRY_PAUSE
