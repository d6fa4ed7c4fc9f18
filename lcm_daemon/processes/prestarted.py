"""Prestarted: a child process that imports its modules before it is known what it is to do.

The first desk is started this way, while the stage still imports its own modules and reads the show. This module
imports as little as it can: it is loaded before everything else.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from lcm_daemon.processes.bootstrap import (
    end_with_parent,
    is_main_thread,
    prepare_environment,
    terminal_signals_blocked,
)
from lcm_daemon.processes.garbage import garbage_kept
from lcm_daemon.processes.pipes import Connection

if TYPE_CHECKING:
    from lcm_daemon.processes.channel import ChildEndpoint

_LOST = (EOFError, ConnectionError, OSError)


class Prestarted:
    """A process that waits for its work, and the parent's end of its pipe.

    Args:
        name: Name of the process.
        modules: What it imports while it waits; a missing module is left to the work.

    Raises:
        OSError: The system has no memory, process or file left.
    """

    def __init__(self, name: str, modules: Sequence[str]) -> None:
        prepare_environment()
        context = get_context("spawn")
        self.pipe, child_pipe = context.Pipe()
        arguments = (is_main_thread(), child_pipe, tuple(modules))
        self.process = context.Process(target=_work, args=arguments, name=name, daemon=True)
        try:
            with terminal_signals_blocked():
                self.process.start()
        except OSError:
            self.pipe.close()
            raise
        finally:
            child_pipe.close()
        self._is_used = False

    def begin(self, target: Callable[..., None], endpoint: ChildEndpoint, arguments: Sequence[Any]) -> None:
        """Let the process run `target(endpoint, *arguments)`; the endpoint gets the pipe. A dead process is ignored."""
        self._is_used = True
        with contextlib.suppress(*_LOST):
            self.pipe.send((target, endpoint, tuple(arguments)))

    def end_unused(self) -> None:
        """End the process if it was given no work, and wait for its end."""
        if not self._is_used:
            self.process.kill()
            self.process.join()
            self.pipe.close()


def _work(by_main_thread: bool, pipe: Connection, modules: Sequence[str]) -> None:
    """What the process runs. It ends when its parent does. by_main_thread: As of `end_with_parent`."""
    end_with_parent(by_main_thread)
    with garbage_kept():
        for module in modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
    try:
        target, endpoint, arguments = pipe.recv()
    except _LOST:
        return
    target(endpoint.with_pipe(pipe), *arguments)
