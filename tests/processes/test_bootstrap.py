"""What a child does first, and how a spare keeps out of the way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lcm_daemon.processes.bootstrap import (
    ENVIRONMENT,
    LOW_PRIORITY,
    prepare_environment,
    run_at_low_priority,
    terminal_signals_blocked,
    termination_signals,
)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
def test_gentle_work_is_nice_and_this_thread_stays_as_it_was() -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found: list[int] = []
    run_at_low_priority(lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    assert found == [LOW_PRIORITY]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_what_gentle_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        run_at_low_priority(lambda: 1 // 0)


def test_the_environment_is_set_unless_the_user_has(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = ENVIRONMENT
    monkeypatch.setenv(first, "7")
    monkeypatch.delenv(second, raising=False)
    prepare_environment()
    assert (os.environ[first], os.environ[second]) == ("7", ENVIRONMENT[second])


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_what_nohup_switched_off_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.getsignal", lambda number: signal.SIG_DFL)
    assert signal.SIGHUP in termination_signals()
    off = {signal.SIGHUP: signal.SIG_IGN, signal.SIGINT: signal.SIG_IGN}  # the second by a shell's &
    monkeypatch.setattr("signal.getsignal", lambda number: off.get(number, signal.SIG_DFL))
    assert {number.name for number in termination_signals()} == {"SIGINT", "SIGTERM"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal masks")
def test_the_first_child_of_a_program_starts_with_ctrl_c_blocked(tmp_path: Path) -> None:
    """The first spawn also starts multiprocessing's resource tracker, which unblocks SIGINT in the parent."""
    code = ("import multiprocessing, signal\n"
            "from lcm_daemon.processes.bootstrap import terminal_signals_blocked\n"
            "def blocked(): print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
            "if __name__ == '__main__':\n"
            "    child = multiprocessing.get_context('spawn').Process(target=blocked)\n"
            "    with terminal_signals_blocked():\n"
            "        child.start()\n"
            "    child.join()\n    blocked()\n")
    program = tmp_path / "program.py"
    program.write_text(code)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=Path(__file__).parents[2],
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, timeout=60)
    assert (done.stdout, done.stderr) == ("True\nFalse\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals that wait")
def test_what_starts_behind_the_shield_never_hears_ctrl_c_and_this_process_hears_it_afterwards(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with terminal_signals_blocked():
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            assert heard == []
        assert heard == [signal.SIGINT]
        child.send_signal(signal.SIGINT)
        child.communicate(b"go on")
        assert child.returncode == 0
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == blocked


def test_on_windows_the_switch_for_ctrl_c_is_thrown_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    switched: list[tuple[object, bool]] = []

    class Kernel:
        """kernel32, of which one function is wanted."""

        def __init__(self, name: str) -> None:
            assert name == "kernel32"

        def SetConsoleCtrlHandler(self, handler: object, add: bool) -> int:  # noqa: N802 - its own name
            switched.append((handler, add))
            return 1

    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", Kernel, raising=False)
    with contextlib.suppress(OSError), terminal_signals_blocked():
        assert switched == [(None, True)]
        raise OSError("no memory")
    assert switched == [(None, True), (None, False)]
