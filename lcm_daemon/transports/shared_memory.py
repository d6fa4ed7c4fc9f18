"""Memory: frames between processes of one machine, through shared memory found by name.

Two kinds of segments. The board, `lcm.NAME`, is small and never changes its size; it says which data segment is in
use and which frame is the newest. The data segment, `lcm.NAME.GENERATION`, holds three slots; a new one takes its place
when frames outgrow it or another sender takes the name. Nothing is ever locked, so whoever dies leaves nobody waiting:
the writer numbers a slot before and after it fills it, and a reader throws away what was overwritten while it copied
(the copy of a picture lets go of the interpreter lock and takes it again, which keeps the stores in order on any CPU).
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2s
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.clock import Clock, MonotonicClock
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.schema import Field, Text
from lcm_daemon.transports.base import Probe, Sink, Source, Transport

PREFIX = "lcm."
SLOTS = 3
POLL = 0.0005  # seconds between two looks at the board
LOOK = 0.1  # seconds between two looks for a new sender, while no frame comes
MAGIC = 0x31304D434C  # "LCM01"; another layout gets another number

# 64-bit words of the board ...
_MAGIC, _SESSION, _GENERATION, _CAPACITY, _NEWEST, _PROCESS, _HOME = range(7)
_BOARD_BYTES = 64
# ... and of a slot's head
_BEGUN, _DONE, _NUMBER, _TIME, _WIDTH, _HEIGHT = range(6)
_HEAD_BYTES = 64

_tracker_lock = threading.Lock()

_NAME_FIELD = Field(Text(), "lcm", "the name under which both ends find each other on this machine")


class _Segment:
    """A shared-memory segment: 64-bit words by index, and bytes. Python's resource tracker is told nothing of it.

    Before Python 3.13 whoever merely attaches is registered as an owner, and its end would take the segment from
    under everybody else. So nobody is registered: the sink unlinks when it closes, and what a killed one left the
    next one takes away: on Linux of any name, elsewhere of the same.
    """

    def __init__(self, name: str, size: int = 0) -> None:
        """Create a segment of `size` bytes, or attach to the one that is there; raises OSError."""
        self.name = name
        with _tracker_lock:
            if sys.version_info >= (3, 13):
                self._shared = SharedMemory(name, create=size > 0, size=size, track=False)
            else:
                self._shared = SharedMemory(name, create=size > 0, size=size)
                _tell_tracker("unregister", self._shared)
        assert self._shared.buf is not None
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._shared.buf, np.uint8)
        self._words: NDArray[np.uint64] = self._bytes[: self.size // 8 * 8].view(np.uint64)

    @property
    def size(self) -> int:
        return self._bytes.size

    def __getitem__(self, index: int) -> int:
        return int(self._words[index])

    def __setitem__(self, index: int, word: int) -> None:
        self._words[index] = word

    def part(self, start: int, size: int) -> NDArray[np.uint8]:
        """Some of the bytes. The segment cannot be closed while the caller keeps them."""
        return self._bytes[start : start + size]

    def close(self) -> None:
        del self._words, self._bytes  # the mapping cannot go while they look into it
        self._shared.close()

    def __del__(self) -> None:
        if hasattr(self, "_words"):
            self.close()

    def unlink(self) -> None:
        """Take the name away; those who are attached keep the memory."""
        with _tracker_lock:
            if sys.version_info < (3, 13):
                _tell_tracker("register", self._shared)  # `unlink` takes back what it believes to stand there
            try:
                self._shared.unlink()
            except FileNotFoundError:
                if sys.version_info < (3, 13):
                    _tell_tracker("unregister", self._shared)


class MemorySink(Sink):
    """Publishes frames under a name; the newest sink of a name is the one that counts."""

    fields = {"name": _NAME_FIELD}

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._name = segment_name(self.options["name"])
        self._board: _Segment | None = None
        self._data: _Segment | None = None
        self._capacity = self._count = self._session = 0

    def _open_sink(self, size: Size, fps: float) -> None:
        try:
            _sweep()
            self._board = _create_or_attach(self._name, _BOARD_BYTES)
            if self._board.size < _BOARD_BYTES:
                raise TransportError(f"memory: something else has the name {self._name!r}")
            if self._board[_MAGIC] == MAGIC:
                _forget(f"{self._name}.{self._board[_GENERATION]}")
            else:
                self._board.part(0, _BOARD_BYTES)[:] = 0
            self._board[_PROCESS], self._board[_HOME] = os.getpid(), _home()
            self._count = self._board[_NEWEST]
            self._session = secrets.randbits(63) | 1
            self._grow(size[0] * size[1] * 4)
            self._board[_SESSION], self._board[_MAGIC] = self._session, MAGIC
        except OSError as error:
            self._release()
            raise TransportError(f"memory: cannot share {self.options['name']!r}: {error}") from error
        except TransportError:
            self._release()
            raise

    def _write(self, frame: Frame) -> None:
        assert self._board is not None
        if self._board[_SESSION] != self._session:
            raise TransportError(f"memory: another sender has taken the name {self.options['name']!r}")
        if frame.pixels.nbytes > self._capacity:
            self._grow(frame.pixels.nbytes)
        assert self._data is not None
        self._count += 1
        start = self._count % SLOTS * (_HEAD_BYTES + self._capacity)
        head = start // 8
        self._data[head + _BEGUN] = self._count
        np.copyto(self._data.part(start + _HEAD_BYTES, frame.pixels.nbytes), frame.pixels.reshape(-1))
        self._data[head + _WIDTH], self._data[head + _HEIGHT] = frame.size
        self._data[head + _NUMBER] = frame.number
        self._data[head + _TIME] = round(frame.time * 1e9)
        self._data[head + _DONE] = self._count
        self._board[_NEWEST] = self._count

    def _grow(self, capacity: int) -> None:
        """Take a new data segment into use whose slots hold `capacity` bytes."""
        assert self._board is not None
        capacity = -(-capacity // 64) * 64
        _check_room(SLOTS * (_HEAD_BYTES + capacity))
        generation = self._board[_GENERATION]
        data = None
        while data is None:
            generation += 1
            with suppress(FileExistsError):
                data = _Segment(f"{self._name}.{generation}", SLOTS * (_HEAD_BYTES + capacity))
        if self._data is not None:
            self._data.unlink()
            self._data.close()
        self._data, self._capacity = data, capacity
        self._board[_CAPACITY], self._board[_GENERATION] = capacity, generation

    def _close(self) -> None:
        self._release()

    def _release(self) -> None:
        if self._board is not None and self._board.size >= _BOARD_BYTES:
            if self._board[_SESSION] in (0, self._session):
                self._board[_SESSION] = 0
                self._board.unlink()
        if self._data is not None:
            self._data.unlink()
        for segment in filter(None, (self._board, self._data)):
            segment.close()
        self._board = self._data = None


class MemorySource(Source):
    """Reads the newest frame of a name; waits for a sender, and follows it through restarts and changes of size.

    Number and time are the sender's. After a sender's restart the numbers go on where they were, so that they rise.
    """

    fields = {"name": _NAME_FIELD}

    def __init__(self, options: Mapping[str, Any], clock: Clock | None = None) -> None:
        super().__init__(options)
        self._name = segment_name(self.options["name"])
        self._clock = clock or MonotonicClock()
        self._board: _Segment | None = None
        self._data: _Segment | None = None
        self._session = self._generation = self._count = self._offset = 0
        self._last = -1
        self._look_at = 0.0

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return [name.removeprefix(PREFIX) for name in _boards()]

    def _open_source(self) -> None:
        self._look_at = 0.0

    def _read(self, timeout: float) -> Frame | None:
        until = self._clock.now() + timeout
        while True:
            frame = self._take()
            now = self._clock.now()
            if frame is not None:
                self._look_at = now + LOOK
                return frame
            if now >= self._look_at:
                self._look_at = now + LOOK
                self._look()
            elif now >= until:
                return None
            else:
                self._clock.sleep(min(POLL, until - now))

    def _look(self) -> None:
        """Attach to the board that has the name now, if it is not the attached one."""
        try:
            controls = _Segment(self._name)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise TransportError(f"memory: cannot read {self.options['name']!r}: {error}") from error
        ready = controls.size >= _BOARD_BYTES and controls[_MAGIC] == MAGIC and controls[_SESSION] != 0
        if not ready or (self._board is not None and controls[_SESSION] == self._board[_SESSION]):
            controls.close()
        else:
            self._drop()
            self._board = controls

    def _take(self) -> Frame | None:
        """The newest frame, if there is one that was not read yet and that nobody wrote over meanwhile."""
        if self._board is None:
            return None
        state = _state(self._board)
        session, generation, capacity, newest = state
        if session == 0 or newest == 0 or (session == self._session and newest == self._count):
            return None
        if (session, generation) != (self._session, self._generation) and not self._attach(session, generation):
            return None
        assert self._data is not None
        taken = _copy(self._data, capacity, newest)
        if taken is None or _state(self._board)[:-1] != state[:-1]:
            return None
        self._count = newest
        return self._number(*taken)

    def _attach(self, session: int, generation: int) -> bool:
        """Attach to a data segment; False where it has gone already."""
        try:
            data = _Segment(f"{self._name}.{generation}")
        except (OSError, ValueError):
            return False
        if self._data is not None:
            self._data.close()
        self._data, self._session, self._generation = data, session, generation
        return True

    def _number(self, pixels: Pixels, number: int, time: float) -> Frame:
        """The frame, its number moved up where a restarted sender counts from 0 again."""
        if number + self._offset <= self._last:
            self._offset = self._last + 1 - number
        self._last = number + self._offset
        return Frame(pixels, self._last, time)

    def _drop(self) -> None:
        for segment in filter(None, (self._board, self._data)):
            segment.close()
        self._board = self._data = None
        self._session = self._generation = self._count = 0

    def _close(self) -> None:
        self._drop()


def segment_name(name: str) -> str:
    """The board's name for any text: readable where it is short and plain (macOS allows 30 characters in all)."""
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,16}", name)
    return PREFIX + (name if plain else blake2s(name.encode(), digest_size=8).hexdigest())


