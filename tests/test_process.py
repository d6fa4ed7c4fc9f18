"""What a child does first, and how a spare keeps out of the way."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from lcm_daemon.process import ENVIRONMENT, GENTLE, ending_signals, prepare_environment, run_gently


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
def test_gentle_work_is_nice_and_this_thread_stays_as_it_was() -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found: list[int] = []
    run_gently(lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    assert found == [GENTLE]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_what_gentle_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        run_gently(lambda: 1 // 0)


def test_the_environment_is_set_unless_the_user_has(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ENVIRONMENT
    monkeypatch.setenv(first, "7")
    monkeypatch.delenv(second, raising=False)
    prepare_environment()
    assert (os.environ[first], os.environ[second]) == ("7", ENVIRONMENT[second])


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_what_nohup_switched_off_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signal.SIGHUP in ending_signals()
    off = {signal.SIGHUP: signal.SIG_IGN}
    monkeypatch.setattr("signal.getsignal", lambda number: off.get(number, signal.SIG_DFL))
    assert {number.name for number in ending_signals()} == {"SIGINT", "SIGTERM"}
