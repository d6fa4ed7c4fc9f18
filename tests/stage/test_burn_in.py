"""The output moves a little and is dimmed at night."""

from __future__ import annotations

import itertools
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from lcm_daemon.automation.opening_times import Opening, OpeningTimes
from lcm_daemon.core.frame import Pixels, check_pixels, solid
from lcm_daemon.shows.care import Night, Orbit
from lcm_daemon.stage.burn_in import BurnIn, NightLevel, moved, orbit_offset

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Night(Opening(start=22 * 60, end=30 * 60), 0.2, 600.0)


def noise(width: int = 12, height: int = 10) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (height, width, 4), np.uint8)


@pytest.mark.parametrize("pixels", [1, 3])
def test_the_orbit_goes_everywhere_by_one_pixel_at_a_time(pixels: int) -> None:
    path = [orbit_offset(step, pixels) for step in range(60 * pixels * pixels)]
    assert path[0] == (0, 0)
    sides = set(range(-pixels, pixels + 1))
    assert set(path) == {(x, y) for x in sides for y in sides}
    for (x, y), (u, v) in itertools.pairwise(path):
        assert abs(x - u) + abs(y - v) == 1


@pytest.mark.parametrize("offset", [(3, 0), (-3, 0), (0, 2), (0, -2), (3, -2), (-1, 2), (50, -50)])
def test_a_moved_picture_repeats_its_edges(offset: tuple[int, int]) -> None:
    picture = noise()
    height, width = picture.shape[:2]
    across, down = (max(-side + 1, min(by, side - 1)) for by, side in zip(offset, (width, height), strict=True))
    rows, columns = np.clip(np.arange(height) - down, 0, height - 1), np.clip(np.arange(width) - across, 0, width - 1)
    found = check_pixels(moved(picture, offset))
    np.testing.assert_array_equal(found, picture[rows][:, columns])


def at(*moment: int) -> float:
    return datetime(*moment, tzinfo=BERLIN).timestamp()  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(("moment", "level"), [
    ((2026, 6, 1, 12, 0), 1.0), ((2026, 6, 1, 22, 0), 1.0), ((2026, 6, 1, 22, 5), 0.6), ((2026, 6, 1, 22, 10), 0.2),
    ((2026, 6, 2, 3, 0), 0.2), ((2026, 6, 2, 5, 55), 0.6), ((2026, 6, 2, 6, 0), 1.0), ((1970, 1, 5, 23, 0), 1.0),
    ((2026, 10, 25, 2, 30), 0.2), ((2026, 3, 29, 3, 30), 0.2),  # summer time ends, and begins
])
def test_the_brightness_follows_from_the_time(moment: tuple[int, ...], level: float) -> None:
    night = NightLevel(NIGHT, OpeningTimes((NIGHT.times,), zone=BERLIN), lambda: at(*moment))
    assert night.at(0.0) == pytest.approx(level)


def test_a_clock_that_jumps_dims_smoothly() -> None:
    wall = [at(2026, 6, 1, 12, 0)]
    night = NightLevel(NIGHT, OpeningTimes((NIGHT.times,), zone=BERLIN), lambda: wall[0])
    night.at(0.0)
    wall[0] = at(2026, 6, 1, 23, 0)
    levels = [night.at(1.0 + tick / 30) for tick in range(90)]
    assert levels[-1] == pytest.approx(0.2)
    assert max(one - other for one, other in itertools.pairwise(levels)) < 0.02


def test_the_same_picture_is_moved_once() -> None:
    picture = noise()
    burn_in = BurnIn((12, 10), Orbit(2, 60.0), None)
    assert burn_in.apply(picture, 100.0) is picture
    first = burn_in.apply(picture, 165.0)
    assert burn_in.apply(picture, 170.0) is first
    np.testing.assert_array_equal(first, moved(picture, (1, 0)))
    assert burn_in.place == ((1, 0), 1.0)
    assert burn_in.apply(noise(), 170.0) is not first


def test_the_night_dims_what_goes_out() -> None:
    burn_in = BurnIn((12, 10), None, NightLevel(NIGHT, OpeningTimes((NIGHT.times,), zone=BERLIN),
                                                lambda: at(2026, 6, 2, 3, 0)))
    found = burn_in.apply(solid((12, 10), (100, 200, 50, 255)), 0.0)
    np.testing.assert_allclose(found[0, 0], (20, 40, 10, 255), atol=1)
