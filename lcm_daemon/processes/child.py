"""Child: a spawned process with its channel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

from lcm_daemon.core.frame import Size
from lcm_daemon.processes.bootstrap import is_main_thread, prepare_environment, run_in_child, terminal_signals_blocked
from lcm_daemon.processes.channel import Channel
from lcm_daemon.processes.frame_slots import FEWEST_SLOTS, SLOTS
from lcm_daemon.processes.prestarted import Prestarted
from lcm_daemon.processes.socket_transfer import SocketTransfer


class Child:
    """A spawned process and the stage's end of its channel. A killed child is never restarted: start another.

    Args:
        name: Name of the process.
        target: Function that the process runs, called with the ChildEndpoint and `args`.
        size: (width, height) of the channel's frames, in pixels.
        guided: Whether frames may come with a guide frame.
        slots: Number of frame slots, as of `Channel`.
        prestarted: A process that waits for its work; None spawns one.
        fewest: Number of slots without which it cannot work, as of `Channel`.

    Raises:
        OSError: The system has no memory, process or file left.
    """

    def __init__(
        self, name: str, target: Callable[..., None], size: Size, *args: Any, guided: bool = False, slots: int = SLOTS,
        prestarted: Prestarted | None = None, fewest: int = FEWEST_SLOTS,
    ) -> None:
        self.process: BaseProcess
        self._reaper: threading.Thread | None = None  # once it is killed
        self.transfer = prestarted.transfer if prestarted is not None else SocketTransfer()
        if prestarted is not None:
            self.channel, self.process = Channel(size, guided, slots, prestarted.pipe, fewest), prestarted.process
            prestarted.begin(target, self.channel.child_endpoint(), args)
            return
        prepare_environment()
        self.channel = Channel(size, guided, slots, fewest=fewest)
        arguments = (is_main_thread(), target, self.channel.child_endpoint(), *args)
        self.process = get_context("spawn").Process(target=run_in_child, args=arguments, name=name, daemon=True)
        try:
            with terminal_signals_blocked():
                self.process.start()
        except OSError:
            self.channel.close()  # the shared memory must not stay
            raise
        self.channel.close_child_pipe()

    @property
    def pid(self) -> int | None:
        return self.process.pid

    def kill(self) -> None:
        """Kill the process and release its channel; do not wait for its end.

        A thread asks the system for its end. That may take long: the tick was held up by 90 to 135 ms (measured, an
        engine of 600 MB on two busy processors).
        """
        self.process.kill()
        if self._reaper is None:
            self._reaper = threading.Thread(target=self.process.join, name=f"end of {self.process.name}", daemon=True)
            self._reaper.start()
        self.channel.close()
        self.transfer.close()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for a killed process to end; return whether it has."""
        if self._reaper is None:
            self.process.join(seconds)
            return self.process.exitcode is not None
        self._reaper.join(seconds)
        return not self._reaper.is_alive()
