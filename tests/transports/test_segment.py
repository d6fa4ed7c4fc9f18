"""Segments of shared memory."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from pathlib import Path

import pytest

from lcm_daemon.transports import segment
from lcm_daemon.transports.segment import Segment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems grant no more than they have")


def test_a_segment_has_its_memory_before_it_is_written_to() -> None:
    made = Segment(f"lcmt-{secrets.token_hex(4)}", 1 << 16)
    assert os.stat(Path("/dev/shm", made.name)).st_blocks * 512 == 1 << 16
    made.unlink()
    made.close()


def test_a_segment_without_room_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segment, "reserve", full)
    name = f"lcmt-{secrets.token_hex(4)}"
    with pytest.raises(OSError, match="No space left"):
        Segment(name, 1 << 16)
    assert not Path("/dev/shm", name).exists()
