"""A card's memory, as torch reports it, and what Windows has lent. The card is a stand-in."""

from __future__ import annotations

import sys

import pytest

from lcm_daemon.pipelines.base import DeviceMemory
from lcm_daemon.render.policy import describe_memory, lacks
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.device_memory import DRIVER, MemoryWatch

GIB = 1 << 30


class Card:
    """Of 8 GiB. torch asks it for memory, and so do other programs."""

    def __init__(self) -> None:
        self.free, self.reserved = 7 * GIB, 0

    def reserve(self, size: int) -> None:
        """As Windows does it: what the card has not comes from the computer."""
        self.reserved += size
        self.free -= min(size, self.free)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (card.free, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: card.reserved)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: card.reserved)
    return card


def test_a_model_that_fits_has_borrowed_nothing(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    watch = MemoryWatch(torch.device("cuda"))
    card.reserve(3 * GIB)
    card.free -= 2 * GIB  # another program
    assert watch.read() == DeviceMemory(2 * GIB, 8 * GIB, 3 * GIB + DRIVER)


def test_what_windows_lends_is_found_and_said_once(
    card: Card, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    watch = MemoryWatch(torch.device("cuda"))
    card.reserve(9 * GIB)
    memory = watch.read()
    assert memory == watch.read() == DeviceMemory(0, 8 * GIB, 9 * GIB + DRIVER, lent=2 * GIB)
    assert len(caplog.records) == 1
    assert "Prefer No Sysmem Fallback" in caplog.text
    assert describe_memory(memory) == (
        "0.0 of 8.0 GiB free; Windows lends 2.0 GiB of the computer's own memory, which is slow")


def test_elsewhere_a_full_card_is_an_error_of_its_own(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    watch = MemoryWatch(torch.device("cuda"))
    card.reserve(9 * GIB)
    memory = watch.read()
    assert memory is not None
    assert memory.lent == 0


def test_the_computers_own_memory_is_not_watched() -> None:
    assert MemoryWatch(torch.device("cpu")).read() is None
    assert lacks(None) == ""
