"""AudienceSupervisor: keeps one audience server running, and carries pictures and messages between it and the stage."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.messages import FrameRead, Kept, Performer, PictureRead, SeatFrame, SeatPicture, SharedTable
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.processes.bootstrap import LogLevels, log_levels
from lcm_daemon.processes.channel import CLOSED, ChildEndpoint
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.prestarted import Prestarted
from lcm_daemon.processes.protocol import Failed, Ready
from lcm_daemon.processes.silence import SilenceWatch
from lcm_daemon.processes.socket_transfer import StageSockets
from lcm_daemon.processes.spare_process import SpareProcess
from lcm_daemon.processes.supervisor import ChildSupervisor

log = logging.getLogger(__name__)

NAME, MODULES = "lcm-audience", ("lcm_daemon.audience.server",)
ASLEEP_SECONDS = 5.0  # a server that sleeps and sends nothing hangs: it sends its sessions every second
START_SECONDS = 30.0  # how long a server may take to open
WAIT_SECONDS = 0.1  # of each step of the wait for the first one, which a signal may end
RETRY_PAUSE = 5.0  # seconds until the next try, after three servers in a minute have failed
MOST_WAITING = 64  # requests of the performer that wait for a server; further ones are dropped


@dataclass(frozen=True)
class CameraFrame:
    """A frame of a session's camera, copied out of its slot."""

    seat: int
    session: int
    frame: Frame


def run_server(endpoint: ChildEndpoint, config: ServerConfig, levels: LogLevels) -> None:
    """The server's process. Its libraries are imported in the child alone."""
    from lcm_daemon.audience import server

    places = min(config.audience.places, endpoint.slots)
    server.run(endpoint, replace(config, audience=replace(config.audience, places=places)), levels)


