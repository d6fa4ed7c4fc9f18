"""The card moves as its numbers say, and its stamp comes through what a bus does to a picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lcm_daemon.core.frame import Pixels, check_pixels, solid
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.resize import fit
from lcm_daemon.transports.testcard import Card, Stamp, TestcardSource, read_stamp, write_stamp
from tests.conftest import ManualClock
from tests.rigs.transport_contract import SOURCES


@contextmanager
def alone() -> Iterator[Source]:
    yield TestcardSource({"size": (128, 128)})


SOURCES["testcard"] = alone


def through_yuv(pixels: Pixels) -> Pixels:
    """There and back through limited-range YUV with quarter-size chroma."""
    frame = av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="yuv420p")
    return np.ascontiguousarray(frame.reformat(format="rgba").to_ndarray())


def stamped(size: tuple[int, int], number: int = 123_456, seconds: float = 98_765.432101) -> Pixels:
    pixels = Card(size).draw(2.0)
    write_stamp(pixels, Stamp(number, seconds))
    return pixels


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**47))
def test_stamp_reads_back(number, micros) -> None:
    pixels = solid((256, 128))
    write_stamp(pixels, Stamp(number, micros / 1e6))
    assert read_stamp(pixels) == Stamp(number, micros / 1e6)


@pytest.mark.parametrize("size", [(128, 112), (512, 512), (513, 400), (720, 1280), (1280, 720), (1920, 1080)])
def test_stamp_survives_chroma_subsampling(size) -> None:
    assert read_stamp(through_yuv(stamped(size))) == Stamp(123_456, 98_765.432101)


def test_stamp_survives_noise_levels_and_mixing() -> None:
    pixels = stamped((512, 512)).astype(float)
    noise = np.random.default_rng(1).normal(0, 20, pixels.shape)
    for changed in (pixels * 0.5 + 20, pixels * 0.9 + noise, pixels * 0.6 + 0.4 * 200):
        assert read_stamp(np.clip(changed, 0, 255).astype(np.uint8)) == Stamp(123_456, 98_765.432101)


@pytest.mark.slow
def test_stamp_survives_scaling() -> None:
    assert read_stamp(fit(stamped((1024, 1024)), (512, 512), "stretch")) == Stamp(123_456, 98_765.432101)


def test_a_damaged_stamp_is_none() -> None:
    pixels = stamped((512, 512))
    pixels[:8, 80:88, :3] = 255 - pixels[:8, 80:88, :3]
    assert read_stamp(pixels) is None


@pytest.mark.parametrize(
    "pixels",
    [solid((512, 512)), solid((512, 512), (255,) * 4), Card((512, 512)).draw(1.0), solid((16, 16)), solid((64, 8))],
)
def test_no_stamp_is_none(pixels) -> None:
    assert read_stamp(pixels) is None


def test_too_small_a_picture_is_left_as_it_is() -> None:
    pixels = solid((64, 64))
    write_stamp(pixels, Stamp(1, 1.0))
    assert (pixels == solid((64, 64))).all()


def test_picture_is_a_function_of_its_number() -> None:
    first, again = Card((320, 200)), Card((320, 200))
    assert (first.draw(0.5) == again.draw(0.5)).all()
    assert (first.draw(0.5) != first.draw(0.6)).any()
    check_pixels(first.draw(7.0))
    assert (first.draw(7.0)[..., 3] == 255).all()


@pytest.mark.parametrize("size", [(16, 16), (17, 400), (400, 17), (333, 77)])
def test_any_size_draws_at_any_time(size) -> None:
    card = Card(size)
    for seconds in np.linspace(0, 100, 60):
        assert card.draw(float(seconds)).shape == (size[1], size[0], 4)


def test_paced_by_the_clock(clock: ManualClock) -> None:
    source = TestcardSource({"size": (128, 128), "fps": 10.0}, clock)
    source.open()
    start = clock.now()
    frames = [source.read(1.0) for _ in range(4)]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [frame.time - start for frame in frames] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert [read_stamp(frame.pixels).time for frame in frames] == pytest.approx([frame.time for frame in frames])


def test_read_waits_no_longer_than_its_timeout(clock: ManualClock) -> None:
    source = TestcardSource({"size": (128, 128), "fps": 10.0}, clock)
    source.open()
    source.read(0.0)
    before = clock.now()
    assert source.read(0.03) is None
    assert clock.now() == pytest.approx(before + 0.03)
    assert source.read(0.08).number == 1


def test_late_reader_sees_gaps(clock: ManualClock) -> None:
    source = TestcardSource({"size": (128, 128), "fps": 10.0}, clock)
    source.open()
    source.read(0.0)
    clock.sleep(1.05)
    frame = source.read(0.0)
    assert frame.number == 10
    assert read_stamp(frame.pixels).number == 10
    assert source.read(0.2).number == 11


def test_as_fast_as_read(clock: ManualClock) -> None:
    source = TestcardSource({"size": (128, 128), "fps": 0.0}, clock)
    source.open()
    before = clock.now()
    assert [source.read(1.0).number for _ in range(5)] == [0, 1, 2, 3, 4]
    assert clock.now() == before


def test_without_stamp(clock: ManualClock) -> None:
    source = TestcardSource({"size": (256, 256), "stamp": False}, clock)
    source.open()
    frame = source.read(0.0)
    assert read_stamp(frame.pixels) is None
    assert (frame.pixels == Card((256, 256)).draw(0.0)).all()


def test_is_cheap() -> None:
    """1.0 ms a picture at 512x512 on one shared core; the limit leaves room for a slower one."""
    source = TestcardSource({"fps": 0.0})
    source.open()
    times = []
    for _ in range(40):
        before = time.perf_counter()
        source.read(0.0)
        times.append(time.perf_counter() - before)
    assert min(times) < 0.005
