"""CueSender: sends the OSC and MIDI messages of cues, away from the tick."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from lcm_daemon.automation.cue_messages import CueMessage, MidiMessageOut, OscMessageOut
from lcm_daemon.controllers.midi.port_names import DevicePattern
from lcm_daemon.controllers.midi.ports import MidiBackend, MidiPorts, RtMidi
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

RESOLVED_SECONDS = 60.0  # how long the address of a name is used before it is looked up again

_Address = tuple[Any, ...]  # a socket address of IPv4 or IPv6


class CueSender:
    """Sends what cues send. Nothing raises or blocks: what cannot be sent is counted and logged.

    Args:
        destinations: what the show's cues name, as in `CueMessage.destination`.
        metrics: counters.
        connect: opens the MIDI system.
    """

    def __init__(
        self, destinations: Sequence[tuple[str, ...]], metrics: Metrics, connect: Callable[[], MidiBackend] = RtMidi,
    ) -> None:
        self._metrics, self._throttle = metrics, LogThrottle(log, metrics)
        self._hosts = sorted({(rest[0], int(rest[1])) for kind, *rest in destinations if kind == "osc"})
        self._ports = {rest[0]: MidiPorts([DevicePattern(rest[0], inputs=False)], connect, lambda *_: None,
                                          lambda *_: None, metrics)
                       for kind, *rest in destinations if kind == "midi"}
        self._addresses: dict[tuple[str, int], tuple[_Address, float]] = {}  # with the time of the look-up
        self._sockets: dict[int, socket.socket] = {}  # by address family
        self._numbers = itertools.count()
        self._sending: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Open the MIDI ports and look up the hosts. Call it in the event loop."""
        for ports in self._ports.values():
            ports.start()
        if self._hosts:
            self._run(self._resolve_all())

    async def stop(self) -> None:
        """Send what waits, and close everything."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=1.0)
        for ports in self._ports.values():
            await asyncio.to_thread(ports.stop)
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()

    def send(self, messages: Sequence[CueMessage]) -> None:
        """Send messages in their order. OSC may wait for the look-up of a name."""
        for message in messages:
            if isinstance(message, MidiMessageOut):
                self._send_midi(message)
        if osc := [message for message in messages if isinstance(message, OscMessageOut)]:
            self._run(self._send_osc(osc))

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _send_midi(self, message: MidiMessageOut) -> None:
        ports = self._ports.get(message.port)
        if ports is None or not ports.outputs():
            self._refuse(message, "no MIDI output of this name is open")
        else:
            ports.send(0, {next(self._numbers): [message.data]})
            self._metrics.count("cue/sent")

    async def _resolve_all(self) -> None:
        for host, port in self._hosts:
            try:
                await self._resolve(host, port)
            except OSError as error:
                self._throttle.warn("cue/unsent", f"cues: {host}:{port}: {error}; it is looked up again for each cue")

    async def _resolve(self, host: str, port: int) -> _Address:
        known, at = self._addresses.get((host, port), ((), -RESOLVED_SECONDS))
        if time.monotonic() - at < RESOLVED_SECONDS:
            return known
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError:
            if known:  # the name server may be gone for a while
                return known
            raise
        family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        self._addresses[host, port] = (family, address), time.monotonic()
        return family, address

    async def _send_osc(self, messages: Sequence[OscMessageOut]) -> None:
        for message in messages:
            try:
                packet = encode(message.address, message.arguments)
                family, address = await self._resolve(message.host, message.port)
                self._socket(family).sendto(packet, address)
                self._metrics.count("cue/sent")
            except (OSError, LcmDaemonError) as error:
                self._refuse(message, str(error))

    def _socket(self, family: int) -> socket.socket:
        if family not in self._sockets:
            opened = socket.socket(family, socket.SOCK_DGRAM)
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self._sockets[family] = opened
        return self._sockets[family]

    def _refuse(self, message: CueMessage, reason: str) -> None:
        to = message.as_mapping()["to"]
        self._throttle.warn("cue/unsent", f"cues: the message to {to!r:.80} is not sent: {reason}")


def connect_to(backend: str) -> Callable[[], MidiBackend]:
    """Return a function that opens a MIDI system. backend: the show's `midi.backend`."""
    return functools.partial(RtMidi, backend, False)
