"""Frames between real processes: either endpoint may stop and return at any time, and nothing is left behind."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.transports import shared_memory
from lcm_daemon.transports.base import Sink, Source
from lcm_daemon.transports.shared_memory import MemorySink, MemorySource, segment_name
from tests.conftest import ManualClock, need
from tests.rigs.transport_contract import LOOPBACKS

SHARED = Path("/dev/shm")
SPAWN = multiprocessing.get_context("spawn")
_numbers = count()


def fresh_name() -> str:
    return f"t{os.getpid()}-{next(_numbers)}"[:16]


def left_behind(name: str) -> list[str]:
    return sorted(path.name for path in SHARED.glob(segment_name(name) + "*"))


@contextmanager
def connected(name: str = "") -> Iterator[tuple[Sink, Source]]:
    name = name or fresh_name()
    sink, source = MemorySink({"name": name}), MemorySource({"name": name})
    try:
        yield sink, source
    finally:
        source.close()
        sink.close()
        assert left_behind(name) == []


LOOPBACKS["memory"] = connected


def picture(number: int, size: tuple[int, int] = (64, 48)) -> Frame:
    return Frame(solid(size, (number % 256,) * 4), number, 500.0 + number)


def send(name: str, size: tuple[int, int], pause: float, frames: int = sys.maxsize) -> None:
    """A sender's process: flat pictures whose value is their number."""
    sink = MemorySink({"name": name})
    sink.open(size, 60.0)
    for number in range(frames):
        sink.write(picture(number, size))
        time.sleep(pause)


@contextmanager
def sender(name: str, size: tuple[int, int] = (64, 48), pause: float = 0.001) -> Iterator[BaseProcess]:
    process = SPAWN.Process(target=send, args=(name, size, pause))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(20)


def next_frame(source: Source, seconds: float = 20.0) -> Frame:
    frame = source.read(seconds)
    assert frame is not None, f"no frame within {seconds} s"
    return frame


def is_flat(pixels: Pixels, number: int) -> bool:
    return bool((pixels == number % 256).all())


def test_number_and_time_are_the_senders() -> None:
    with connected() as (sink, source):
        sink.open((64, 48), 30.0)
        source.open()
        sink.write(picture(41))
        frame = next_frame(source)
        assert (frame.number, frame.time) == (41, 541.0)
        assert is_flat(frame.pixels, 41)


def test_newest_wins_and_comes_once() -> None:
    with connected() as (sink, source):
        sink.open((64, 48), 30.0)
        source.open()
        for number in range(7):
            sink.write(picture(number))
        assert next_frame(source).number == 6
        assert source.read(0.01) is None


def test_frames_are_the_readers_own() -> None:
    with connected() as (sink, source):
        sink.open((64, 48), 30.0)
        source.open()
        sink.write(picture(1))
        frame = next_frame(source)
        for number in range(2, 6):
            sink.write(picture(number))
        assert is_flat(frame.pixels, 1)


def test_source_waits_for_a_sender(clock: ManualClock) -> None:
    name = fresh_name()
    source, sink = MemorySource({"name": name}, clock), MemorySink({"name": name})
    source.open()
    before = clock.now()
    assert source.read(0.25) is None
    assert clock.now() == pytest.approx(before + 0.25)
    sink.open((64, 48), 30.0)
    assert source.read(0.25) is None
    sink.write(picture(0))
    assert source.read(0.25).number == 0
    sink.close()
    source.close()


@pytest.mark.parametrize("sizes", [[(64, 48), (640, 480), (32, 16)], [(32, 32), (31, 33), (1920, 1080), (16, 16)]])
def test_follows_the_size(sizes) -> None:
    with connected() as (sink, source):
        sink.open(sizes[0], 30.0)
        source.open()
        for number, size in enumerate(sizes):
            sink.write(picture(number, size))
            frame = next_frame(source)
            assert frame.size == size
            assert is_flat(frame.pixels, number)


def test_numbers_rise_over_a_senders_restart() -> None:
    with connected() as (sink, source):
        source.open()
        numbers = []
        for _ in range(3):
            sink.open((64, 48), 30.0)
            for number in (0, 1, 5):
                sink.write(picture(number))
                numbers.append(next_frame(source).number)
            sink.close()
        assert numbers == [0, 1, 5, 6, 7, 11, 12, 13, 17]


