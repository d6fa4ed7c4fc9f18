"""The bell wakes a wait, and a thousand rings are one."""

from __future__ import annotations

import threading
from multiprocessing.connection import wait

from lcm_daemon.stage.wakeup import WakeupPipe


def test_a_ring_from_another_thread_wakes_the_wait_and_is_cleared() -> None:
    bell = WakeupPipe()
    threading.Thread(target=bell.ring).start()
    assert wait([bell.rope], 10.0) == [bell.rope]
    bell.clear()
    assert wait([bell.rope], 0.0) == []
    bell.close()


def test_ringing_never_blocks_and_may_come_too_late() -> None:
    bell = WakeupPipe()
    for _ in range(1_000_000):
        bell.ring()
    bell.clear()
    bell.close()
    bell.ring()
