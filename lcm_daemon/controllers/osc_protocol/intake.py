"""Intake: the OSC packets that wait, by sender. Senders are served one after another: a flood delays its own sender.

Each host has a turn, and of one host each sender. The order of a sender's messages is kept, with one exception: where
many wait, of several that only set the same address, without any other message between them, the newest counts. A
sender whose packets come faster than they can be handled loses its oldest moves, which are counted. A connection is
read more slowly instead: it waits for `room`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from lcm_daemon.core.held_packets import HeldPackets
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

TURN = 0.002  # seconds of handling, after which the loop's other work runs
PASSES = 4  # of the event loop between two turns
SLICE = 0.0005  # seconds of one sender's turn
MOST_BYTES = 1 << 20  # of one sender's packets that wait
MOST_PACKETS = 16_384  # the same in packets: a burst of 10,000 messages is kept
TOTAL_BYTES = 16 << 20  # of all; many senders that flood share it
MOST_SENDERS = 1024  # that have something waiting
MOST_KEPT = 4096  # commands of one sender that are kept when its packets are dropped
FRESH_PACKET = 2048  # bytes; a sender that had nothing waiting, and sends no more than that, is served before others
FRESH_SENDERS = 32  # such senders that are served before one of the others has its turn
MERGED_PACKETS = 256  # of one sender that are checked in one go, so that their moves can be merged
MERGED_FROM = 128  # messages of one sender that wait; of fewer, all are handled
SMALL_BUNDLE = 2048  # bytes; larger ones are dropped without a look at what they hold: that would cost as much as they
ROOM_PACKETS, ROOM_BYTES = 64, 1 << 16  # of a connection that may wait before it is read further


async def let_others_run() -> None:
    """Let the event loop's other work run some steps: a page that loads takes many, each of them short."""
    for _ in range(PASSES):
        await asyncio.sleep(0)


class Message(NamedTuple):
    """A message that was checked, and its time tag. The last one of a packet has the packet's record."""

    data: bytes
    timetag: int
    record: int = 0  # as of HeldPackets


Sender = TypeVar("Sender", bound=Hashable)


@dataclass
class _Waiting:
    """What waits of one sender: first the steps, then the packets."""

    packets: deque[tuple[bytes, int]] = field(default_factory=deque)  # not yet checked, with their records
    size: int = 0  # bytes of them
    steps: deque[dict[bytes, Message] | Message] = field(default_factory=deque)  # moves by address; other messages

    def __bool__(self) -> bool:
        return bool(self.packets or self.steps)

    @property
    def is_full(self) -> bool:
        """Whether a connection is not to be read further."""
        return len(self.packets) >= ROOM_PACKETS or self.size >= ROOM_BYTES

    def pop_packet(self) -> tuple[bytes, int]:
        packet, record = self.packets.popleft()
        self.size -= len(packet)
        return packet, record

    def records(self) -> Iterator[int]:
        """Those of all that waits."""
        for step in self.steps:
            yield from (each.record for each in ([step] if isinstance(step, Message) else step.values()))
        yield from (record for _, record in self.packets)

    def add(self, messages: Iterable[Message], key: Callable[[Message], bytes] | None) -> list[int]:
        """Add steps. With `key`, a move replaces an earlier one, and comes after those of other addresses.

        Returns:
            The records of those that were replaced.
        """
        replaced = []
        for message in messages:
            address = key(message) if key else b""
            if not address:
                self.steps.append(message)
                continue
            if not self.steps or isinstance(self.steps[-1], Message):
                self.steps.append({})
            moves = self.steps[-1]
            assert isinstance(moves, dict)
            if (before := moves.pop(address, None)) is not None:
                replaced.append(before.record)
            moves[address] = message
        return replaced

    def pop_message(self) -> Message:
        first = self.steps[0]
        if isinstance(first, Message):
            self.steps.popleft()
            return first
        message = first.pop(next(iter(first)))
        if not first:
            self.steps.popleft()
        return message


