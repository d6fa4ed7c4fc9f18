"""The pipe wakes a wait, and a thousand rings are one."""

from __future__ import annotations

import threading
from multiprocessing.connection import wait

import pytest

from lcm_daemon.stage.wakeup import WakeupPipe


def test_a_ring_from_another_thread_wakes_the_wait_and_is_cleared() -> None:
    pipe = WakeupPipe()
    thread = threading.Thread(target=pipe.wake)
    thread.start()
    assert wait([pipe.reader], 10.0) == [pipe.reader]
    thread.join()
    for _ in range(2):
        pipe.clear()
        assert wait([pipe.reader], 0.0) == []
        pipe.clear()
        pipe.wake()
        assert wait([pipe.reader], 10.0) == [pipe.reader]
    pipe.close()


@pytest.mark.slow
def test_ringing_never_blocks_and_may_come_too_late() -> None:
    pipe = WakeupPipe()
    for _ in range(1_000_000):
        pipe.wake()
    pipe.clear()
    pipe.close()
    pipe.wake()
