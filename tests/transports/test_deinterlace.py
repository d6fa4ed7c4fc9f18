"""Interlaced frames lose their combs; progressive ones stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from lcm_daemon.transports.deinterlace import Deinterlacer
from tests.rigs.videos import comb, combed, interlaced, write_video


def decoded(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def through(frames: list[Any]) -> list[tuple[Any, Any]]:
    deinterlacer, found = Deinterlacer(), []
    for label, frame in enumerate(frames):
        found += deinterlacer.push(frame, label)
    return found + list(deinterlacer.flush())


@pytest.mark.parametrize("count", [1, 2, 6])
def test_interlaced_frames_lose_their_combs(tmp_path, count) -> None:
    frames = decoded(write_video(tmp_path / "clip.mkv", "libx264", "yuv420p", combed(count), prepare=interlaced))
    assert min(comb(frame.to_ndarray(format="gray")) for frame in frames) > 15
    found = through(frames)
    assert [label for _, label in found] == list(range(count))
    if count > 1:  # a lone frame has no motion
        assert max(comb(frame.to_ndarray(format="gray")) for frame, _ in found) < 5


def test_progressive_frames_are_not_touched(tmp_path) -> None:
    frames = decoded(write_video(tmp_path / "clip.mkv", "libx264", "yuv420p", combed(4)))
    assert [frame for frame, _ in through(frames)] == frames


def test_another_size_is_another_filter(tmp_path) -> None:
    first = decoded(write_video(tmp_path / "a.mkv", "libx264", "yuv420p", combed(3), prepare=interlaced))
    half = combed(3, (128, 48))
    second = decoded(write_video(tmp_path / "b.mkv", "libx264", "yuv420p", half, prepare=interlaced))
    found = through([*first, *second])
    assert [label for _, label in found] == list(range(6))
    assert [frame.height for frame, _ in found] == [96] * 3 + [48] * 3
