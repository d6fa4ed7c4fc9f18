"""FrameSlots: what is granted fits into the system's shared memory, also once every slot is written."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from lcm_daemon.processes.frame_slots import FrameSlots
from lcm_daemon.processes.segments import FOLDER

PAIR = 2 * 64 * 64 * 4  # bytes of a slot with its input and its output

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems grant no more than they have")


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """/dev/shm as a container has it, with room for six pairs; `used` is what others have written to it."""
    found = os.statvfs
    state = SimpleNamespace(total=6 * PAIR, names=[])

    def statvfs(path: str) -> SimpleNamespace:
        assert path == FOLDER
        assert found(path)
        written = sum(os.stat(FOLDER / name).st_blocks * 512 for name in state.names)
        return SimpleNamespace(f_bavail=state.total - written, f_frsize=1)

    monkeypatch.setattr(os, "statvfs", statvfs)
    monkeypatch.setattr("lcm_daemon.processes.frame_slots._granted", {})
    return state


def test_memory_that_was_granted_and_not_yet_written_is_not_granted_twice(room: SimpleNamespace) -> None:
    first, second = FrameSlots((64, 64)), FrameSlots((64, 64))
    room.names += [first.name, second.name]
    assert (first.count, second.count) == (3, 3)
    with pytest.raises(OSError, match=r"do not fit into /dev/shm; in a container, raise --shm-size$"):
        FrameSlots((64, 64))
    first.memory()[:] = 7  # what was written is counted by the system, and no longer by this process
    with pytest.raises(OSError, match="do not fit"):
        FrameSlots((64, 64))
    room.names.remove(first.name)
    first.close()
    third = FrameSlots((64, 64), count=8)
    assert third.count == 3, "as many as there is room for"
    third.close()
    room.total -= 2 * PAIR
    third = FrameSlots((64, 64), count=8)
    assert third.count == 1, "one is enough to render"
    third.close()
    room.total -= PAIR
    without = FrameSlots((64, 64), fewest=0)
    assert (without.count, without.inputs, without.memory().size) == (0, [], 0), "a desk controls without pictures"
    without.reserve()
    FrameSlots((64, 64), name=without.name, count=0).close()
    without.close()
    room.total += PAIR
    room.total += 2 * PAIR
    second.close()
    second.close()


@pytest.mark.parametrize(("guided", "inputs_only", "expected"), [
    (False, False, 3 * PAIR), (False, True, 3 * PAIR // 2), (True, False, 9 * PAIR // 2),
])
def test_reserved_memory_is_taken_before_it_is_written_to(guided: bool, inputs_only: bool, expected: int) -> None:
    slots = FrameSlots((64, 64), guided)
    theirs = FrameSlots((64, 64), guided, slots.name)
    assert os.stat(FOLDER / slots.name).st_blocks == 0
    theirs.reserve(inputs_only)
    assert os.stat(FOLDER / slots.name).st_blocks * 512 == expected
    theirs.close()
    slots.close()
