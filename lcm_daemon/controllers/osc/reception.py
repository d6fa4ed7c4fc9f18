"""Reception: what happens to a packet before its messages are carried out: allowlist, queue, check, time tags."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from lcm_daemon.controllers.allowlist import Allowlist
from lcm_daemon.controllers.osc.error_reports import PACKET, ErrorReports
from lcm_daemon.controllers.osc.timetags import TimetagQueue
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.controllers.osc_protocol.intake import Intake, Message
from lcm_daemon.controllers.osc_protocol.packet_check import IMMEDIATELY, MalformedPacket, check_packet
from lcm_daemon.core.held_packets import HeldPacket, HeldPackets
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)


class Reception:
    """Queues the packets of senders that may send, and hands their messages over, sender by sender.

    Args:
        allowlist: Who may send.
        errors: Reports what is refused.
        postponed: Keeps messages until their time tag is due.
        handle: Carries out a message of a sender.
        key: The address of a message that a later one to it replaces, as `MoveKeys.key`.
        metrics: Counters.
        is_full: Whether senders that flood have to wait, as in `Intake`.
        held: Holds what waits, as in `Intake`.

    Attributes:
        intake: The queue.
        on_failed: Called with a connection of which a message has failed.
    """

    def __init__(
        self, allowlist: Allowlist, errors: ErrorReports, postponed: TimetagQueue,
        handle: Callable[[bytes, Address], None], key: Callable[[bytes], bytes], metrics: Metrics,
        is_full: Callable[[], bool] = lambda: False, held: HeldPackets | None = None,
    ) -> None:
        self._allowlist, self._errors, self._postponed = allowlist, errors, postponed
        self._handle_message, self._move_key, self._throttle = handle, key, LogThrottle(log, metrics)
        self.intake: Intake[Address] = Intake(
            self._check, self._handle, self._key, "osc", metrics, self._fail, is_full, held)
        self.on_failed: Callable[[Address], None] = lambda source: None

    def start(self, inherited: Sequence[HeldPacket] = ()) -> None:
        """Handle what is received, until `stop`. inherited: What the desk before has received."""
        for record, sender, packet in inherited:
            source = Address.parse(sender)
            self.intake.put(packet, source, source.host, record=record)
        self.intake.start()

    async def stop(self) -> None:
        """End. Safe to call twice."""
        await self.intake.stop()

    def receive(self, packet: bytes, source: Address) -> None:
        """Queue a packet, if its sender may send."""
        if self._allowlist.allows(source.host):
            self.intake.put(packet, source, source.host)
            return
        self._throttle.warn("osc/denied", f"OSC: {source.host} is not in network.allow and osc.allow; "
                            "its packets are ignored")
        self._errors.report("its packets are ignored: it is not in network.allow and osc.allow", source, False)

    def _check(self, packet: bytes, source: Address) -> Sequence[Message]:
        try:
            checked = check_packet(packet)
        except MalformedPacket as reason:
            self._errors.on_malformed(source, "malformed packet", str(reason))
            return ()
        for fault in checked.faults:
            self._errors.on_malformed(source, PACKET, fault)
        return [Message(*each) for each in checked.messages]

    def _key(self, message: Message) -> bytes:
        """Messages that wait for their time tag are not merged."""
        return self._move_key(message.data) if self._postponed.is_due(message.timetag) else b""

    def _handle(self, message: Message, source: Address) -> None:
        if message.timetag == IMMEDIATELY or not self._postponed.postpone(message.data, message.timetag, source):
            self._handle_message(message.data, source)

    def _fail(self, source: Address) -> None:
        if source.tcp:
            self.on_failed(source)
