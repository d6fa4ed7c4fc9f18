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
from tests.rigs.daemon import wait_for


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


STOPPED = """
import os, signal, sys, threading, time
from multiprocessing import get_context
from lcm_daemon.processes.bootstrap import is_main_thread, run_in_child

def child(pid_file):
    open(pid_file, "w").write(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    def start():
        process = get_context("spawn").Process(target=run_in_child, args=(is_main_thread(), child, sys.argv[1]))
        process.start()
        while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
            time.sleep(0.01)
        return process.pid
    if sys.argv[2] == "main":
        os.kill(start(), signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGKILL)
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.3)
    pid = int(open(sys.argv[1]).read())
    os.kill(pid, 0)
    os.kill(pid, signal.SIGKILL)
    print("lives")
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_stopped_child_ends_with_its_parent_and_one_of_a_thread_outlives_the_thread(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(STOPPED)
    for way in ("main", "thread"):
        command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / way), way]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "PYTHONPATH": os.getcwd()})
        if way == "thread":
            assert done.stdout.strip() == "lives", done.stderr
            continue
        pid = int((tmp_path / way).read_text())
        wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), 5.0, "the end of the child")


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