def _state(controls: _Segment) -> tuple[int, int, int, int]:
    """Session, generation, capacity and newest; each whole, together only if they did not change meanwhile."""
    return controls[_SESSION], controls[_GENERATION], controls[_CAPACITY], controls[_NEWEST]


def _copy(data: _Segment, capacity: int, count: int) -> tuple[Pixels, int, float] | None:
    """Pixels, number and time of frame `count`; None if the slot holds another one, or came to while copying."""
    start = count % SLOTS * (_HEAD_BYTES + capacity)
    if SLOTS * (_HEAD_BYTES + capacity) > data.size:
        return None
    begun, done, number, nanoseconds, width, height = (data[start // 8 + index] for index in range(_HEIGHT + 1))
    if begun != count or done != count or not 0 < width * height * 4 <= capacity:
        return None
    pixels = np.empty((height, width, 4), np.uint8)
    np.copyto(pixels.reshape(-1), data.part(start + _HEAD_BYTES, pixels.nbytes))
    return (pixels, number, nanoseconds / 1e9) if data[start // 8 + _BEGUN] == count else None


def _create_or_attach(name: str, size: int) -> _Segment:
    try:
        return _Segment(name, size)
    except FileExistsError:
        return _Segment(name)


def _forget(name: str) -> None:
    """Remove what a killed sender left."""
    with suppress(OSError, ValueError):
        left = _Segment(name)
        left.unlink()
        left.close()


def _boards() -> list[str]:
    """The names of all boards, where they can be listed."""
    try:
        return sorted(name for name in os.listdir("/dev/shm") if re.fullmatch(r"lcm\.[^.]+", name))
    except OSError:
        return []


def _home() -> int:
    """The space in which this process has its number (containers may share memory and not numbers); 0 if unknown."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _sweep() -> None:
    """Take away what killed senders left, of any name."""
    home = _home()
    for name in _boards():
        with suppress(OSError, ValueError):
            controls = _Segment(name)
            known = controls.size >= _BOARD_BYTES and controls[_MAGIC] == MAGIC and home and controls[_HOME] == home
            if known and not os.path.exists(f"/proc/{controls[_PROCESS]}"):
                _forget(f"{name}.{controls[_GENERATION]}")
                controls.unlink()
            controls.close()


def _check_room(size: int) -> None:
    """On Linux the memory is only taken when it is written to, and a full /dev/shm then ends the process."""
    with suppress(OSError):
        free = shutil.disk_usage("/dev/shm").free
        if free < size:
            raise TransportError(f"memory: {size >> 20} MiB do not fit into /dev/shm, where {free >> 20} MiB are free")


def _tell_tracker(verb: str, shared: SharedMemory) -> None:
    if os.name == "posix":
        getattr(resource_tracker, verb)(shared._name, "shared_memory")  # type: ignore[attr-defined]


def _probe() -> Probe:
    return Probe(True, "built in")


TRANSPORT = Transport(source=MemorySource, sink=MemorySink, probe=_probe)
