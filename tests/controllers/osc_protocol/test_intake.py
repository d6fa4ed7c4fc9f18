"""Intake: senders are served one after another; a flood merges its own moves, loses its oldest, and delays itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest

from lcm_daemon.controllers.osc_protocol import intake
from lcm_daemon.controllers.osc_protocol.intake import Intake, Message
from lcm_daemon.core.metrics import Metrics

HOST = "192.0.2.1"


def split(packet: bytes, sender: str) -> Iterable[Message]:
    """A packet is words: "s1 s2 GO" are two moves of s and a command."""
    return [Message(word, 1) for word in packet.split()]


def key(message: Message) -> bytes:
    return message.data[:1] if message.data.islower() or message.data[1:].isdigit() else b""


class Rig:
    """An intake, and what it has handled."""

    def __init__(self, on_handle: Callable[[bytes], None] = lambda data: None, full: bool = False) -> None:
        self.metrics, self.handled, self.full = Metrics(), list[tuple[str, str]](), full
        self._on_handle = on_handle
        self.failed: list[str] = []
        self.intake: Intake[str] = Intake(
            split, self.handle, key, "osc", self.metrics, self.failed.append, lambda: self.full)

    def handle(self, message: Message, sender: str) -> None:
        self.handled.append((sender, message.data.decode()))
        self._on_handle(message.data)

    def of(self, sender: str) -> list[str]:
        return [word for each, word in self.handled if each == sender]

    def serve_all(self) -> None:
        while self.intake._hosts:
            self.intake.serve()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message takes longer than a turn."""
    monkeypatch.setattr(intake, "SLICE", -1.0)
    monkeypatch.setattr(intake, "TURN", -1.0)


def test_one_sender_keeps_its_order() -> None:
    rig = Rig()
    for packet in (b"s1 s2 GO", b"s3", b"BACK s4 s5"):
        rig.intake.put(packet, "a", HOST)
    rig.serve_all()
    assert rig.of("a") == ["s1", "s2", "GO", "s3", "BACK", "s4", "s5"]


def test_moves_of_a_flood_are_merged_but_not_across_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MERGED_FROM", 3)
    rig = Rig()
    for packet in (b"s1 t1 s2", b"GO t2 s3 t3 GO", b"s4"):
        rig.intake.put(packet, "a", HOST)
    rig.serve_all()
    assert rig.of("a") == ["t1", "s2", "GO", "s3", "t3", "GO", "s4"]


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("host", [HOST, "192.0.2.2"])
def test_another_sender_does_not_wait_for_a_flood(host: str) -> None:
    rig = Rig()
    for number in range(1000):
        rig.intake.put(b"GO " * 10 + b"GO%d" % number, "flood", HOST)
    rig.intake.serve()
    rig.intake.put(b"s1", "honest", host)
    for _ in range(2):
        rig.intake.serve()
    assert rig.of("honest") == ["s1"]


@pytest.mark.usefixtures("slow")
def test_senders_that_flood_have_their_turns_one_after_another() -> None:
    rig = Rig()
    for sender, host in (("a", HOST), ("b", HOST), ("c", "192.0.2.2")):
        for _ in range(50):
            rig.intake.put(b"GO " * 1000, sender, host)
    for _ in range(40):
        rig.intake.serve()
    assert [len(rig.of(sender)) for sender in "abc"] == [10, 10, 20], "hosts share, and the senders of each host"


def test_a_flood_loses_its_oldest_moves_and_keeps_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_PACKETS", 3)
    rig = Rig()
    for packet in (b"s1", b"GO", b"s2 STOP", b"s3", b"s4", b"s5"):
        rig.intake.put(packet, "a", HOST)
    rig.serve_all()
    assert rig.of("a") == ["GO", "STOP", "s3", "s4", "s5"]
    assert rig.metrics.counts() == {"osc/dropped": 3}


def test_what_waits_is_limited_in_bytes_and_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_SENDERS", 5)
    rig = Rig()
    for number in range(200):
        rig.intake.put(b"s" * 65_000, "a", HOST)
        rig.intake.put(b"s1", f"port {number}", HOST)
    waiting = rig.intake._hosts[HOST]
    assert len(waiting) <= 5
    assert sum(each.size for each in waiting.values()) <= intake.MOST_BYTES
    assert rig.intake._senders == len(waiting)


def test_a_connection_waits_until_there_is_room() -> None:
    async def scenario() -> None:
        rig = Rig()
        for number in range(intake.ROOM_PACKETS):
            rig.intake.put(b"s%d" % number, "a", HOST, drops=False)
        room = asyncio.create_task(rig.intake.room("a", HOST))
        drained = asyncio.create_task(rig.intake.drained("a", HOST))
        await asyncio.sleep(0.01)
        assert not room.done()
        rig.intake.start()
        await asyncio.wait_for(asyncio.gather(room, drained), 10)
        assert len(rig.handled) == intake.ROOM_PACKETS
        await rig.intake.stop()
    asyncio.run(scenario())


def test_a_message_that_fails_costs_itself_only() -> None:
    async def scenario() -> None:
        def fail(data: bytes) -> None:
            if data == b"BAD":
                raise ZeroDivisionError

        rig = Rig(fail)
        rig.intake.start()
        rig.intake.put(b"s1 BAD s2", "a", HOST)
        async with asyncio.timeout(10):
            while len(rig.handled) < 3:
                await asyncio.sleep(0)
        assert rig.of("a") == ["s1", "BAD", "s2"]
        assert (rig.failed, rig.metrics.counts()) == (["a"], {"osc/failed": 1})
        await rig.intake.stop()
    asyncio.run(scenario())


@pytest.mark.usefixtures("slow")
def test_while_the_stage_has_enough_to_do_only_senders_without_a_backlog_are_served() -> None:
    rig = Rig()
    for _ in range(10):
        rig.intake.put(b"GO " * 10, "flood", HOST)
    rig.intake.serve()
    rig.full = True
    before = len(rig.of("flood"))
    rig.intake.put(b"s1", "honest", HOST)
    for _ in range(10):
        rig.intake.serve()
    assert rig.of("honest") == ["s1"]
    assert len(rig.of("flood")) == before
    rig.full = False
    rig.serve_all()
    assert len(rig.of("flood")) == 100
