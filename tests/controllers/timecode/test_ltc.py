"""LTC that libltc has made: every rate, distortions, and what is not LTC."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lcm_daemon.controllers.timecode.ltc import LtcDecoder
from lcm_daemon.core.timecode import FrameRate, Timecode, TimecodeReport
from tests.rigs.ltc import ltc_signal

NTSC = 30000 / 1001


def decode(samples: NDArray[np.float32], rate: int = 48000, block: int = 960) -> list[TimecodeReport]:
    """Reports of a signal whose first sample is captured at second 100."""
    decoder, reports = LtcDecoder(rate), list[TimecodeReport]()
    for start in range(0, len(samples), block):
        part = samples[start:start + block]
        reports += decoder.feed(part, 100.0 + (start + len(part) - 1) / rate)
    return reports


def shown(reports: list[TimecodeReport]) -> list[str]:
    """The frame that ended with each report: the reports say where the timecode is then, which is the next one."""
    return [str(report.rate.timecode(round(report.frame) - 1)) for report in reports]


@pytest.mark.parametrize(("fps", "rate"), [
    (24.0, FrameRate(24)), (25.0, FrameRate(25)), (30.0, FrameRate(30)), (NTSC, FrameRate(30, drop=True))])
@pytest.mark.parametrize("samples", [44100, 48000, 96000])
def test_every_rate(fps: float, rate: FrameRate, samples: int) -> None:
    reports = decode(ltc_signal((1, 9, 59, 20), 12, fps, samples), samples)
    assert {report.rate for report in reports} == {rate}
    assert len(reports) >= 9
    assert "01:10:00:00" in shown(reports)
    start = rate.index(Timecode(1, 9, 59, 20))
    for report in reports:  # the time is that of the signal, which starts at second 100
        assert report.frame - (report.time - 100.0) * rate.per_second == pytest.approx(start, abs=0.05)


@pytest.mark.parametrize("block", [64, 256, 1000, 48000])
def test_blocks_of_any_size(block: int) -> None:
    reports = decode(ltc_signal((23, 59, 59, 20), 10), block=block)
    found = shown(reports)
    assert found[found.index("23:59:59:24"):][:3] == ["23:59:59:24", "00:00:00:00", "00:00:00:01"]


@pytest.mark.parametrize("distort", [
    lambda signal: -signal, lambda signal: signal * 0.01, lambda signal: signal * 0.2 + 0.5,
    lambda signal: np.clip(signal * 50, -1, 1),
    lambda signal: signal + np.random.default_rng(1).normal(0, 0.1, len(signal)),
    lambda signal: signal * np.linspace(0.1, 1.0, len(signal)),
    lambda signal: np.convolve(signal, np.ones(5) / 5, "same"),  # a long cable
])
def test_a_signal_that_is_not_clean(distort: object) -> None:
    signal = ltc_signal((1, 0, 10, 0), 25)
    reports = decode(distort(signal).astype(np.float32))  # type: ignore[operator]
    assert len(reports) >= 22
    assert [round(report.frame) for report in reports[-20:]] == list(range(
        round(reports[-20].frame), round(reports[-20].frame) + 20))


def test_a_damaged_frame_costs_two_frames() -> None:
    signal = ltc_signal((1, 0, 10, 0), 25)
    signal[20000:20300] = 0.0
    found = shown(decode(signal))
    assert len(found) >= 20
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("signal", [
    np.zeros(48000), np.random.default_rng(1).normal(0, 0.3, 48000), np.sin(np.arange(48000) * 0.05),
    np.sign(np.sin(np.arange(48000) * 2 * np.pi * 1000 / 48000)), np.full(48000, np.nan), np.zeros(0)])
def test_what_is_not_ltc_has_no_frames(signal: NDArray[np.float64]) -> None:
    assert not decode(signal.astype(np.float32))


def test_backwards_there_are_no_frames() -> None:
    assert not decode(ltc_signal((1, 0, 10, 0), 25, backwards=True))