def test_several_sources_see_the_same() -> None:
    with connected() as (sink, source):
        other = MemorySource(source.options)
        sink.open((64, 48), 30.0)
        sink.write(picture(3))
        source.open()
        other.open()
        assert next_frame(source).number == next_frame(other).number == 3
        other.close()
        sink.write(picture(4))
        assert next_frame(source).number == 4


def test_a_second_sink_is_refused_until_the_first_closes() -> None:
    with connected() as (sink, source):
        sink.open((64, 48), 30.0)
        source.open()
        sink.write(picture(0))
        next_frame(source)
        other = MemorySink(sink.options)
        with pytest.raises(TransportError, match=r"another sink of this daemon has the name '.*'; give one another"):
            other.open((32, 32), 30.0)
        sink.write(picture(1))
        assert next_frame(source).size == (64, 48)
        sink.close()
        other.open((32, 32), 30.0)
        other.write(picture(2, (32, 32)))
        assert next_frame(source).size == (32, 32)
        other.close()


def test_a_name_whose_process_number_was_given_away_is_free() -> None:
    with connected() as (sink, _):
        sink.open((64, 48), 30.0)
        sink._index[shared_memory._STARTED] -= 3600  # the process that has the number now began later
        other = MemorySink(sink.options)
        other.open((32, 32), 30.0)
        with pytest.raises(TransportError, match="another sender took the name"):
            sink.write(picture(1))
        other.close()


def test_a_segment_that_is_being_created_is_waited_for() -> None:
    """Its sender has opened it and not yet set its size."""
    need(SHARED.is_dir(), "shared memory lies in a folder on Linux alone")
    with connected() as (sink, source):
        source.open()
        empty = SHARED / segment_name(sink.options["name"])
        empty.touch()
        assert source.read(0.0) is None
        empty.unlink()
        source._next_search = 0.0
        sink.open((64, 48), 30.0)
        sink.write(picture(1))
        assert next_frame(source).number == 1


def test_a_half_written_slot_is_never_read() -> None:
    """A sender died while it wrote a slot."""
    with connected() as (sink, source):
        sink.open((64, 48), 30.0)
        source.open()
        sink.write(picture(1))
        slot = 2 % shared_memory.SLOTS * (shared_memory._HEAD_BYTES + sink._capacity)
        sink._data[slot // 8 + shared_memory._BEGUN] = 2
        sink._index[shared_memory._NEWEST] = 2
        assert source.read(0.01) is None
        sink._index[shared_memory._NEWEST] = 1
        assert next_frame(source).number == 1


def test_a_foreign_segment_is_left_alone() -> None:
    name = fresh_name()
    foreign = shared_memory.Segment(segment_name(name), 16)
    try:
        source = MemorySource({"name": name})
        source.open()
        assert source.read(0.02) is None
        source.close()
        if foreign.size < shared_memory._INDEX_BYTES:  # elsewhere sizes are rounded up to pages
            with pytest.raises(TransportError, match="another program uses the name"):
                MemorySink({"name": name}).open((64, 48), 30.0)
    finally:
        foreign.unlink()
        foreign.close()


def test_sink_that_fails_to_open_leaves_no_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(bits: int) -> int:
        raise NotImplementedError("no entropy")

    monkeypatch.setattr(shared_memory.secrets, "randbits", refuse)
    name = fresh_name()
    sink = MemorySink({"name": name})
    with pytest.raises(NotImplementedError):
        sink.open((64, 48), 30.0)
    assert (left_behind(name), sink.is_open, sink._index) == ([], False, None)


def test_full_memory_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 20, 0, 1 << 20))
    name = fresh_name()
    sink = MemorySink({"name": name})
    with pytest.raises(TransportError, match=r"^memory: 23 MiB do not fit into /dev/shm, which has 1 MiB free$"):
        sink.open((1920, 1080), 30.0)
    assert left_behind(name) == []


@pytest.mark.parametrize("name", ["lcm", "STAGE (Camera 1)", "../../etc/passwd", "ü" * 300, "", "a.1"])
def test_any_name_is_a_segment_name(name) -> None:
    assert len(segment_name(name)) <= 20
    assert segment_name(name).count(".") == 1
    assert "/" not in segment_name(name)
    with connected(name) as (sink, source):
        sink.open((16, 16), 30.0)
        source.open()
        sink.write(picture(8, (16, 16)))
        assert next_frame(source).number == 8


def test_discovery_lists_senders() -> None:
    need(SHARED.is_dir(), "shared memory can be listed on Linux alone")
    name = fresh_name()
    with connected(name) as (sink, _):
        sink.open((64, 48), 30.0)
        assert name in MemorySource.discover(0.0)
    assert name not in MemorySource.discover(0.0)


