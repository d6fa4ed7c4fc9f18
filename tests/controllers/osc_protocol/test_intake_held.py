"""What an intake holds for the process that comes next."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from lcm_daemon.controllers.osc_protocol.intake import MERGED_FROM, MOST_BYTES, Intake, Message
from lcm_daemon.core.held_packets import HeldPackets
from lcm_daemon.core.metrics import Metrics


class Held(HeldPackets):
    """Notes what is held."""

    def __init__(self) -> None:
        self.waiting: dict[int, bytes] = {}
        self.begun: list[int] = []
        self._numbers = itertools.count(1)

    def put(self, sender: str, data: bytes) -> int:
        record = next(self._numbers)
        self.waiting[record] = data
        return record

    def begin(self, record: int) -> None:
        self.begun.append(record)

    def finish(self, record: int) -> None:
        self.waiting.pop(record, None)


def check(packet: bytes, sender: str) -> Iterable[Message]:
    """A packet of messages that commas part; none for "?"."""
    return [Message(each, 1) for each in packet.split(b",")] if packet != b"?" else []


def intake_of(held: Held, handled: list[bytes]) -> Intake[str]:
    def handle(message: Message, sender: str) -> None:
        assert held.waiting, "it is held while it is handled"
        handled.append(message.data)

    def key(message: Message) -> bytes:
        return message.data[:1] if message.data[:1] == b"m" else b""

    return Intake(check, handle, key, "osc", Metrics(), held=held)


def test_a_packet_is_held_until_its_last_message_was_handled() -> None:
    held, handled = Held(), list[bytes]()
    intake = intake_of(held, handled)
    for packet in (b"a,b", b"?", b"c"):
        intake.put(packet, "one", "host")
    assert list(held.waiting.values()) == [b"a,b", b"?", b"c"]
    intake.serve()
    assert (handled, held.waiting, len(held.begun)) == ([b"a", b"b", b"c"], {}, 3)


def test_moves_that_are_replaced_are_held_no_longer() -> None:
    held, handled = Held(), list[bytes]()
    intake = intake_of(held, handled)
    for number in range(MERGED_FROM + 20):
        intake.put(b"m%d" % number, "one", "host")
    for _ in range(9):
        intake.serve()
    assert handled[-1] == b"m%d" % (MERGED_FROM + 19)
    assert held.waiting == {}


def test_what_is_dropped_is_not_held_and_what_waits_at_the_end_is() -> None:
    held, handled = Held(), list[bytes]()
    intake = intake_of(held, handled)
    for number in range(6):
        intake.put(b"%d" % number + bytes(MOST_BYTES // 4), "flood", "host")
    assert [data[:1] for data in held.waiting.values()] == [b"3", b"4", b"5"]
    intake.forget("flood", "host")
    assert held.waiting == {}
    intake.put(b"late", "one", "host")
    asyncio.run(intake.stop())
    assert list(held.waiting.values()) == [b"late"]


def test_a_packet_that_is_held_already_is_not_held_twice() -> None:
    held, handled = Held(), list[bytes]()
    intake = intake_of(held, handled)
    held.waiting[7] = b"a"
    intake.put(b"a", "one", "host", record=7)
    assert list(held.waiting) == [7]
    intake.serve()
    assert held.waiting == {}
