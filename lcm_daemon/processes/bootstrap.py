"""What every child process does first: ignore the terminal's signals, set up logging, and end with the stage."""

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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import TextIO

from lcm_daemon.processes.crash_stacks import open_stacks
from lcm_daemon.processes.log_output import LogOutput

log = logging.getLogger(__name__)

# Environment of every child, unless the user has set these variables. glibc returns every large block to the system as
# soon as it is free, and a model on the CPU then spends a third of its time on fresh pages (measured: 90 -> 64 ms a
# frame for the built-in model on two cores). With these values glibc keeps the blocks.
#
# The threads of GNU OpenMP, which torch uses on the CPU, wait for each other in a loop, 300,000 rounds or 10 ms long.
# Where other programs need the processors too, these loops take them from the work itself (measured on two busy cores:
# 1.1 to 1.9 s of processor time a frame, 0.4 s with this value). The time between two operations is shorter still.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32), "GOMP_SPINCOUNT": "4000"}
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
LOW_PRIORITY = 10  # niceness: a tenth of the share of a busy process, and still done within half a minute

# Signals that end a show in an orderly way: Ctrl-C, a service manager, a terminal that closes (SIGHUP), a console that
# closes (SIGBREAK). All but SIGTERM are sent to the children as well.
TERMINATION_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


def termination_signals() -> list[signal.Signals]:
    """TERMINATION_SIGNALS that this system has, without a SIGHUP that is ignored, as under nohup.

    SIGINT is always included: a shell that starts a program in the background sets it to be ignored, but a script may
    still send it.
    """
    known = [signal.Signals[name] for name in TERMINATION_SIGNALS if hasattr(signal, name)]
    return [number for number in known if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def terminal_signals_blocked() -> Iterator[None]:
    """Start child processes in this block so that they never receive Ctrl-C and the other signals of the terminal.

    A child ignores them in `set_up_child`, but only after half a second of imports. Blocked signals are inherited as
    blocked; a signal that arrives during the block reaches this process at its end. On Windows the Ctrl-C switch is
    inherited instead, and a Ctrl-C within these milliseconds must be pressed again.
    """
    if sys.platform == "win32":
        set_handler = ctypes.WinDLL("kernel32").SetConsoleCtrlHandler
        set_handler(None, True)
        try:
            yield
        finally:
            set_handler(None, False)
    else:
        resource_tracker.ensure_running()  # its first start, which a spawn may need, unblocks SIGINT again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _terminal_signals())
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _terminal_signals() -> list[signal.Signals]:
    """Signals that reach every process of a terminal."""
    return [number for number in termination_signals() if number != signal.SIGTERM]


def prepare_environment() -> None:
    """Set ENVIRONMENT for processes started later; glibc reads it when a process starts."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def is_main_thread() -> bool:
    """Whether this is the thread that lives as long as the process."""
    return threading.current_thread() is threading.main_thread()


def run_in_child(by_main_thread: bool, target: Callable[..., None], *args: object) -> None:
    """What a spawned process runs: `target` with these arguments. by_main_thread: As of `end_with_parent`."""
    end_with_parent(by_main_thread)
    target(*args)


def end_with_parent(by_main_thread: bool) -> None:
    """Let the system kill this process when its parent ends, also while it is stopped or hangs. Linux only.

    Args:
        by_main_thread: Whether the parent's main thread has started this process. Linux kills it when the *thread*
            ends that has started it (prctl(2), PR_SET_PDEATHSIG), so that nothing is done for another thread.
    """
    if sys.platform != "linux" or not by_main_thread:
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:  # it has ended before
        os._exit(0)


def set_up_child(log_levels: LogLevels, downloads: bool = False) -> None:
    """Set up a spawned child: the stage alone handles the terminal's signals, and no child outlives it.

    Args:
        log_levels: What `log_levels()` returns in the stage.
        downloads: Whether it may open connections to the hub, as the user's environment allows.
    """
    for number in _terminal_signals():
        signal.signal(number, signal.SIG_IGN)
    if not downloads:
        os.environ["HF_HUB_OFFLINE"] = "1"  # a running show opens no connection to the hub: `pull` has fetched it all
    set_up_logging(log_levels)
    open_stacks(log_levels.output.recent)
    threading.Thread(target=_exit_with_parent, name="exit-with-parent", daemon=True).start()


def run_at_low_priority(work: Callable[[], object]) -> None:
    """Run `work` at low priority and wait for it; raise what it raises.

    A spare's imports and a compilation are much work beside a rendering engine, whose threads wait for each other and
    would slow down many times over. Linux has a niceness per thread, which processes inherit that the thread starts; it
    can be raised only, so another thread does the work and this one keeps its priority. Windows has a class for the
    process, which returns to normal. Elsewhere the work runs at normal priority.
    """
    if sys.platform == "win32":
        import psutil

        process = psutil.Process()
        before = process.nice()
        process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        try:
            work()
        finally:
            process.nice(before)
        return
    if sys.platform != "linux":
        work()
        return

    def at_low_priority() -> object:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)
        return work()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(at_low_priority).result()


@dataclass(frozen=True)
class LogLevels:
    """What a process logs, and where to.

    Attributes:
        root: Level of all loggers but those below.
        loggers: Levels of single loggers by name, such as "lcm_daemon.render".
        output: Where lines go.
    """

    root: int = logging.INFO
    loggers: Mapping[str, int] = field(default_factory=dict)
    output: LogOutput = LogOutput()  # noqa: RUF009 - frozen


_levels = LogLevels()  # as given to set_up_logging


def log_levels() -> LogLevels:
    """The levels of this process, for a child process that logs like it."""
    return replace(_levels, root=logging.getLogger().level)


def set_up_logging(levels: LogLevels) -> None:
    """Log one line a record to standard error, and to the file of `levels.output`. Logging never blocks.

    Uncaught exceptions of threads and the warnings of libraries are log lines too.
    """
    global _levels
    _levels = levels
    logging.basicConfig(level=levels.root, handlers=levels.output.handlers(_own_stream()), force=True)
    for name in ("PIL", "asyncio", "websockets", "uvicorn", "httpx", "httpx2", "urllib3"):
        logging.getLogger(name).setLevel(max(levels.root, logging.WARNING))
    for name, level in levels.loggers.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    threading.excepthook = _log_exception


def _log_exception(found: threading.ExceptHookArgs) -> None:
    if found.exc_type is not SystemExit and found.exc_value is not None:
        name = found.thread.name if found.thread else "?"
        log.error("the thread %s has ended with an error", name, exc_info=found.exc_value)


def _own_stream() -> TextIO:
    """Standard error as a file of our own, so that a write that blocks there does not block the interpreter's exit.

    Where standard error has no file number, as in a program that shows its output in a window, use it directly.
    """
    try:
        number, encoding = sys.stderr.fileno(), sys.stderr.encoding
    except (AttributeError, OSError, ValueError):
        return sys.stderr or io.StringIO()
    return open(number, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(0)  # a frame being rendered, or a hung library, must not keep the process alive
