"""What follows from the frames of an output: gaps that an audience sees, and how long a change takes."""

from __future__ import annotations

import pytest

from lcm_daemon.commands.soak.timeline import FrameSeen, Timeline

FPS = 25


def frames(start: float, end: float, level: float = 100.0) -> list[FrameSeen]:
    """Frames at FPS from `start` until before `end`, all of one brightness."""
    return [FrameSeen(start + place / FPS, level, True) for place in range(round((end - start) * FPS))]


def timeline(*parts: list[FrameSeen]) -> Timeline:
    made = Timeline(0.0, 10.0)
    for part in parts:
        made.add(part)
    return made


@pytest.mark.parametrize(("start", "end", "gap"), [
    (0.0, 3.0, 0.04),  # nothing was missed
    (0.0, 10.0, 1.04),  # from the last frame before 5 s to the one at 6 s
    (5.2, 5.4, 1.04),  # a gap around the whole time
    (8.0, 12.0, 2.04),  # it lasts
])
def test_the_longest_gap_that_touches_a_time(start: float, end: float, gap: float) -> None:
    assert timeline(frames(0, 5), frames(6, 10)).longest_gap(start, end) == pytest.approx(gap)


def test_no_frame_at_all_is_a_gap_of_the_whole_time() -> None:
    assert timeline().longest_gap(3.0, 7.0) == 4.0


def test_spans_count_frames_and_keep_the_longest_gap() -> None:
    made = timeline(frames(0, 12), frames(13, 20, level=2.0))
    assert [span.frames for span in made.spans] == [250, 225]
    assert [span.longest for span in made.spans] == pytest.approx([0.04, 1.04])
    assert [span.darkest for span in made.spans] == [100.0, 2.0]


def test_frames_before_the_start_do_not_count() -> None:
    made = Timeline(5.0, 10.0)
    made.add(frames(0, 2))
    made.add(frames(6, 8))
    assert made.spans[0].longest == pytest.approx(1.0)  # not the four seconds since the frame before the start


def test_the_latency_is_the_time_until_the_output_has_changed() -> None:
    made = timeline(frames(0, 2.28, 200.0), frames(2.28, 4.44, 50.0), frames(4.44, 8, 200.0))
    made.add_edges([2.0, 4.0, 6.0])
    made.match(8.0)
    assert [each.seconds for each in made.changes] == pytest.approx([0.28, 0.44], abs=1e-6)
    assert (made.latency(0.5), made.unseen) == (pytest.approx(0.44), 0)
    assert made.latency(0.99, [(3.5, 4.5)]) == pytest.approx(0.28), "without the one that was sent during a fault"


def test_a_change_that_the_output_does_not_show_is_not_measured() -> None:
    made = timeline(frames(0, 8, 200.0))
    made.add_edges([2.0, 4.0, 6.0])
    made.match(8.0)
    assert (made.changes, made.unseen) == ([], 2)


def test_a_change_is_measured_once_the_next_one_is_long_over() -> None:
    made = timeline(frames(0, 8, 200.0))
    made.add_edges([2.0, 7.8])
    made.match(8.0)
    assert made.unseen == 0
