"""Senders of one universe: merged, of different priority, late, silent, too many."""

from __future__ import annotations

from lcm_daemon.controllers.dmx.packet import ARTNET, HTP, LTP, DmxPacket
from lcm_daemon.controllers.dmx.universe import MOST_SENDERS, Universe


def packet(
    sender: str, *levels: int, priority: int = 100, sequence: int | None = None, ended: bool = False,
    protocol: str = "sacn",
) -> DmxPacket:
    return DmxPacket(protocol, 1, bytes(levels), sender, sender, priority, sequence, ended)


def test_the_highest_level_counts() -> None:
    universe = Universe(HTP)
    assert universe.receive(packet("a", 10, 200), 0.0)
    assert universe.receive(packet("b", 50, 60, 70), 0.0)
    assert universe.levels == bytes([50, 200, 70])
    assert not universe.receive(packet("b", 50, 60, 70), 1.0)
    assert universe.receive(packet("a", 0, 0), 1.0)
    assert universe.levels == bytes([50, 60, 70])


def test_the_latest_change_counts() -> None:
    universe = Universe(LTP)
    universe.receive(packet("a", 10), 0.0)
    universe.receive(packet("b", 20), 0.1)
    universe.receive(packet("a", 10), 0.2)  # repeats itself
    assert universe.levels == bytes([20])
    universe.receive(packet("a", 11), 0.3)
    assert universe.levels == bytes([11])


def test_the_highest_priority_counts_until_its_sender_is_gone() -> None:
    universe = Universe(HTP)
    universe.receive(packet("main", 10, priority=150), 0.0)
    assert not universe.receive(packet("backup", 255), 0.0)
    assert not universe.drop_silent(2.5)
    universe.receive(packet("backup", 255), 2.0)
    assert universe.drop_silent(2.6)
    assert universe.levels == bytes([255])
    universe.receive(packet("main", 10, priority=150), 3.0)
    assert universe.receive(packet("main", 10, priority=150, ended=True), 3.1)
    assert universe.levels == bytes([255])
    assert universe.receive(packet("backup", 9, priority=50), 3.2)  # a priority that changes


def test_levels_stay_when_the_last_sender_is_gone() -> None:
    universe = Universe(HTP)
    universe.receive(packet("a", 10), 0.0)
    universe.receive(packet("b", 9, protocol="artnet"), 0.0)
    assert universe.drop_silent(9.9)  # Art-Net has 10 seconds
    assert universe.levels == bytes([9])
    assert not universe.drop_silent(10.1)
    assert (universe.levels, universe.has_sender) == (bytes([9]), False)


def test_packets_that_were_overtaken_do_nothing() -> None:
    universe = Universe(HTP)
    universe.receive(packet("a", 10, sequence=250), 0.0)
    assert universe.receive(packet("a", 11, sequence=2), 0.0)  # counts past 255
    assert not universe.receive(packet("a", 10, sequence=251), 0.0)
    assert not universe.receive(packet("a", 12, sequence=2), 0.0)
    assert universe.receive(packet("a", 13, sequence=200), 0.0)  # a sender that has started again
    assert universe.receive(packet("b", 20, sequence=1, protocol=ARTNET), 0.0)
    assert universe.receive(packet("b", 30, sequence=1, protocol=ARTNET), 0.0)  # one that does not count


def test_invented_senders_cost_no_memory_and_the_first_ones_are_heard() -> None:
    universe = Universe(HTP)
    for number in range(1000):
        universe.receive(packet(f"{number}", 1), 0.0)
    assert universe.is_full
    assert len(universe._senders) == MOST_SENDERS
    assert universe.receive(packet("0", 99), 0.1)
