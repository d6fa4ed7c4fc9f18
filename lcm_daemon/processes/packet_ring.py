"""PacketRing: packets in shared memory that a desk has read, and that the stage has not heard of yet.

A desk that is killed takes with it what it has read from its sockets. Each packet is therefore copied here first. It is
released once the message to the stage that has its effect was written to the pipe: what is in the pipe survives the
desk. So the next desk finds exactly the packets that have had no effect.

Everything is written by the desk that owns the ring, in words of 8 bytes, each by one store of the processor. Another
desk reads it when the first has ended.

    head     bytes written since the start
    tail     bytes released since the start
    adopted  1 once this ring has what the ring before it held
    records  each of them: its size, with all of this; size of sender and of packet; a state; sender; packet
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from lcm_daemon.core.held_packets import HeldPacket, HeldPackets
from lcm_daemon.core.shared_room import reserve
from lcm_daemon.processes.frame_slots import attach
from lcm_daemon.processes.segments import OwnedSegment

log = logging.getLogger(__name__)

SIZE = 1 << 18  # bytes of records, some thousand short packets; what does not fit is not held
_START = 64  # bytes before the first record
_HEADER = 32  # bytes of a record before its sender
_ALIGNED = 32  # bytes; a record's size is a multiple of it, so that a header always fits before the end
_HEAD, _TAIL, _ADOPTED = 0, 1, 2  # words of the block
_WAITS, _FILLER, _BEGAN, _BEGAN_TWICE, _FIRST = 0, 1, 2, 3, 8  # states; above _FIRST: that and a message's number


@dataclass(frozen=True)
class LeftRing:
    """The ring of a desk that has ended.

    Attributes:
        name: Of its block; "" for none.
        last_message: Number of the last message that has arrived of that desk; 0 for none.
    """

    name: str = ""
    last_message: int = 0


NO_RING = LeftRing()


class OwnedRing:
    """The stage's end: it makes the block and removes it. Raises OSError if the system has no room."""

    def __init__(self) -> None:
        self._owned = OwnedSegment(_START + SIZE)
        self.name = self._owned.memory.name
        try:
            reserve(self.name, _START + SIZE)
        except OSError:
            self.close()
            raise

    @property
    def has_adopted(self) -> bool:
        """Whether its desk has taken over what the ring before it held."""
        block: Any = self._owned.memory.buf
        return bool(block[_ADOPTED * 8])

    def close(self) -> None:
        """Remove the block. A desk that uses it keeps it."""
        self._owned.memory.close()
        self._owned.remove()


class PacketRing(HeldPackets):
    """The desk's end. Raises OSError if the block is gone.

    Args:
        name: Name of the block.
    """

    def __init__(self, name: str) -> None:
        self.inherited: list[HeldPacket] = []
        self._memory = attach(name)
        self._buffer: Any = self._memory.buf
        self._words: Any = np.ndarray(((_START + SIZE) // 8,), np.uint64, self._buffer)
        self._head = self._tail = 0
        self._number = 1  # of the message to the stage that comes next
        self._tried: set[int] = set()  # records of packets that the desk before has begun

    def adopt(self, left: LeftRing) -> None:
        """Take over what the ring of the desk before holds. A packet that two desks have ended with is dropped."""
        with contextlib.suppress(OSError):  # it is gone
            if left.name:
                self._take_from(attach(left.name), left.last_message)
        self._words[_ADOPTED] = 1

    def _take_from(self, memory: SharedMemory, last_message: int) -> None:
        for state, sender, data in _records(memory):
            who = sender.decode("utf-8", "replace")
            if state == _BEGAN_TWICE:
                log.warning("desk: a packet of %.60s is dropped: two desks have ended while they carried it out", who)
            elif state < _FIRST or state - _FIRST > last_message:
                record = self.put(who, data)
                self.inherited.append(HeldPacket(record, who, data))
                if state == _BEGAN:
                    self._tried.add(record)
        memory.close()

    def put(self, sender: str, data: bytes) -> int:
        name = sender.encode()
        size = -(-(_HEADER + len(name) + len(data)) // _ALIGNED) * _ALIGNED
        rest = SIZE - self._head % SIZE  # to the end of the block, which no record crosses
        filler = rest if rest < size else 0
        if self._head - self._tail + filler + size > SIZE:
            return 0
        if filler:
            self._write_header(filler, 0, 0, _FILLER)
            self._head += filler
        record, place = self._head + 1, self._write_header(size, len(name), len(data), _WAITS)
        self._buffer[place:place + len(name) + len(data)] = name + data
        self._head += size
        self._words[_HEAD] = self._head  # from here on the record counts
        return record

    def begin(self, record: int) -> None:
        if record:
            self._words[_state_of(record)] = _BEGAN_TWICE if record in self._tried else _BEGAN

    def finish(self, record: int) -> None:
        if record:
            self._tried.discard(record)
            self._words[_state_of(record)] = _FIRST + self._number

    def next_message(self) -> int:
        """Number of the message to the stage that is sent now. It has the effects of what was finished before."""
        number, self._number = self._number, self._number + 1
        return number

    def release(self, number: int) -> None:
        """This message is in the pipe: what was finished before it is held no longer."""
        while self._tail < self._head:
            state = int(self._words[_state_of(self._tail + 1)])
            if state != _FILLER and not _FIRST < state <= _FIRST + number:
                break
            self._tail += int(self._words[(_START + self._tail % SIZE) // 8])
        self._words[_TAIL] = self._tail

    def _write_header(self, size: int, sender: int, data: int, state: int) -> int:
        """Write a record's header at the head; return where its sender begins."""
        start = _START + self._head % SIZE
        self._words[start // 8:start // 8 + 4] = (size, sender, data, state)
        return start + _HEADER

    def close(self) -> None:
        """Unmap the block. It holds what it has held."""
        self._words = self._buffer = None
        self._memory.close()


def _state_of(record: int) -> int:
    """The word with a record's state."""
    return (_START + (record - 1) % SIZE) // 8 + 3


def _records(memory: SharedMemory) -> Iterator[tuple[int, bytes, bytes]]:
    """State, sender and packet of each record. It ends where one cannot be right."""
    block: Any = memory.buf
    content = bytes(block[:_START + SIZE])
    words = np.frombuffer(content, np.uint64)
    head, at = int(words[_HEAD]), int(words[_TAIL])
    while at < head <= at + SIZE:
        start = _START + at % SIZE
        size, sender, data, state = words[start // 8:start // 8 + 4].tolist()
        if size < _HEADER or size % _ALIGNED or _HEADER + sender + data > size or at % SIZE + size > SIZE:
            return
        if state != _FILLER:
            begin = start + _HEADER
            yield state, content[begin:begin + sender], content[begin + sender:begin + sender + data]
        at += size
