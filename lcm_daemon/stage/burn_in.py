"""BurnIn: spares displays that keep a trace of pictures: moves the output a little, and dims it at night."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lcm_daemon.automation.daily_schedule import CLOCK_IS_SET
from lcm_daemon.automation.opening_times import OpeningTimes, SteadyTime
from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.render.failsafe import blend
from lcm_daemon.shows.care import Night, Orbit

WALL_INTERVAL = 1.0  # seconds between two looks at the wall clock
SLOWEST_TURN = 3.0  # seconds that the brightness takes at least from dark to bright, also if the clock jumps

Offset = tuple[int, int]


def orbit_offset(step: int, pixels: int) -> Offset:
    """Where the output is after a number of moves: columns and rows, each from -pixels to pixels.

    It goes through all columns of a row, then one row on, and back through all columns.
    """
    width = 2 * pixels + 1
    row, place = divmod(step + pixels, width)  # it begins in the middle
    return (place - pixels if row % 2 == 0 else pixels - place), _swing(row, pixels)


def _swing(step: int, most: int) -> int:
    """0, 1, ... most, ... 0, ... -most, ... 0 again."""
    place = step % (4 * most)
    return place if place <= most else 2 * most - place if place <= 3 * most else place - 4 * most


def moved(pixels: Pixels, offset: Offset) -> Pixels:
    """A picture moved by columns and rows; its outermost pixels fill what becomes free. uint8 (H, W, 4)."""
    height, width = pixels.shape[:2]
    across, down = (max(-side + 1, min(by, side - 1)) for by, side in zip(offset, (width, height), strict=True))
    if not across and not down:
        return pixels
    found = np.empty_like(pixels)
    source, target = pixels.view(np.uint32)[..., 0], found.view(np.uint32)[..., 0]
    top, left, bottom, right = max(down, 0), max(across, 0), height + min(down, 0), width + min(across, 0)
    target[top:bottom, left:right] = source[max(-down, 0):height - max(down, 0), max(-across, 0):width - max(across, 0)]
    target[top:bottom, :left], target[top:bottom, right:] = target[top:bottom, left:left + 1], \
        target[top:bottom, right - 1:right]
    target[:top], target[bottom:] = target[top], target[bottom - 1]
    return found


class NightLevel:
    """The brightness that a night asks for. It follows from the time alone, and never jumps.

    Args:
        night: The night.
        times: When it is, in its zone.
        wall: Seconds since 1970.
    """

    def __init__(self, night: Night, times: OpeningTimes, wall: Callable[[], float]) -> None:
        self._night, self._times, self._wall, self._steady = night, times, wall, SteadyTime()
        self._wanted, self._level = 1.0, 1.0
        self._looked_at = self._moved_at = -1e9

    def at(self, now: float) -> float:
        """The brightness from 0 to 1. now: monotonic seconds."""
        if now - self._looked_at >= WALL_INTERVAL:
            self._looked_at, self._wanted = now, self._wanted_at(self._steady.at(self._wall()))
        step, self._moved_at = (now - self._moved_at) / SLOWEST_TURN, now
        self._level += min(max(self._wanted - self._level, -step), step)
        return self._level

    def _wanted_at(self, wall: float) -> float:
        period = self._times.period(wall) if wall >= CLOCK_IS_SET else None
        if period is None:
            return 1.0
        fade, level = self._night.fade, self._night.level
        inside = min(wall - period.start, period.end - wall)
        return level if fade <= 0 or inside >= fade else 1.0 - (1.0 - level) * inside / fade


class BurnIn:
    """The last step before a picture goes out: see `OutputPicture.last_steps`.

    Args:
        size: Of the output.
        orbit: How the output moves; None for not at all.
        night: Its brightness; None for that of the day always.

    Attributes:
        level: The present brightness.
        place: The present offset and brightness.
        given: The picture of the last tick before it was moved and dimmed, uint8 (H, W, 4); None before the first.
    """

    def __init__(self, size: Size, orbit: Orbit | None, night: NightLevel | None) -> None:
        self._orbit, self._night, self._black = orbit, night, solid(size) if night else None
        self._start: float | None = None
        self.level, self.place = 1.0, ((0, 0), 1.0)
        self.given: Pixels | None = None
        self._before: tuple[Pixels, object, Pixels] | None = None  # given, place, returned

    def apply(self, pixels: Pixels, now: float) -> Pixels:
        """What goes out, uint8 (H, W, 4). now: monotonic seconds."""
        self.given = pixels
        if self._start is None:
            self._start = now
        if self._night is not None:
            self.level = round(self._night.at(now) * 255) / 255
        orbit = self._orbit
        offset = orbit_offset(int((now - self._start) / orbit.every), orbit.pixels) if orbit else (0, 0)
        self.place = offset, self.level
        if self._before is not None and self._before[0] is pixels and self._before[1] == self.place:
            return self._before[2]
        shown = moved(pixels, offset)
        if self.level < 1.0 and self._black is not None:
            shown = blend(self._black, shown, self.level)
        self._before = pixels, self.place, shown
        return shown
