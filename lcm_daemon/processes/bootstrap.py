"""What every child process does first: quiet signals, logs, and an end when the stage ends."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from typing import TextIO

from lcm_daemon.processes.log_handler import LogHandler

# What a child finds in its environment, unless the user has set it. glibc gives every large block back to the system
# as soon as it is free, and a model on the CPU then spends a third of its time on fresh pages (measured: 90 -> 64 ms a
# frame for the built-in model on two cores). With these it keeps them.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}
GENTLE = 10  # niceness: a tenth of the share of whoever competes, and still done within half a minute
FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"


# What ends a show in order: Ctrl-C, a supervisor, a terminal that closes (SIGHUP), a console that does (SIGBREAK). All
# but SIGTERM reach the children too.
ENDINGS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


def ending_signals() -> list[signal.Signals]:
    """Those of ENDINGS that this system has, without a SIGHUP that somebody has switched off, as nohup does.

    SIGINT counts always: a shell that starts a program in the background switches it off, and a script may send it.
    """
    known = [signal.Signals[name] for name in ENDINGS if hasattr(signal, name)]
    return [number for number in known if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def shielding() -> Iterator[None]:
    """What starts in this block never hears Ctrl-C and its like: `begin_child` comes after half a second of imports.

    Blocked signals are inherited as blocked; one that comes meanwhile reaches this process at the end of the block. On
    Windows it is the switch for Ctrl-C that is inherited, and one in these milliseconds has to be pressed again.
    """
    if sys.platform == "win32":
        set_handler = ctypes.WinDLL("kernel32").SetConsoleCtrlHandler
        set_handler(None, True)
        try:
            yield
        finally:
            set_handler(None, False)
    else:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _shared_endings())
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shared_endings() -> list[signal.Signals]:
    """Those that reach every process of a terminal."""
    return [number for number in ending_signals() if number != signal.SIGTERM]


def prepare_environment() -> None:
    """Set ENVIRONMENT for the processes started from now on; glibc reads it when a process starts."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def begin_child(level: int) -> None:
    """Set up a spawned child: the stage alone answers Ctrl-C and its like, and no child outlives it."""
    for number in _shared_endings():
        signal.signal(number, signal.SIG_IGN)
    os.environ["HF_HUB_OFFLINE"] = "1"  # a running show opens no connection to the hub: `pull` has fetched everything
    begin_logging(level)
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()


def run_gently(work: Callable[[], object]) -> None:
    """Run `work` where it takes only the time that nobody else wants; what it raises is raised here.

    A spare's imports are seconds of work beside a rendering engine, whose threads wait for each other and would slow
    down many times over. Linux gives each thread a niceness of its own, so a thread does the work and this one stays
    as it was. Elsewhere the work is done as any other.
    """
    if sys.platform != "linux":
        work()
        return

    def yielding() -> object:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), GENTLE)
        return work()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(yielding).result()


def begin_logging(level: int) -> None:
    """Plain lines on standard error, for which nobody waits."""
    journal = LogHandler(_own_stream())
    logging.basicConfig(level=level, format=FORMAT, datefmt="%H:%M:%S", handlers=[journal], force=True)
    for name in ("PIL", "asyncio", "websockets", "uvicorn", "httpx", "urllib3"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _own_stream() -> TextIO:
    """Standard error as a file of our own: a write that hangs there must not hold what the ending interpreter flushes.

    Where it is no file, as in a program that shows its output in a window, it is taken as it is.
    """
    try:
        number, encoding = sys.stderr.fileno(), sys.stderr.encoding
    except (AttributeError, OSError, ValueError):
        return sys.stderr or io.StringIO()
    return open(number, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(0)  # a render under way, or a hung library, must not keep the process
