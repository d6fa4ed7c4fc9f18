"""What a process does at the moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lcm_daemon.processes.progress import ASLEEP, GONE, RUNNABLE, STOPPED, look
from tests.rigs.daemon import wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_process_that_sleeps_is_stopped_and_killed(sleeper: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: look(sleeper.pid).state == ASLEEP, 10, "its sleep")
    os.kill(sleeper.pid, signal.SIGSTOP)
    wait_for(lambda: look(sleeper.pid).state == STOPPED, 10, "its stop")
    sleeper.kill()
    wait_for(lambda: look(sleeper.pid).state == GONE, 10, "its end")  # not yet waited for
    sleeper.wait()
    assert look(sleeper.pid).state == GONE


def test_processor_time_grows_with_work() -> None:
    before = look(os.getpid())
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    after = look(os.getpid())
    assert after.state == RUNNABLE
    assert 0.03 < after.cpu - before.cpu < 5.0
