"""Memory transport: frames between processes of one machine, through shared memory that is found by name.

There are two kinds of segments. The index segment, `lcm.NAME`, is small and never changes its size; it says which data
segment is in use and which frame is the newest. The data segment, `lcm.NAME.GENERATION`, holds three slots; a new one
replaces it when frames outgrow it or another sender takes the name.

Nothing is locked, so a process that dies blocks no other. The writer stores the frame's count in the slot before and
after it fills the slot, and a reader discards a frame that was overwritten while it was copied. (Copying a frame
releases the interpreter lock and takes it again, which keeps the stores in order on any CPU.)
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from hashlib import blake2s
from typing import TYPE_CHECKING, Any

import numpy as np

from lcm_daemon.core.clock import Clock, MonotonicClock
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.schema import Field, Text
from lcm_daemon.transports.base import Probe, Sink, Source, Transport
from lcm_daemon.transports.segment import Segment

if TYPE_CHECKING:
    import psutil

PREFIX = "lcm."
SLOTS = 3
POLL_SECONDS = 0.0005  # between two checks of the index segment
SEARCH_INTERVAL = 0.1  # seconds between two searches for a new sender, while no frame arrives
MAGIC = 0x31304D434C  # "LCM01"; another layout gets another number

# 64-bit words of the index segment. _HOME is the process namespace of _PROCESS, _STARTED when it began, in seconds.
_MAGIC, _SESSION, _GENERATION, _CAPACITY, _NEWEST, _PROCESS, _HOME, _STARTED = range(8)
_INDEX_BYTES = 64
# 64-bit words of a slot's header.
_BEGUN, _DONE, _NUMBER, _TIME, _WIDTH, _HEIGHT = range(6)
_HEAD_BYTES = 64

_NAME_FIELD = Field(Text(), "lcm", "name under which sink and source find each other on this machine")


class MemorySink(Sink):
    """Publishes frames under a name. A second sink of the same name is refused until this one closes or its process
    ends."""

    fields = {"name": _NAME_FIELD}

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._name = segment_name(self.options["name"])
        self._index: Segment | None = None
        self._data: Segment | None = None
        self._capacity = self._count = self._session = 0

    def _open_sink(self, size: Size, fps: float) -> None:
        import psutil  # a small command must not load it

        try:
            _remove_stale()
            self._index = _create_or_attach(self._name, _INDEX_BYTES)
            if self._index.size < _INDEX_BYTES:
                raise TransportError(f"memory: another program uses the name {self._name!r}; choose another name")
            if self._index[_MAGIC] == MAGIC:
                self._refuse_second(self._index)
                _remove(f"{self._name}.{self._index[_GENERATION]}")
            else:
                self._index.part(0, _INDEX_BYTES)[:] = 0
            self._index[_PROCESS], self._index[_HOME] = os.getpid(), _process_namespace()
            self._index[_STARTED] = _start_of(psutil.Process())
            self._count = self._index[_NEWEST]
            self._session = secrets.randbits(63) | 1
            self._grow(size[0] * size[1] * 4)
            self._index[_SESSION], self._index[_MAGIC] = self._session, MAGIC
        except OSError as error:
            raise TransportError(f"memory: cannot share {self.options['name']!r}: {error}") from error

    def _refuse_second(self, index: Segment) -> None:
        if index[_SESSION] != 0 and _is_running(index):
            process = "this daemon" if index[_PROCESS] == os.getpid() else f"process {index[_PROCESS]}"
            name = self.options["name"]
            raise TransportError(f"memory: another sink of {process} has the name {name!r}; give one another name")

    def _write(self, frame: Frame) -> None:
        assert self._index is not None
        if self._index[_SESSION] != self._session:
            raise TransportError(f"memory: another sender took the name {self.options['name']!r}")
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
        self._index[_NEWEST] = self._count

    def _grow(self, capacity: int) -> None:
        """Switch to a new data segment whose slots hold `capacity` bytes."""
        assert self._index is not None
        capacity = -(-capacity // 64) * 64
        _check_room(SLOTS * (_HEAD_BYTES + capacity))
        generation = self._index[_GENERATION]
        data = None
        while data is None:
            generation += 1
            with suppress(FileExistsError):
                data = Segment(f"{self._name}.{generation}", SLOTS * (_HEAD_BYTES + capacity))
        if self._data is not None:
            self._data.unlink()
            self._data.close()
        self._data, self._capacity = data, capacity
        self._index[_CAPACITY], self._index[_GENERATION] = capacity, generation

    def _close(self) -> None:
        index, data, self._index, self._data = self._index, self._data, None, None
        with ExitStack() as stack:
            for segment in filter(None, (index, data)):
                stack.callback(segment.close)
            if data is not None:
                stack.callback(data.unlink)
            if index is not None and index.size >= _INDEX_BYTES and index[_SESSION] in (0, self._session):
                index[_SESSION] = 0
                index.unlink()


class MemorySource(Source):
    """Reads the newest frame of a name. Waits for a sender, and follows it through restarts and changes of size.

    Number and time of a frame are the sender's. After a restart of the sender, numbers continue where they were.
    """

    is_listed = True
    fields = {"name": _NAME_FIELD}

    def __init__(self, options: Mapping[str, Any], clock: Clock | None = None) -> None:
        super().__init__(options)
        self._name = segment_name(self.options["name"])
        self._clock = clock or MonotonicClock()
        self._index: Segment | None = None
        self._data: Segment | None = None
        self._session = self._generation = self._count = self._offset = 0
        self._last_number = -1
        self._next_search = 0.0

    @property
    def is_connected(self) -> bool | None:
        index = self._index
        if index is None or index[_SESSION] == 0:
            return False
        return _is_running(index)

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return [name.removeprefix(PREFIX) for name in _index_names()]

    def _open_source(self) -> None:
        self._next_search = 0.0

    def _read(self, timeout: float) -> Frame | None:
        until = self._clock.now() + timeout
        while True:
            frame = self._read_newest()
            now = self._clock.now()
            if frame is not None:
                self._next_search = now + SEARCH_INTERVAL
                return frame
            if now >= self._next_search:
                self._next_search = now + SEARCH_INTERVAL
                self._search_sender()
            elif now >= until:
                return None
            else:
                self._clock.sleep(min(POLL_SECONDS, until - now))

    def _search_sender(self) -> None:
        """Attach to the index segment that has the name now, unless it is the attached one."""
        try:
            index = Segment(self._name)
        except (FileNotFoundError, ValueError):  # not there, or without a size yet: its sender is creating it now
            return
        except OSError as error:
            raise TransportError(f"memory: cannot read {self.options['name']!r}: {error}") from error
        is_ready = index.size >= _INDEX_BYTES and index[_MAGIC] == MAGIC and index[_SESSION] != 0
        if not is_ready or (self._index is not None and index[_SESSION] == self._index[_SESSION]):
            index.close()
        else:
            self._detach()
            self._index = index

    def _read_newest(self) -> Frame | None:
        """Return the newest frame, if it is unread and was not overwritten while it was copied."""
        if self._index is None:
            return None
        state = _index_state(self._index)
        session, generation, capacity, newest = state
        if session == 0 or newest == 0 or (session == self._session and newest == self._count):
            return None
        if (session, generation) != (self._session, self._generation) and not self._attach(session, generation):
            return None
        assert self._data is not None
        copied = _copy_slot(self._data, capacity, newest)
        if copied is None or _index_state(self._index)[:-1] != state[:-1]:
            return None
        self._count = newest
        return self._renumber(*copied)

    def _attach(self, session: int, generation: int) -> bool:
        """Attach to a data segment; False if it no longer exists."""
        try:
            data = Segment(f"{self._name}.{generation}")
        except (OSError, ValueError):
            return False
        if self._data is not None:
            self._data.close()
        self._data, self._session, self._generation = data, session, generation
        return True

    def _renumber(self, pixels: Pixels, number: int, time: float) -> Frame:
        """Build the frame. Raise its number if a restarted sender counts from 0 again."""
        if number + self._offset <= self._last_number:
            self._offset = self._last_number + 1 - number
        self._last_number = number + self._offset
        return Frame(pixels, self._last_number, time)

    def _detach(self) -> None:
        segments, self._index, self._data = (self._index, self._data), None, None
        self._session = self._generation = self._count = 0
        for segment in filter(None, segments):
            segment.close()

    def _close(self) -> None:
        self._detach()


def segment_name(name: str) -> str:
    """Name of the index segment: `name` itself if it is short and plain, else a hash (macOS allows 30 characters)."""
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,16}", name)
    return PREFIX + (name if plain else blake2s(name.encode(), digest_size=8).hexdigest())


def _is_running(index: Segment) -> bool | None:
    """Whether the sender's process runs; None if it cannot be looked up, as from another container."""
    import psutil

    if index[_HOME] != _process_namespace():
        return None
    try:
        process = psutil.Process(index[_PROCESS])
        is_other = index[_STARTED] and abs(_start_of(process) - index[_STARTED]) > 2  # its number was given away again
        return process.status() != psutil.STATUS_ZOMBIE and not is_other
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return None


