"""Wall: what the output shows: the stage's own picture, that of one visitor, of each in turn, or a mosaic of all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lcm_daemon.core.frame import Frame, Pixels, Size, solid
from lcm_daemon.render.failsafe import blend
from lcm_daemon.shows.audience import CYCLE, MOSAIC, ONE, STAGE
from lcm_daemon.transports.resize import fit

WALLS = (STAGE, ONE, CYCLE, MOSAIC)


@dataclass(frozen=True)
class SessionPicture:
    """A session's newest picture.

    Args:
        session: Number of the session.
        picture: Of the output's size.
        current_at: When it arrived, or was last known to be what the newest input gives, in monotonic seconds.
    """

    session: int
    picture: Frame
    current_at: float


class Wall:
    """Chooses and composes what is shown, and crossfades when that changes.

    Args:
        kind: One of WALLS.
        size: (width, height) of the output in pixels.
        cycle_seconds: How long CYCLE shows each session.
        fade_seconds: Length of a crossfade.
    """

    def __init__(self, kind: str, size: Size, cycle_seconds: float, fade_seconds: float) -> None:
        self.kind, self._size = kind, size
        self._cycle_seconds, self._fade_seconds = cycle_seconds, fade_seconds
        self._chosen = 0  # the session that ONE shows; 0 for any
        self._since = 0.0  # when CYCLE began to show its session
        self.shown: tuple[int, ...] = ()  # the sessions that show; none: the stage's own picture
        self._last: Pixels | None = None  # what was shown last
        self._from: Pixels | None = None  # what a crossfade began with
        self._fade_began = 0.0
        self._mosaic = Mosaic(size)

    def set_kind(self, kind: str) -> None:
        """Show something else."""
        self.kind, self._chosen = kind, 0

    def choose_session(self, session: int) -> None:
        """Show this session, as long as it plays."""
        self.kind, self._chosen = ONE, session

    def compose(
        self, own: Pixels | None, own_age: float | None, sessions: Sequence[SessionPicture], now: float,
    ) -> tuple[Pixels | None, float | None]:
        """What is to be shown, and its age in seconds; None for both before the first picture.

        Args:
            own: The stage's own picture.
            own_age: Seconds for which it is out of date.
            sessions: Pictures of the sessions that play, in the order of their seats.
            now: Monotonic seconds.
        """
        by_number = {one.session: one for one in sessions}
        shown = self._choose(by_number, now)
        if shown != self.shown:
            if self._last is not None and self._fade_seconds > 0.0:
                self._from, self._fade_began = self._last, now
            self.shown = shown
        if not shown:
            target, age = own, own_age
        else:
            pictures = [by_number[number] for number in shown]
            target = self._mosaic.compose([one.picture.pixels for one in pictures])
            age = now - max(one.current_at for one in pictures)
        self._last = self._mix(target, now)
        return self._last, age

    def _choose(self, sessions: Mapping[int, SessionPicture], now: float) -> tuple[int, ...]:
        if not sessions or self.kind == STAGE:
            return ()
        if self.kind == MOSAIC:
            return tuple(sessions)
        if self.kind == CYCLE:
            return (self._next_of_cycle(list(sessions), now),)
        return (self._chosen if self._chosen in sessions else self._stay(list(sessions)),)

    def _stay(self, sessions: Sequence[int]) -> int:
        """The session that shows, as long as it plays; else the one that has played longest."""
        here = self.shown[0] if len(self.shown) == 1 else 0
        return here if here in sessions else min(sessions)

    def _next_of_cycle(self, sessions: Sequence[int], now: float) -> int:
        here = self.shown[0] if len(self.shown) == 1 else 0
        if here in sessions and now - self._since < self._cycle_seconds:
            return here
        self._since = now
        return min((number for number in sessions if number > here), default=min(sessions))

    def _mix(self, target: Pixels | None, now: float) -> Pixels | None:
        if self._from is None or target is None:
            return target
        share = (now - self._fade_began) / self._fade_seconds
        if share >= 1.0:
            self._from = None
            return target
        return blend(self._from, target, share)


class Mosaic:
    """Pictures side by side in a grid; a single one fills the frame.

    Args:
        size: (width, height) of the frame in pixels.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._made_of: list[Pixels] = []
        self._made: Pixels | None = None

    def compose(self, pictures: Sequence[Pixels]) -> Pixels:
        """The grid of these pictures, uint8 (H, W, 4), each of the frame's size, cropped to its tile."""
        if len(pictures) == 1:
            return pictures[0]
        columns = math.ceil(math.sqrt(len(pictures)))
        rows = math.ceil(len(pictures) / columns)
        is_same_grid = self._made is not None and len(self._made_of) == len(pictures)
        if is_same_grid and all(one is other for one, other in zip(pictures, self._made_of, strict=True)):
            assert self._made is not None
            return self._made
        frame = self._made.copy() if is_same_grid and self._made is not None else solid(self._size)
        for place, pixels in enumerate(pictures):
            if not is_same_grid or pixels is not self._made_of[place]:
                row, column = divmod(place, columns)
                self._draw(frame, pixels, (column, columns), (row, rows))
        self._made, self._made_of = frame, list(pictures)
        return frame

    def _draw(self, frame: Pixels, pixels: Pixels, across: tuple[int, int], down: tuple[int, int]) -> None:
        """Draw one picture; across, down: place and number of the tiles in this direction."""
        (left, right), (top, bottom) = _edges(*across, self._size[0]), _edges(*down, self._size[1])
        frame[top:bottom, left:right] = fit(pixels, (right - left, bottom - top), "cover")


def _edges(place: int, count: int, length: int) -> tuple[int, int]:
    return place * length // count, (place + 1) * length // count