class AudienceSupervisor(ChildSupervisor):
    """One audience server after another. A new one gets what the one before kept, and the table.

    Args:
        config: What a server is started with.
        size: (width, height) of camera frames and pictures, in pixels.
        run: What the child runs; tests pass another server.

    Attributes:
        ready: Whether the server listens.
        error: Why it has failed, in its own words.
        address: The address that visitors open; "" before the first server listens.
        kept: What a later server should know.
    """

    kind = "audience"

    def __init__(
        self, config: ServerConfig, size: Size, metrics: Metrics,
        run: Callable[[ChildEndpoint, ServerConfig, LogLevels], None] = run_server,
    ) -> None:
        super().__init__(metrics)
        self.ready, self.error, self.address = False, "", ""
        self.kept: Kept | None = None
        self._config, self._size, self._run = config, size, run
        self._table: SharedTable | None = None
        self._outgoing: deque[SharedTable | Performer] = deque()  # each needs a credit
        self._pictures: dict[int, tuple[int, Frame, bool]] = {}  # newest ones that wait for their slots
        self._unread: set[int] = set()  # seats whose slot holds a picture that the server has not read
        self._received: list[Any] = []
        self._silence = SilenceWatch(asleep=ASLEEP_SECONDS)
        self._sockets = StageSockets()
        self._next = SpareProcess(NAME, MODULES if run is run_server else (), "audience", metrics)
        self._retry_at = 0.0

    # --- start ---

    def begin(self, now: float) -> None:
        """Start the first server. Raises LcmDaemonError if the system cannot."""
        try:
            self._start(Prestarted(NAME, MODULES if self._run is run_server else ()), now)
        except OSError as error:
            raise LcmDaemonError(f"audience: its server cannot be started: {error}") from error

    def wait_until_open(self, now: float, is_ended: Callable[[], bool] = lambda: False) -> None:
        """Wait until the first server listens. is_ended: Ends the wait; asked ten times a second.

        Raises:
            LcmDaemonError: It cannot listen, because its port is in use, for example.
        """
        end = time.monotonic() + START_SECONDS
        while not (self.ready or is_ended()):
            if self.child is None or time.monotonic() > end:
                raise LcmDaemonError("audience: its server did not start")
            if self.wait_for_message(self.child, WAIT_SECONDS):
                self._read_messages(self.child, now)
            if self.error:
                raise LcmDaemonError(self.error)

    def _start(self, process: Prestarted, now: float) -> None:
        """Let a process become the server. Raises OSError if the system has no room."""
        places = self._config.audience.places
        sockets = self._sockets.send(process.transfer, process.process.pid or 0)
        config = replace(self._config, kept=self.kept, sockets=sockets)
        try:
            self.child = Child(NAME, self._run, self._size, config, log_levels(), slots=places, prestarted=process)
        except OSError:
            process.kill_unused()
            raise
        if (room := self.child.channel.slots.count) < places:
            log.warning("audience: shared memory has room for %d places only, not for %d", room, places)
        self.ready, self.error, self.started_at = False, "", now
        self._silence.heard(now)
        self._unread, self._pictures = set(), {}
        asked = [message for message in self._outgoing if isinstance(message, Performer)]
        self._outgoing = deque([*([self._table] if self._table else []), *asked])

    def start_next(self, now: float) -> None:
        if now < self._retry_at:
            return
        self._next.keep(now, is_urgent=True)
        process = self._next.pop()
        if process is None:
            return
        try:
            self._start(process, now)
        except OSError as error:
            log.warning("audience: its server cannot be started: %s; next try in %g s", error, RETRY_PAUSE)
            self._retry_at = now + RETRY_PAUSE

    # --- what the stage calls ---

    def step(self, now: float) -> list[Any]:
        """Read the server's messages, send what waits, replace a server that died or hangs.

        Returns:
            SeatTaken, SeatValues, CameraFrame, SeatLeft, SessionList and AudienceReport, in their order.
        """
        self.poll(now)
        self._send()
        received, self._received = self._received, []
        return received

    def share(self, table: SharedTable) -> None:
        """Tell this server and later ones what visitors may set."""
        self._table = table
        self._outgoing = deque(message for message in self._outgoing if not isinstance(message, SharedTable))
        self._outgoing.append(table)

    def perform(self, request: Performer) -> None:
        """Pass on what the performer asks for."""
        if len(self._outgoing) < MOST_WAITING:
            self._outgoing.append(request)

    def show(self, seat: int, session: int, picture: Frame, verdict: bool = True) -> None:
        """Send a session its picture, once its slot is free; of several that wait, the newest."""
        self._pictures[seat] = (session, picture, verdict)

    def forget(self, seat: int) -> None:
        """Send no picture that waits for this seat."""
        self._pictures.pop(seat, None)

    def _send(self) -> None:
        if not self.ready or self.child is None:
            return
        channel = self.child.channel
        try:
            while self._outgoing and channel.send(self._outgoing[0]):
                self._outgoing.popleft()
            for seat in self._pictures.keys() - self._unread:
                session, picture, verdict = self._pictures.pop(seat)
                np.copyto(channel.slots.inputs[seat], picture.pixels)
                self._unread.add(seat)
                channel.pipe.send(SeatPicture(seat, session, picture.number, picture.time, verdict))
        except CLOSED:
            return  # `poll` finds the same closed pipe

    def waitables(self) -> list[Any]:
        return super().waitables() or self._next.waitables()

    def stop(self, seconds: float = 1.0) -> None:
        """End the server for good, and wait up to `seconds` for its end."""
        self._next.drop()
        super().stop(seconds)
        self._sockets.close()

    # --- the child ---

    def on_message(self, message: Any, child: Child, now: float) -> None:
        self._silence.heard(now)
        match message:
            case SeatFrame():
                pixels = child.channel.slots.outputs[message.seat].copy()
                child.channel.send_without_credit(FrameRead(message.seat))
                frame = Frame(pixels, message.number, message.time)
                self._received.append(CameraFrame(message.seat, message.session, frame))
            case PictureRead():
                self._unread.discard(message.seat)
            case Kept():
                self.kept = (self.kept or Kept({})).updated(message)
            case Ready():
                self.ready, self.error, self.address = True, "", str(message.report or "")
                self._sockets.on_ready(message.sockets, child.transfer)
            case Failed():
                self.error = message.text
            case _:
                self._received.append(message)

    def is_hung(self, child: Child, now: float) -> bool:
        if self.ready:
            return self._silence.is_hung(child.pid or 0, now)
        return now - self.started_at > START_SECONDS or self._silence.is_stopped(child.pid or 0, now)

    def on_failure(self, reason: str, now: float) -> None:
        log.warning("audience: its server %s: %s; starting another", self.pid or "", self.error or reason)
        self.metrics.count("audience/replaced")
        self.report_end(Failed(self.error or reason), {"open": str(self.ready)})
        if self.error and not self.ready:  # it may have been given sockets that it cannot use
            self._sockets.close()
        self.kill_child()
        self.ready = False
        self._retry_at = now if self.restarts.allows(now) else now + RETRY_PAUSE