def _start_of(process: psutil.Process) -> int:
    return int(process.create_time())


def _index_state(index: Segment) -> tuple[int, int, int, int]:
    """Session, generation, capacity and newest count. Each is whole; together they may be of different moments."""
    return index[_SESSION], index[_GENERATION], index[_CAPACITY], index[_NEWEST]


def _copy_slot(data: Segment, capacity: int, count: int) -> tuple[Pixels, int, float] | None:
    """Pixels, number and time of frame `count`; None if its slot holds another one, before or after copying."""
    start = count % SLOTS * (_HEAD_BYTES + capacity)
    if SLOTS * (_HEAD_BYTES + capacity) > data.size:
        return None
    begun, done, number, nanoseconds, width, height = (data[start // 8 + index] for index in range(_HEIGHT + 1))
    if begun != count or done != count or not 0 < width * height * 4 <= capacity:
        return None
    pixels = np.empty((height, width, 4), np.uint8)
    np.copyto(pixels.reshape(-1), data.part(start + _HEAD_BYTES, pixels.nbytes))
    return (pixels, number, nanoseconds / 1e9) if data[start // 8 + _BEGUN] == count else None


def _create_or_attach(name: str, size: int) -> Segment:
    try:
        return Segment(name, size)
    except FileExistsError:
        return Segment(name)


def _remove(name: str) -> None:
    """Remove a segment that a killed sender left."""
    with suppress(OSError, ValueError):
        left = Segment(name)
        left.unlink()
        left.close()


def _index_names() -> list[str]:
    """Names of all index segments; empty on systems that cannot list them."""
    try:
        return sorted(name for name in os.listdir("/dev/shm") if re.fullmatch(r"lcm\.[^.]+", name))
    except OSError:
        return []


def _process_namespace() -> int:
    """The namespace that this process's id belongs to, or 0 if unknown. Containers may share memory but not ids."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _remove_stale() -> None:
    """Remove the segments that killed senders left, under any name."""
    namespace = _process_namespace()
    for name in _index_names():
        with suppress(OSError, ValueError), closing(Segment(name)) as index:
            is_ours = index.size >= _INDEX_BYTES and index[_MAGIC] == MAGIC
            is_ours = is_ours and namespace != 0 and index[_HOME] == namespace
            if is_ours and not os.path.exists(f"/proc/{index[_PROCESS]}"):
                _remove(f"{name}.{index[_GENERATION]}")
                index.unlink()


def _check_room(size: int) -> None:
    """Linux allocates the memory only when it is written to; a full /dev/shm would then kill the process."""
    with suppress(OSError):
        free = shutil.disk_usage("/dev/shm").free
        if free < size:
            raise TransportError(f"memory: {size >> 20} MiB do not fit into /dev/shm, which has {free >> 20} MiB free")


def _probe() -> Probe:
    return Probe(True, "built in")


TRANSPORT = Transport(source=MemorySource, sink=MemorySink, probe=_probe)
