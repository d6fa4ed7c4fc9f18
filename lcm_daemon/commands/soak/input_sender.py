"""InputSender: the source of a soaked show. Test cards that become bright and dark, from a process of its own."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

from lcm_daemon import transports
from lcm_daemon.core.frame import Frame, Size
from lcm_daemon.processes.bootstrap import terminal_signals_blocked
from lcm_daemon.processes.pipes import Connection
from lcm_daemon.transports.base import Sink
from lcm_daemon.transports.testcard import Card

DIM = 3  # what a dark card is divided by
LONGEST, SHORTEST = 2.6, 1.6  # seconds between two changes of brightness; longer than a picture takes

Edge = tuple[float, bool]  # monotonic seconds at which a change was sent, and whether it is to bright


@dataclass(frozen=True)
class Sending:
    """What is sent. silent: the sender is there and sends nothing."""

    name: str
    size: Size
    fps: float
    silent: bool = False


class InputSender:
    """The sender. It may be killed and started again.

    Args:
        transport: "memory" or "ndi".
        usual: What is sent while no fault is caused.
    """

    def __init__(self, transport: str, usual: Sending) -> None:
        self.usual, self._transport = usual, transport
        self._pipe: Connection | None = None
        self._process: BaseProcess | None = None

    def start(self) -> None:
        """Start to send what is usual."""
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_send, args=(theirs, self._transport, self.usual), daemon=True)
        with terminal_signals_blocked():
            self._process.start()
        theirs.close()

    def change(self, sending: Sending) -> None:
        """Send something else."""
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.send(sending)

    def kill(self) -> None:
        """Kill it, as a program that crashes."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._forget()

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._forget()
            self._process.join(3)
            self._process.kill()

    def _forget(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def edges(self) -> list[Edge]:
        """The changes of brightness since the last call."""
        found: list[Edge] = []
        with contextlib.suppress(OSError, EOFError):
            while self._pipe is not None and self._pipe.poll():
                found.append(self._pipe.recv())
        return found


def _send(pipe: Connection, transport: str, sending: Sending) -> None:
    """Send until the pipe is closed."""
    kind = transports.load(transport).sink
    assert kind is not None
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            sink = kind({"name": sending.name})
            sink.open(sending.size, sending.fps)
            try:
                sending = _send_one(pipe, sink, sending)
            finally:
                sink.close()


def _send_one(pipe: Connection, sink: Sink, sending: Sending) -> Sending:
    """Send until something else is to be sent under another name or in another size; return that."""
    card, begun, chance = Card(sending.size), time.monotonic(), random.Random()
    due = edge = begun
    number, bright = 0, True
    while True:
        while pipe.poll(max(0.0, due - time.monotonic())):
            asked: Sending = pipe.recv()
            if (asked.name, asked.size) != (sending.name, sending.size):
                return asked
            sending = replace(asked)
        now = time.monotonic()
        due = max(due + 1 / sending.fps, now - 1.0)
        if sending.silent:
            continue
        pixels = card.draw(now - begun)
        if now >= edge:
            bright, edge = not bright, now + chance.uniform(SHORTEST, LONGEST)
            pipe.send((now, bright))
        if not bright:
            pixels[..., :3] //= DIM
        sink.write(Frame(pixels, number, now))
        number += 1
