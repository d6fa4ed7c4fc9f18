"""Prestarted: a child process that imports its modules before it is known what it is to do.

The first desk is started this way, while the stage still imports its own modules and reads the show. The later ones
wait as spares. This module imports as little as it can: it is loaded before everything else.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import socket
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from lcm_daemon.processes.bootstrap import (
    end_with_parent,
    is_main_thread,
    prepare_environment,
    run_at_low_priority,
    terminal_signals_blocked,
)
from lcm_daemon.processes.garbage import garbage_kept
from lcm_daemon.processes.pipes import IMPORTED, Connection
from lcm_daemon.processes.socket_transfer import SocketTransfer, transfer_ends

if TYPE_CHECKING:
    from lcm_daemon.processes.channel import ChildEndpoint

_LOST = (EOFError, ConnectionError, OSError)




class Prestarted:
    """A process that waits for its work, and the parent's end of its pipe.

    Args:
        name: Name of the process.
        modules: What it imports while it waits; a missing module is left to the work.
        in_background: Whether it imports at low priority.

    Attributes:
        transfer: Carries open sockets to and from the process.

    Raises:
        OSError: The system has no memory, process or file left.
    """

    def __init__(self, name: str, modules: Sequence[str], in_background: bool = False) -> None:
        prepare_environment()
        context = get_context("spawn")
        self.pipe, child_pipe = context.Pipe()
        own_end, child_end = transfer_ends()
        self.transfer = SocketTransfer(own_end)
        arguments = (is_main_thread(), child_pipe, child_end, tuple(modules), in_background)
        self.process = context.Process(target=_work, args=arguments, name=name, daemon=True)
        try:
            with terminal_signals_blocked():
                self.process.start()
        except OSError:
            self._close()
            raise
        finally:
            child_pipe.close()
            if child_end is not None:
                child_end.close()
        self._is_used = self._has_imported = False

    @property
    def is_warm(self) -> bool:
        """Whether it has imported its modules and waits."""
        with contextlib.suppress(*_LOST):
            if not self._is_used and not self._has_imported and self.pipe.poll():
                self._has_imported = self.pipe.recv() == IMPORTED
        return self._has_imported and self.is_alive

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.is_alive()

    def begin(self, target: Callable[..., None], endpoint: ChildEndpoint, arguments: Sequence[Any]) -> None:
        """Let the process run `target(endpoint, *arguments)`; the endpoint gets the pipe. A dead process is ignored."""
        self._is_used = True
        with contextlib.suppress(*_LOST):
            self.pipe.send((target, endpoint, tuple(arguments)))

    def end_unused(self) -> None:
        """End the process if it was given no work, and wait for its end."""
        if not self._is_used:
            self.kill_unused()
            self.process.join()

    def kill_unused(self) -> None:
        """Kill a process that was given no work; do not wait for its end."""
        self.process.kill()
        self._close()

    def _close(self) -> None:
        self.pipe.close()
        self.transfer.close()


def _work(
    by_main_thread: bool, pipe: Connection, transfer_end: socket.socket | None, modules: Sequence[str],
    in_background: bool,
) -> None:
    """What the process runs. It ends when its parent does. by_main_thread: As of `end_with_parent`."""
    end_with_parent(by_main_thread)
    with garbage_kept():
        importing = functools.partial(_import, modules)
        if in_background:
            run_at_low_priority(importing)
        else:
            importing()
    try:
        pipe.send(IMPORTED)
        target, endpoint, arguments = pipe.recv()
    except _LOST:
        return
    target(endpoint.with_pipe(pipe, SocketTransfer(transfer_end)), *arguments)


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
