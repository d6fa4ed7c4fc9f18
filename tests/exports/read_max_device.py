"""Reads a device for Max for Live, chunk by chunk, and its patcher as read_max_for_live does."""

from __future__ import annotations

import struct
from typing import Any

from tests.exports import read_max_for_live


def chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a device by their names."""
    found = {}
    while data:
        name, size = struct.unpack("<4sI", data[:8])
        found[name], data = data[8:8 + size], data[8 + size:]
        assert len(found[name]) == size
    return found


def patcher(data: bytes) -> bytes:
    """The JSON of a device's patcher."""
    found = chunks(data)
    assert (found[b"ampf"], found[b"meta"]) == (b"mmmm", bytes(4))
    assert found[b"ptch"].endswith(b"\0")
    return found[b"ptch"][:-1]


def addresses(data: bytes) -> list[tuple[str, list[Any]]]:
    """Every message that the device sends."""
    return read_max_for_live.addresses(patcher(data))
