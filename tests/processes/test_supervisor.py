"""Children, reaper and budgets."""

from __future__ import annotations

import os
import signal
import time

import pytest

from lcm_daemon.processes.bootstrap import LogLevels, set_up_child
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.protocol import Ready
from lcm_daemon.processes.supervisor import Reaper, RestartLimit


def wait_for_ever(arguments: ChildEndpoint) -> None:
    set_up_child(LogLevels(30))
    port = ChildChannel(arguments)
    port.send(Ready())
    time.sleep(3600)


@pytest.mark.slow
def test_a_stopped_child_is_killed_and_reaped_without_waiting() -> None:
    child, reaper = Child("test", wait_for_ever, (16, 16)), Reaper()
    assert child.channel.pipe.poll(20)
    os.kill(child.pid or 0, signal.SIGSTOP)
    reaper.kill(child)
    reaper.reap(5.0)
    assert child.process.exitcode == -signal.SIGKILL


def test_three_restarts_in_a_minute_are_one_too_many() -> None:
    limit = RestartLimit(3, 60.0)
    assert [limit.allows(t) for t in (0.0, 10.0, 20.0)] == [True, True, False]
    assert [limit.allows(t) for t in (30.0, 40.0)] == [True, True], "it begins anew"


def test_old_restarts_are_forgotten() -> None:
    limit = RestartLimit(3, 60.0)
    assert all(limit.allows(t) for t in (0.0, 40.0, 80.0, 120.0, 160.0))