class Intake(Generic[Sender]):
    """Queues packets, and handles their messages on the event loop. A message that fails costs itself only.

    Args:
        check: Splits a packet of a sender into its messages, in order; it raises nothing.
        handle: Handles one message.
        key: The address of a message that a later one to that address replaces; b"" for any other message.
        path: Of the counters "<path>/dropped" (packets) and "<path>/failed".
        metrics: Counters.
        on_failed: Called with the sender of a message that could not be handled, because of a defect.
        is_full: Whether so much was requested of the stage that those who flood have to wait.
        held: Holds what waits, for the process that comes after this one.
    """

    def __init__(
        self, check: Callable[[bytes, Sender], Iterable[Message]], handle: Callable[[Message, Sender], None],
        key: Callable[[Message], bytes], path: str, metrics: Metrics,
        on_failed: Callable[[Sender], None] = lambda sender: None, is_full: Callable[[], bool] = lambda: False,
        held: HeldPackets | None = None,
    ) -> None:
        self._held = held or HeldPackets()
        self._check, self._handle, self._key, self._path, self._on_failed = check, handle, key, path, on_failed
        self._is_full, self._throttle = is_full, LogThrottle(log, metrics)
        self._hosts: OrderedDict[str, OrderedDict[Sender, _Waiting]] = OrderedDict()  # the next one comes first
        self._fresh: OrderedDict[tuple[str, Sender], None] = OrderedDict()
        self._senders = 0
        self._rooms: dict[Sender, asyncio.Future[None]] = {}  # of connections that wait for `room`
        self._drained: dict[Sender, asyncio.Future[None]] = {}  # the same for `drained`
        self._filled = asyncio.Event()
        self._served: Sender | None = None
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Handle what is queued, until `stop`."""
        self._serving = asyncio.create_task(self._serve_forever(), name=f"{self._path} intake")
        self._serving.add_done_callback(self._on_end)

    async def stop(self) -> None:
        """End, without what waits: it is left to the next process. Safe to call twice."""
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        self._hosts.clear()
        self._fresh.clear()
        self._senders = 0

    def put(
        self, packet: bytes, sender: Sender, host: str, drops: bool = True, record: int | None = None,
    ) -> None:
        """Queue a packet of a sender on a host.

        Args:
            drops: Whether its oldest packets are dropped if there are too many; else it waits for `room`.
            record: That of a packet that is held already.
        """
        senders = self._hosts.setdefault(host, OrderedDict())
        waiting = senders.get(sender)
        if waiting is None:
            waiting = senders[sender] = _Waiting()
            self._senders += 1
            if len(packet) <= FRESH_PACKET:
                self._fresh[host, sender] = None
            if self._senders > MOST_SENDERS:
                self._drop_one_sender()
        waiting.packets.append((packet, self._held.put(str(sender), packet) if record is None else record))
        waiting.size += len(packet)
        most = min(MOST_BYTES, TOTAL_BYTES // self._senders)
        while drops and len(waiting.packets) > 1 and (waiting.size > most or len(waiting.packets) > MOST_PACKETS):
            self._drop_oldest(waiting, sender)
        self._filled.set()

    async def room(self, sender: Sender, host: str) -> None:
        """Wait until little enough of a connection waits."""
        waiting = self._find(sender, host)
        if waiting is not None and waiting.is_full:
            await self._wait(self._rooms, sender)

    async def drained(self, sender: Sender, host: str) -> None:
        """Wait until nothing of a connection waits."""
        if sender in self._hosts.get(host, {}):
            await self._wait(self._drained, sender)

    def forget(self, sender: Sender, host: str) -> None:
        """Drop what waits of a sender that has gone."""
        senders = self._hosts.get(host, OrderedDict())
        self._fresh.pop((host, sender), None)
        waiting = senders.pop(sender, None)
        if waiting is not None:
            self._finish(waiting.records())
            self._senders -= 1
            self._wake(self._rooms, sender)
            self._wake(self._drained, sender)
            if not senders:
                del self._hosts[host]

    def serve(self) -> None:
        """Handle messages for one turn, or until none waits."""
        end = time.perf_counter() + TURN
        for host, sender in self._turns():
            self._give_turn(host, sender)
            if time.perf_counter() > end:
                break
        if not self._hosts:
            self._filled.clear()

    def _turns(self) -> Iterator[tuple[str, Sender]]:
        """Whose turn is next: some that had nothing waiting before, then one of the others."""
        while self._hosts:
            for _ in range(min(len(self._fresh), FRESH_SENDERS)):
                yield self._fresh.popitem(last=False)[0]
            if self._hosts and not self._is_full():
                host, senders = next(iter(self._hosts.items()))
                self._hosts.move_to_end(host)
                senders.move_to_end(sender := next(iter(senders)))
                yield host, sender
            if self._is_full():
                return

    def _find(self, sender: Sender, host: str) -> _Waiting | None:
        senders = self._hosts.get(host)
        return senders.get(sender) if senders is not None else None

    def _give_turn(self, host: str, sender: Sender) -> None:
        waiting = self._find(sender, host)
        if waiting is None:  # a message before has ended the connection
            return
        self._served = sender
        self._serve_one(waiting, sender, time.perf_counter() + SLICE)
        if not waiting:
            self.forget(sender, host)
        elif not waiting.is_full:
            self._wake(self._rooms, sender)

    def _serve_one(self, waiting: _Waiting, sender: Sender, end: float) -> None:
        if not waiting.steps:
            messages: list[Message] = []
            for _ in range(min(len(waiting.packets), MERGED_PACKETS)):
                messages += self._checked(*waiting.pop_packet(), sender)
                if time.perf_counter() > end:
                    break
            self._finish(waiting.add(messages, self._key if len(messages) > MERGED_FROM else None))
        while waiting.steps:
            message = waiting.pop_message()
            try:
                self._handle(message, sender)
            finally:
                self._held.finish(message.record)
            if time.perf_counter() > end:
                break

    def _checked(self, packet: bytes, record: int, sender: Sender) -> list[Message]:
        """The messages of a packet, which may be the one that ends this process."""
        self._held.begin(record)
        messages = list(self._check(packet, sender))
        if messages:
            messages[-1] = messages[-1]._replace(record=record)
        else:
            self._held.finish(record)
        return messages

    def _finish(self, records: Iterable[int]) -> None:
        for record in records:
            self._held.finish(record)

    async def _wait(self, futures: dict[Sender, asyncio.Future[None]], sender: Sender) -> None:
        future = futures[sender] = asyncio.get_running_loop().create_future()
        try:
            await future
        finally:
            futures.pop(sender, None)

    def _wake(self, futures: dict[Sender, asyncio.Future[None]], sender: Sender) -> None:
        future = futures.get(sender)
        if future is not None and not future.done():
            future.set_result(None)

    async def _serve_forever(self) -> None:
        while True:
            await self._filled.wait()
            self.serve()
            if self._is_full():
                await asyncio.sleep(TURN)
            else:
                await let_others_run()

    def _on_end(self, ended: asyncio.Task[None]) -> None:
        """Go on after a defect: it costs one message."""
        error = None if ended.cancelled() else ended.exception()
        if error is not None and self._serving is ended:
            self._throttle.warn(
                f"{self._path}/failed", f"{self._path}: {type(error).__name__}: {error}; the message is dropped")
            if self._served is not None:
                self._on_failed(self._served)
            self.start()

    def _drop_oldest(self, waiting: _Waiting, sender: Sender) -> None:
        """Drop the oldest packet that was not checked. Its commands are kept, if it is short."""
        packet, record = waiting.pop_packet()
        self._held.finish(record)
        self._throttle.warn(
            f"{self._path}/dropped",
            f"{self._path}: {sender} sends more than can be handled; its oldest moves are dropped")
        if len(packet) <= SMALL_BUNDLE and len(waiting.steps) < MOST_KEPT:
            for message in self._check(packet, sender):
                if not self._key(message):
                    waiting.steps.append(message)

    def _drop_one_sender(self) -> None:
        """Drop all of the sender that has waited for the longest, of the host with the most senders."""
        host = max(self._hosts, key=lambda each: len(self._hosts[each]))
        sender = next(iter(self._hosts[host]))
        self._throttle.warn(f"{self._path}/dropped", f"{self._path}: {host} sends from too many ports; what waits of "
                            "one of them is dropped")
        self.forget(sender, host)
