"""DmxListener: receives DMX, and lets the lines of the map act."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from lcm_daemon.controllers.allowlist import Allowlist, is_loopback
from lcm_daemon.controllers.dmx import artnet, sacn
from lcm_daemon.controllers.dmx.channels import DmxChannels
from lcm_daemon.controllers.dmx.options import BOTH, ZERO, universes_of
from lcm_daemon.controllers.dmx.packet import ARTNET, PORTS, PROTOCOLS, SACN, UNIVERSES, DmxPacket, MalformedDmx
from lcm_daemon.controllers.dmx.receiver import DmxReceiver, address_towards
from lcm_daemon.controllers.dmx.universe import MOST_SENDERS, Universe
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.rate_limit import RateLimit

log = logging.getLogger(__name__)

CHECK_INTERVAL = 0.25  # seconds between two looks for senders that are gone
JOIN_INTERVAL = 10.0  # seconds between two looks for networks that have come up
MOST_LOGGED = 64  # senders that the log names
ANSWERS = 4  # to one host a second, which may be no more than a console needs: an answer is longer than its question


class DmxListener:
    """Listens to both protocols. No packet raises, blocks or fills the log; what is ignored is counted under "dmx/".

    Args:
        controls: Control state of the show.
        options: The keys of `dmx:` in the show.
        clock: Returns seconds of perf_counter.
    """

    def __init__(self, controls: ControlState, options: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self._controls, self._options = controls, options
        self._clock, self._metrics = clock, controls.metrics
        lines = universes_of(options["map"], options["universe"])
        self._universes = {number: Universe(self._options["merge"]) for number in lines}
        self._channels = DmxChannels(lines, controls)
        self._allowlist = Allowlist(controls.network.allow, self._options["allow"])
        self._throttle, self._answers = LogThrottle(log, self._metrics), RateLimit(ANSWERS)
        self._seen: set[tuple[int, Hashable]] = set()  # universes and senders that the log has named
        self._others: set[tuple[str, int]] = set()  # protocols and universes without lines that the log has named
        self._receivers: dict[str, DmxReceiver] = {}
        self._checking: asyncio.Task[None] | None = None

    @property
    def ports(self) -> Mapping[str, int]:
        """The UDP port of each protocol that is listened to."""
        return {protocol: receiver.port for protocol, receiver in self._receivers.items()}

    async def start(self) -> None:
        """Listen. Raises LcmDaemonError if no port can be bound; with one of two, DMX works by that protocol."""
        if self._checking is not None:
            return
        wanted = self._options["protocol"]
        errors = [error for protocol in PROTOCOLS if wanted in (BOTH, protocol) and (error := self._open(protocol))]
        if errors and not self._receivers:
            raise LcmDaemonError("; ".join(errors))
        for error in errors:
            log.warning("%s; DMX works by the other protocol", error)
        self._unsubscribe = self._controls.subscribe(
            on_changes=self._channels.on_changes, on_table=self._channels.on_table)
        self._checking = asyncio.create_task(self._check_forever(), name="dmx")
        host = self._options["host"]
        if sys.platform != "win32" and host != "0.0.0.0" and not is_loopback(host):
            log.warning("DMX: on %s alone, broadcast and multicast do not arrive: the desk has to send to this "
                        "address; with host 0.0.0.0, `allow` limits who may send", host)
        log.info("DMX: %s; universes: %s", ", ".join(f"{name} on UDP port {port}" for name, port in self.ports.items()),
                 self._numbers())

    async def stop(self) -> None:
        checking, self._checking = self._checking, None
        if checking is None:
            return
        self._unsubscribe()
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)
        receivers, self._receivers = self._receivers, {}
        for receiver in receivers.values():
            await receiver.stop()

    def _open(self, protocol: str) -> str:
        """Listen to a protocol. Returns why that is not possible, or an empty string."""
        host, is_sacn = self._options["host"], protocol == SACN
        groups = [sacn.group_of(number) for number in sorted(self._universes) if number >= UNIVERSES[SACN][0]]
        name, port = ("sACN", self._options["sacn_port"]) if is_sacn else ("Art-Net", self._options["artnet_port"])
        try:
            receiver = DmxReceiver(name, host, port, groups if is_sacn else (), self._metrics, self._controls.sockets)
        except LcmDaemonError as error:
            return str(error)
        self._receivers[protocol] = receiver
        receiver.start(self.on_sacn if is_sacn else self.on_artnet)
        return ""

    # Receiving

    def on_sacn(self, data: bytes, peer: tuple[str, int]) -> None:
        """Take a datagram of the sACN port. peer: Its sender's host and port."""
        if not self._allows(peer[0]) or self._is_foreign(SACN, sacn.universe_of(data)):
            return
        try:
            packet = sacn.read_sacn(data, peer[0])
        except MalformedDmx as reason:
            self._on_malformed("sACN", peer[0], reason)
        else:
            if packet is not None:
                self._on_packet(packet)

    def on_artnet(self, data: bytes, peer: tuple[str, int]) -> None:
        """Take a datagram of the Art-Net port. peer: Its sender's host and port."""
        if not self._allows(peer[0]):
            return
        try:
            code = artnet.operation(data)
            if code == artnet.DMX:
                if not self._is_foreign(ARTNET, artnet.universe_of(data)):
                    self._on_packet(artnet.read_artnet(data, peer[0]))
            elif code == artnet.TIMECODE and self._options["timecode"]:
                self._controls.timecode.receive(artnet.read_timecode(data, peer[0], self._clock()))
            elif code == artnet.POLL and self._answers.allows(peer[0]):
                self._answer(peer[0])
        except MalformedDmx as reason:
            self._on_malformed("Art-Net", peer[0], reason)

    def _allows(self, host: str) -> bool:
        if self._allowlist.allows(host):
            return True
        self._throttle.warn("dmx/denied", f"DMX: {host} is not in network.allow and dmx.allow; its packets are ignored")
        return False

    def _is_foreign(self, protocol: str, universe: int) -> bool:
        """Whether no line reads this universe, and the log has said so: a large rig has a hundred such universes."""
        if universe in self._universes or (protocol, universe) not in self._others:
            return False
        self._metrics.count("dmx/other_universes")
        return True

    def _on_malformed(self, protocol: str, host: str, reason: MalformedDmx) -> None:
        self._throttle.warn("dmx/malformed", f"DMX: {protocol} packet from {host} is ignored: {reason}")

    def _on_packet(self, packet: DmxPacket) -> None:
        self._metrics.count("dmx/packets")
        universe = self._universes.get(packet.universe)
        if universe is None:
            self._metrics.count("dmx/other_universes")
            self._note_other_universe(packet)
            return
        self._note_sender(packet, universe)
        had_sender = universe.has_sender
        if universe.receive(packet, self._clock()) or (universe.has_sender and not had_sender):
            self._controls.activity.note("dmx", f"universe {packet.universe}", packet.label)
            self._channels.on_levels(packet.universe, universe.levels)
        if had_sender:
            self._look_for_loss(packet.universe, universe)

    def _note_sender(self, packet: DmxPacket, universe: Universe) -> None:
        if universe.knows(packet) or packet.has_ended:
            return
        if universe.is_full:
            self._throttle.warn("dmx/too_many", f"DMX: universe {packet.universe} has {MOST_SENDERS} senders; "
                                f"{packet.label} is not heard")
            return
        seen = (packet.universe, packet.sender)
        if seen not in self._seen and len(self._seen) < MOST_LOGGED:
            self._seen.add(seen)
            log.info("DMX: universe %d comes from %s by %s, priority %d", packet.universe, packet.label,
                     packet.protocol, packet.priority)

    def _note_other_universe(self, packet: DmxPacket) -> None:
        """Name it once: many desks count the universes of Art-Net from 1, and a show that is one off hears nothing."""
        place = (packet.protocol, packet.universe)
        if place not in self._others and len(self._others) < MOST_LOGGED:
            self._others.add(place)
            log.info("DMX: %s also sends universe %d by %s, which no line of dmx.map reads; they read %s", packet.label,
                     packet.universe, packet.protocol, self._numbers())

    def _numbers(self) -> str:
        return ", ".join(map(str, sorted(self._universes))) or "none"

    def _answer(self, host: str) -> None:
        """Tell a console which universes are wanted."""
        wanted = [number for number in self._universes if number <= UNIVERSES[ARTNET][1]]
        for reply in artnet.poll_replies(wanted, address_towards(host), f"lcm-daemon {self._controls.show}"):
            self._receivers[ARTNET].send(reply, (host, PORTS[ARTNET]))  # not the port that it has asked from

    # Senders that are gone

    async def _check_forever(self) -> None:
        joined_at = self._clock()
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            self.check(self._clock())
            if self._clock() - joined_at > JOIN_INTERVAL:
                joined_at = self._clock()
                for receiver in self._receivers.values():
                    receiver.join()

    def check(self, now: float) -> None:
        """Look for senders that are gone at `now` (seconds of the clock)."""
        for number, universe in self._universes.items():
            if not universe.has_sender:
                continue
            if universe.drop_silent(now):
                self._channels.on_levels(number, universe.levels)
            self._look_for_loss(number, universe)

    def _look_for_loss(self, number: int, universe: Universe) -> None:
        if universe.has_sender:
            return
        is_zero = self._options["on_loss"] == ZERO
        self._throttle.warn("dmx/lost", f"DMX: universe {number} has no sender any more; "
                            + ("its channels go to 0" if is_zero else "its values stay"))
        if is_zero:
            self._channels.on_loss(number)
