"""The page as a source: what the desk publishes is what the stage reads, and nobody else's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.browser import BrowserSource, PageSink
from lcm_daemon.transports.shared_memory import MemorySource
from tests.rigs.transport_contract import SOURCES

NAME = f"page{os.getpid()}"


class Fed(BrowserSource):
    """Somebody has the page open and moves before the camera."""

    sink: PageSink
    count = 0

    def _read(self, timeout: float) -> Frame | None:
        self.count += 1
        self.sink.write(Frame(solid((64, 48), (self.count, 0, 0, 255)), self.count, time.perf_counter()))
        return super()._read(timeout)


@contextmanager
def alone() -> Iterator[Source]:
    source = Fed({"name": NAME})
    source.sink = PageSink({"name": NAME})
    source.sink.open((64, 48), 30)
    try:
        yield source
    finally:
        source.close()
        source.sink.close()


SOURCES["browser"] = alone


def test_it_waits_for_a_page_and_is_no_memory_source_of_the_same_name() -> None:
    source, other, sink = BrowserSource({"name": NAME}), MemorySource({"name": NAME}), PageSink({"name": NAME})
    source.open()
    other.open()
    try:
        assert source.read(0.0) is None
        sink.open((64, 48), 30)
        sink.write(Frame(solid((64, 48), (1, 2, 3, 255)), 7, 1.0))
        until = time.perf_counter() + 20
        while (frame := source.read(0.1)) is None:
            assert time.perf_counter() < until
        assert (frame.number, frame.size, tuple(frame.pixels[0, 0])) == (7, (64, 48), (1, 2, 3, 255))
        assert other.read(0.2) is None
    finally:
        for end in (source, other, sink):
            end.close()


def test_nothing_is_listed() -> None:
    assert BrowserSource.discover(0.0) == []