@pytest.mark.slow
def test_nothing_is_torn_at_full_speed() -> None:
    """The sender never pauses: every frame read is whole, and newer than the one before."""
    name = fresh_name()
    source = MemorySource({"name": name})
    source.open()
    with sender(name, (320, 240), pause=0.0):
        last, read = -1, 0
        until = time.perf_counter() + 20
        while read < 300 and time.perf_counter() < until:
            frame = source.read(0.1)
            if frame is not None:
                assert frame.number > last
                assert is_flat(frame.pixels, frame.number)
                last, read = frame.number, read + 1
    source.close()
    assert read == 300
    clean_up(name)


@pytest.mark.slow
def test_sender_is_killed_and_comes_back() -> None:
    name = fresh_name()
    source = MemorySource({"name": name})
    source.open()
    last = -1
    for size in ((64, 48), (320, 240), (32, 32)):
        with sender(name, size):
            frame = next_frame(source)
            while frame.size != size:
                frame = next_frame(source)
            assert frame.number > last
            last = frame.number
        while (rest := source.read(0.05)) is not None:
            last = rest.number
    source.close()
    clean_up(name)


@pytest.mark.slow
def test_a_sender_is_connected_until_it_closes_or_dies() -> None:
    name = fresh_name()
    source = MemorySource({"name": name})
    source.open()
    assert source.is_connected is False
    sink = MemorySink({"name": name})
    sink.open((64, 48), 30.0)
    sink.write(picture(1))
    next_frame(source)
    assert source.read(0.0) is None
    assert source.is_connected is True
    sink.close()
    assert source.is_connected is False
    with sender(name) as process:
        next_frame(source)
        assert source.is_connected is True
        process.kill()  # nothing has waited for it yet: it is a zombie
        while source.read(0.1) is not None:
            pass
        assert source.is_connected is False
    source.close()
    clean_up(name)


@pytest.mark.slow
def test_what_a_killed_sender_left_is_swept_up_by_the_next() -> None:
    need(SHARED.is_dir(), "shared memory can be listed on Linux alone")
    killed, other = fresh_name(), fresh_name()
    source = MemorySource({"name": killed})
    source.open()
    with sender(killed):
        next_frame(source)
    source.close()
    assert left_behind(killed) == [segment_name(killed), f"{segment_name(killed)}.1"]
    with connected(other) as (sink, _):
        sink.open((16, 16), 30.0)
        assert left_behind(killed) == []
        again = MemorySink({"name": fresh_name()})
        again.open((16, 16), 30.0)
        assert left_behind(other) != []  # running senders keep theirs
        again.close()


@pytest.mark.slow
def test_reader_that_ends_takes_nothing_with_it() -> None:
    """Also before Python 3.13, where a process that attaches is registered as an owner by default."""
    name = fresh_name()
    with connected(name) as (sink, source):
        sink.open((64, 48), 30.0)
        sink.write(picture(1))
        code = (
            f"from lcm_daemon.transports.shared_memory import MemorySource; source = "
            f"MemorySource({{'name': {name!r}}}); source.open(); print(source.read(10).number)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout.strip(), done.stderr) == ("1", "")
        sink.write(picture(2))
        source.open()
        assert next_frame(source).number == 2


@pytest.mark.slow
def test_sink_process_leaves_nothing_and_says_nothing() -> None:
    name = fresh_name()
    code = (
        "import numpy as np; from lcm_daemon.core.frame import Frame, solid;"
        f"from lcm_daemon.transports.shared_memory import MemorySink; sink = MemorySink({{'name': {name!r}}});"
        "sink.open((64, 48), 30); sink.write(Frame(solid((640, 480)), 0, 0.0)); sink.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert left_behind(name) == []


@pytest.mark.slow
def test_copy_is_cheap() -> None:
    """0.1 ms for both ends at 512x512 on one shared core; the limit leaves room for a slower one."""
    with connected() as (sink, source):
        sink.open((512, 512), 60.0)
        source.open()
        times = []
        for number in range(50):
            frame = picture(number, (512, 512))
            before = time.perf_counter()
            sink.write(frame)
            assert source.read(0.0) is not None
            times.append(time.perf_counter() - before)
        assert np.min(times) < 0.004


def clean_up(name: str) -> None:
    """After a killed sender, the next one of that name leaves nothing."""
    sink = MemorySink({"name": name})
    sink.open((16, 16), 30.0)
    sink.close()
    assert left_behind(name) == []
