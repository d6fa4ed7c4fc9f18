"""The audience server: a process that visitors reach with their phones. It has its own port, and no part of the desk.

    GET /join               the page and its files; / leads there
    GET /join/state         the show, the length of the queue, and the visitor's session, as JSON
    POST /join              a session: 201 and a cookie; 200 if the visitor has one; 503 with Retry-After if full or
                            closed, 429 for too many of one address, 403 for a blocked visitor
    GET /join/ws            WebSocket of a session; protocol below
    GET /health             {"open": true} while it serves

A session is a random secret of 256 bits in a cookie (HttpOnly, SameSite=Strict, path /join); the server keeps a digest
of it. It waits, has one turn, and ends; after that its cookie opens nothing. A page that connects in place of another
one of its session closes that one with 4409, so that two tabs are one visitor. A page without a session is closed with
4410.

WebSocket protocol. The server sends JSON text:

    {"hello": {"show", "number", "seconds", "camera": {"side", "fps"} or null, "keeps"}}
    {"state": {"phase": "waiting", "place", "wait"}} or {"state": {"phase": "turn", "left"}}     at least every 4 s
    {"table": {"parameters": [...], "values": {...}}}    the controls, at the start of the turn and with another recipe
    {"values": {...}}       answer to "set": the values as they are now
    {"camera": "ack"}       the camera's frame was taken or dropped; the page may send the next one
    {"withheld": true}      the safety checker withholds the newest picture
    {"ended": reason}       "time", "left", "silent", "skipped" or "blocked"; the connection closes with 4410
    {"error": "one line"}   a request was refused

and the session's pictures as JPEG, in binary messages, two ahead of the page's answers. The page sends JSON text:

    {"here": true}          its answer to each "state"; any message will do. A turn ends after 15 s of silence
    {"set": {"prompt": "ocean", ...}}
    {"picture": "ack"}      a picture was shown
    {"camera": "start"} or "stop"
    {"leave": true}

and JPEG frames of its camera as binary messages, each after the "ack" of the one before.

Limits: texts of 300 characters, messages of 8 KiB, camera frames of 256 KiB, 2048 pixels a side and 15 a second; 60
messages a second are read of a page; a page that takes no message for 10 s is closed with 1013. Eight sessions of an
address; new ones at one in 5 s after the first eight. 20 requests a second of an address after the first 200. Host,
Origin and addresses are checked as by the page's server.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import math
import os
import queue
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from lcm_daemon.audience import messages
from lcm_daemon.audience.camera_frames import MOST_BYTES
from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.kept_pictures import KeptPictures
from lcm_daemon.audience.lobby import STEP_SECONDS, Lobby
from lcm_daemon.audience.places import PUSH_SECONDS
from lcm_daemon.audience.routes import PATH, JoinRoutes
from lcm_daemon.audience.seat_pixels import SeatPixels
from lcm_daemon.audience.visitor_page import ANSWER
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.file_limit import most_connections
from lcm_daemon.core.held_sockets import HeldSockets
from lcm_daemon.core.local_addresses import network_addresses
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.paths import state_folder
from lcm_daemon.processes.bootstrap import LogLevels, set_up_child
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.log_output import flush_log
from lcm_daemon.processes.protocol import Credit, Failed, Ready
from lcm_daemon.processes.socket_transfer import SocketsUsed, SocketTransfer
from lcm_daemon.web.address import browser_url, network_urls
from lcm_daemon.web.certificate import CHECK_SECONDS, ServerCertificate
from lcm_daemon.web.server import WebServer

log = logging.getLogger(__name__)

REPORT_SECONDS = 1.0  # between two reports to the stage
SWITCH_SECONDS = 0.0005  # how long a busy thread may delay the event loop
CREDITS = 4  # messages of the stage at once
LATE = "time/late"  # of the event loop: how much later than due it goes on
SPARE_CONNECTIONS = 192  # for pages that load
PAGE_CONNECTIONS = 6  # of one visitor: what browsers open to one server


def run(endpoint: ChildEndpoint, config: ServerConfig, log_levels: LogLevels) -> None:
    """Run the process: serve visitors until the stage is gone.

    Args:
        endpoint: The child's end of the channel, with one slot for each place.
        log_levels: Log levels of the stage.
    """
    set_up_child(log_levels)
    sys.setswitchinterval(SWITCH_SECONDS)
    channel = ChildChannel(endpoint)
    try:
        channel.slots.reserve()
        asyncio.run(AudienceServer(channel, config, endpoint.transfer).run())
    except LcmDaemonError as error:
        channel.send(Failed(str(error)))
    except Exception as error:  # the top of the server's loop: report it, and let a new server replace this one
        log.exception("audience server failed")
        flush_log()
        channel.send(Failed(f"{type(error).__name__}: {error}".splitlines()[0]))
    finally:
        channel.close()


class AudienceServer:
    """One event loop for all visitors, one thread that reads the stage's messages."""

    def __init__(self, channel: ChildChannel, config: ServerConfig, transfer: SocketTransfer | None = None) -> None:
        self._transfer = transfer or SocketTransfer()
        self._sockets = HeldSockets(self._transfer.receive(config.sockets))
        places = min(config.audience.places, len(channel.slots.outputs))  # fewer where shared memory is short
        audience = dataclasses.replace(config.audience, places=places)
        self._channel, self._config = channel, _with_own_host(dataclasses.replace(config, audience=audience))
        self.metrics = Metrics()
        throttle = LogThrottle(log, self.metrics)
        self._kept = KeptPictures(config.audience.keep, throttle)
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()  # to the stage, which may be slow to read
        self.lobby = Lobby(self._config, self._outgoing.put, self.metrics, time.perf_counter, self._on_gone)
        self._pixels = SeatPixels(channel, self._outgoing.put, self.lobby, throttle, self._kept)
        self._routes = JoinRoutes(self._config, self.lobby, self._pixels, throttle, time.perf_counter)
        if config.kept is not None:
            self.lobby.restore(config.kept)

    def _on_gone(self, number: int) -> None:
        self._pixels.forget(number)

    async def run(self) -> None:
        """Serve until the stage is gone. Raises LcmDaemonError if the server cannot listen."""
        self._loop, self._stage_gone = asyncio.get_running_loop(), asyncio.Event()
        certificate = await asyncio.to_thread(self._open_certificate)
        audience = self._config.audience
        most = min(4 * (audience.places + audience.queue), most_connections(1)) + SPARE_CONNECTIONS
        server = WebServer("audience", "audience", MOST_BYTES, certificate.context if certificate else None,
                           self.metrics, self._config.network.proxies, most,
                           PAGE_CONNECTIONS * audience.per_address, self._sockets)
        port = await server.start(self._routes.app(), audience.host, audience.port)
        address = self._address(port)
        log.info("audience: serving visitors at %s", address)
        passed = self._transfer.send(self._sockets.new, os.getppid())
        self._channel.send(Ready(address, sockets=SocketsUsed(tuple(self._sockets.taken), passed)))
        threading.Thread(target=self._read_messages, name="stage-messages", daemon=True).start()
        threading.Thread(target=self._send_messages, name="stage-outgoing", daemon=True).start()
        self._outgoing.put(Credit(CREDITS))
        gc.freeze()  # what exists now stays: a full collection would visit it for 40 ms each time
        works = [asyncio.create_task(work) for work in (
            self._step(), self._push(), self._report(), self._pixels.encode_pictures(), self._renew(certificate),
            self._stage_gone.wait())]
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in done:
                work.result()
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await server.stop()
            self._outgoing.put(None)  # ends the thread
            self._pixels.close()
            self._kept.close()

    def _open_certificate(self) -> ServerCertificate | None:
        network = self._config.network
        return ServerCertificate(network, state_folder() / "audience") if network.tls else None

    def _address(self, port: int) -> str:
        """The address that visitors open: the one that the show names, or one of this machine's."""
        audience, secure = self._config.audience, self._config.network.tls is not None
        if audience.address:
            return audience.address.rstrip("/").removesuffix(PATH) + PATH
        others = network_urls(audience.host, port, network_addresses(), secure)
        return (others[0] if others else browser_url(audience.host, port, secure)) + PATH

    async def _step(self) -> None:
        while True:
            self.lobby.step()
            if (kept := self.lobby.kept()).state:
                self._outgoing.put(kept)
            await asyncio.sleep(STEP_SECONDS)

    async def _push(self) -> None:
        while True:
            self.lobby.push()
            due = self._loop.time() + PUSH_SECONDS
            await asyncio.sleep(PUSH_SECONDS)
            self.metrics.time(LATE, self._loop.time() - due)

    async def _report(self) -> None:
        while True:
            times = {f"{path} p99 ms": math.ceil(1000 * self.metrics.timing(path, 0.99)) for path in (ANSWER, LATE)}
            counts = {**self.metrics.counts(), **times, "pages": self._routes.open_pages}
            rows = self.lobby.rows()
            more = len(self.lobby.queue) - len(rows)
            self._outgoing.put(messages.SessionList(rows, self.lobby.is_open, counts, more))
            self.lobby.note_turns()
            await asyncio.sleep(REPORT_SECONDS)

    async def _renew(self, certificate: ServerCertificate | None) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            with contextlib.suppress(OSError, LcmDaemonError):  # the present certificate stays
                if certificate is not None:
                    await asyncio.to_thread(certificate.renew)

    def _read_messages(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: this server has ended first
            while (message := self._channel.receive()) is not None:
                self._loop.call_soon_threadsafe(self._on_message, message)
            self._loop.call_soon_threadsafe(self._stage_gone.set)

    def _send_messages(self) -> None:
        while (message := self._outgoing.get()) is not None:
            self._channel.send(message)

    def _on_message(self, message: Any) -> None:
        match message:
            case messages.FrameRead():
                return self._pixels.on_frame_read(message.seat)
            case messages.SeatPicture():
                return self._pixels.on_picture(message)
            case messages.SharedTable():
                self.lobby.replace_table(message)
            case messages.Performer():
                self.lobby.perform(message)
        self._outgoing.put(Credit())
        return None


def _with_own_host(config: ServerConfig) -> ServerConfig:
    """Accept requests to the host of the address that the show names."""
    host = urlsplit(config.audience.address).hostname
    if not host:
        return config
    network = dataclasses.replace(config.network, hosts=(*config.network.hosts, host))
    return dataclasses.replace(config, network=network)
