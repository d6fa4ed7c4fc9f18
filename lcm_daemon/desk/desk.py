"""The desk process: the controllers (OSC, MIDI, the page), away from the tick."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lcm_daemon import controllers
from lcm_daemon.automation.cue_messages import CueMessage
from lcm_daemon.controllers.curves import FADER_CURVES
from lcm_daemon.core.control_state import ControlState, Rows
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.held_sockets import HeldSockets
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.moving_values import MovingValues
from lcm_daemon.core.network import NO_POLICY, NetworkPolicy
from lcm_daemon.core.parameters import Table, Value
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import Change, ParameterState, RequestQueue, commands
from lcm_daemon.core.stage_numbers import StageNumbers
from lcm_daemon.core.tempo import Tempo
from lcm_daemon.desk.cue_sender import CueSender, connect_to
from lcm_daemon.desk.plugin_controllers import build_controllers
from lcm_daemon.desk.refusal_log import RefusalLog
from lcm_daemon.desk.takeover import NO_RINGS, Leave, Left, RingNames
from lcm_daemon.processes.bootstrap import LogLevels, set_up_child
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.log_output import flush_log
from lcm_daemon.processes.protocol import Credit, Failed, FrameRequest, FrameResult, Ready
from lcm_daemon.processes.socket_transfer import NONE_PASSED, Passed, SocketsUsed, SocketTransfer

log = logging.getLogger(__name__)

SEND_INTERVAL = 0.002  # seconds between two messages to the stage: a flood becomes 500 messages a second
BUSY_SECONDS = 0.5  # for which the stage may handle a large queue before it is sent another one
CREDITS = 2  # one for an update, one for a preview frame
LEAVE_SECONDS = 0.3  # for the controllers to end, until the next desk starts; a page's connections may take longer
CLOSE_SECONDS = 1.5  # for them to end altogether


@dataclass(frozen=True)
class DeskUpdate:
    """Stage to desk, against one credit.

    Args:
        changes: Parameters that changed since the last update.
        status: The newest status, if there is one.
        parameter_states: With the status: every parameter, and who set it.
        table: The parameters, where they were replaced.
        values: With the table: every parameter's value.
        moving: The numbers that move, where they have changed since the last update.
        refusals: Requests that the stage has refused since the last update.
        receipt: That of the last queue that the stage has handled and that asked for one; 0 for none.
        tempo: The show's tempo, where it has changed since the last update.
        outgoing: Messages of cues that have started since the last update.
        lists: The lists that have changed since the last update, by name.
        numbers: What the stage measures, twice a second.
    """

    changes: list[Change]
    status: Mapping[str, Value] | None = None
    parameter_states: Mapping[str, ParameterState] | None = None
    table: Table | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    moving: MovingValues | None = None
    refusals: tuple[Refusal, ...] = ()
    receipt: int = 0
    tempo: Tempo | None = None
    outgoing: tuple[CueMessage, ...] = ()
    lists: Mapping[str, Rows] = field(default_factory=dict)
    numbers: StageNumbers | None = None


@dataclass(frozen=True)
class DeskRequests:
    """Desk to stage.

    Args:
        queue: What the controllers request.
        counts: The desk's counters.
        kept: What a later desk should know, by controller.
        wants_moving: Whether a controller wants the values in force while they move.
        wants_every_frame: Whether a controller shows the output at its full rate.
        wants_input: Whether a controller shows the input.
        number: Of this message, counted from 1 if the desk has a ring.
    """

    queue: RequestQueue
    counts: Mapping[str, int]
    kept: Mapping[str, Any]
    wants_moving: bool = False
    wants_every_frame: bool = False
    wants_input: bool = False
    number: int = 0


@dataclass(frozen=True)
class DeskConfig:
    """What a desk is started with.

    Args:
        show: Name of the show.
        table: Every parameter.
        values: Its values.
        options: Options by controller name; a controller that is not named is off.
        recipes: Names of the recipes that can be changed to.
        kept: What the previous desk kept, by controller.
        browser_source: Name of the show's browser source, "" if it has none.
        sources: The sources that the show names: `transport`, `label` and `options` of each, by name.
        network: Who may reach the servers.
        sinks: Names by which sinks are switched.
        cue_destinations: Where cues send messages to, as in `CueMessage.destination`.
        looks_folder: Where the thumbnails of the looks are.
        sockets: Those that the desk before has listened on.
        rings: Where packets are held that were read from them.
    """

    show: str
    table: Table
    values: Mapping[str, Value]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipes: tuple[str, ...] = ()
    kept: Mapping[str, Any] = field(default_factory=dict)
    browser_source: str = ""
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    network: NetworkPolicy = NO_POLICY
    sinks: tuple[str, ...] = ()
    cue_destinations: tuple[tuple[str, ...], ...] = ()
    looks_folder: Path | None = None
    sockets: Passed = NONE_PASSED
    rings: RingNames = NO_RINGS


def run(endpoint: ChildEndpoint, config: DeskConfig, log_levels: LogLevels) -> None:
    """Run the process: open every controller, then carry changes both ways until the stage is gone.

    Args:
        endpoint: The child's end of the channel.
        log_levels: Log levels of the stage.
    """
    set_up_child(log_levels)
    channel = ChildChannel(endpoint)
    try:
        channel.slots.reserve(inputs_only=True)
        asyncio.run(Desk(channel, config, endpoint.transfer).run())
    except LcmDaemonError as error:
        channel.send(Failed(str(error)))
    except Exception as error:  # the top of the desk's loop: report it, and let a new desk replace this one
        log.exception("desk failed")
        flush_log()
        channel.send(Failed(f"{type(error).__name__}: {error}".splitlines()[0]))
    finally:
        channel.close()


class Desk:
    """One event loop for every controller, one thread that reads the stage's messages."""

    def __init__(self, channel: ChildChannel, config: DeskConfig, transfer: SocketTransfer | None = None) -> None:
        self.metrics = Metrics()
        self.controls = ControlState(
            config.table, config.values, self.metrics, self._schedule_send,
            commands(config.recipes, config.sinks, config.network.max_size),
        )
        self.controls.show, self.controls.kept = config.show, dict(config.kept)
        self.controls.browser_source, self.controls.network = config.browser_source, config.network
        self.controls.looks_folder = config.looks_folder
        self.controls.sources = config.sources
        self._transfer = transfer or SocketTransfer()
        self.controls.sockets = self._sockets = HeldSockets(self._transfer.receive(config.sockets))
        self._ring = config.rings.open()
        self.controls.packets = self._ring or self.controls.packets
        self.controls.learning.on_start = self._open_midi
        self.controls.set_list("curves", tuple({"name": name} for name in FADER_CURVES))
        self._refusal_log = RefusalLog(self.controls, lambda seconds, call: self._loop.call_later(seconds, call))
        self._channel = channel
        self._controllers = list(build_controllers(self.controls, config.options))
        self._has_midi = "midi" in config.options
        backend = config.options.get("midi", {}).get("backend", "auto")
        self._cue_sender = CueSender(config.cue_destinations, self.metrics, connect_to(backend))
        self._scheduled: asyncio.TimerHandle | None = None
        self._sent_at = 0.0

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.controls.learning.call_later = self._loop.call_later
        self.controls.timecode.start(self._loop.call_later, self.controls.kept.get("timecode"))
        self._stage_gone = asyncio.Event()
        try:
            await self._start_controllers()
            self._cue_sender.start()
            self._channel.send(Ready(sockets=self._pass_sockets()))
            self._sockets.on_change = lambda: self._channel.send(self._pass_sockets())
            threading.Thread(target=self._read_messages, name="stage-messages", daemon=True).start()
            for _ in range(CREDITS):
                self._channel.send(Credit())
            await self._stage_gone.wait()
        finally:
            await asyncio.gather(
                *(c.stop() for c in self._controllers), self._cue_sender.stop(), return_exceptions=True)
            self._sockets.close()

    def _pass_sockets(self) -> SocketsUsed:
        """Give the stage copies of the sockets that are new to it."""
        before, new = tuple(self._sockets.taken), self._transfer.send(self._sockets.new, os.getppid())
        self._sockets.mark_passed(new.names)
        return SocketsUsed(before, new)

    async def _leave(self) -> None:
        """Make way for the next desk: what arrives from here on waits for it in the system."""
        kept = dict(self.controls.kept)  # what controllers forget when they end is for the next desk all the same
        stops = [asyncio.ensure_future(stop) for stop in (
            *(each.stop() for each in self._controllers), self._cue_sender.stop())]
        await asyncio.wait(stops, timeout=LEAVE_SECONDS)
        self.controls.kept = kept
        self._send_requests()
        self._channel.send(Left())
        await asyncio.wait(stops, timeout=CLOSE_SECONDS)
        self._stage_gone.set()

    async def _start_controllers(self) -> None:
        """Start every controller. Raises LcmDaemonError with a line for each that fails, such as two ports in use."""
        failures = []
        for controller in self._controllers:
            try:
                await controller.start()
            except LcmDaemonError as error:
                failures.append(str(error))
        if failures:
            raise LcmDaemonError("\n".join(failures))

    def _open_midi(self) -> None:
        """Listen to MIDI devices, if the show does not do it already: one of their controls may be learned."""
        if self._has_midi:
            return
        self._has_midi = True
        midi = controllers.load("midi")(self.controls, {})
        self._controllers.append(midi)
        self._opening = self._loop.create_task(midi.start())

    def _read_messages(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the desk has ended first
            while (message := self._channel.receive()) is not None:
                self._loop.call_soon_threadsafe(self._on_message, message)
            self._loop.call_soon_threadsafe(self._stage_gone.set)

    def _on_message(self, message: FrameRequest | DeskUpdate | Leave) -> None:
        if isinstance(message, Leave):
            self._leaving = self._loop.create_task(self._leave())
            return
        try:
            if isinstance(message, FrameRequest):
                pixels = self._channel.slots.inputs[message.slot].copy()
                if message.guided:
                    guide = self._channel.slots.guides[message.slot].copy()
                    self.controls.input = Frame(guide, message.number, message.time)
                self.controls.frame = Frame(pixels, message.number, message.time)
                self._channel.send(FrameResult(message.slot, message.number, message.time))
            else:
                if message.table is not None:
                    self.controls.replace_table(message.table, message.values)
                if message.outgoing:
                    self._cue_sender.send(message.outgoing)
                for name, rows in message.lists.items():
                    self.controls.set_list(name, rows)
                if message.tempo is not None:
                    self.controls.update_tempo(message.tempo)
                self.controls.numbers = message.numbers or self.controls.numbers
                self.controls.apply_update(
                    message.changes, message.status, message.parameter_states, message.moving, message.refusals,
                    message.receipt)
                if message.status is not None:
                    self._schedule_send()  # the next status needs the desk's counters
        finally:
            self._channel.send(Credit())  # also after a listener failed: the desk must keep receiving

    def _schedule_send(self) -> None:
        """The control state has something for the stage: send it at once, or shortly if much arrives."""
        if self._scheduled is None:
            delay = max(0.0, self._sent_at + SEND_INTERVAL - self._loop.time())
            self._scheduled = self._loop.call_later(delay, self._send_when_ready)

    def _send_when_ready(self) -> None:
        """Send what is requested, unless the stage has enough to do: a flood must not delay its tick."""
        if self.controls.is_stage_busy and self._loop.time() < self._sent_at + BUSY_SECONDS:
            self._scheduled = self._loop.call_later(SEND_INTERVAL, self._send_when_ready)
        else:
            self._send_requests()

    def _send_requests(self) -> None:
        self._scheduled, self._sent_at = None, self._loop.time()
        controls, number = self.controls, self._ring.next_message() if self._ring else 0
        self._channel.send(DeskRequests(
            controls.pop_requests(), self.metrics.counts(), controls.kept, controls.wants_moving,
            controls.wants_every_frame, controls.wants_input, number))
        if self._ring is not None:
            self._ring.release(number)
