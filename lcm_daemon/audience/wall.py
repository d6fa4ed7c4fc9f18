"""Wall: what the output shows: the stage's own picture, that of one visitor, of each in turn, or a mosaic of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lcm_daemon.audience.mosaic import BackgroundMosaic, Composer
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.render.failsafe import blend
from lcm_daemon.shows.audience import CYCLE, MOSAIC, ONE, STAGE

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
        composer: Composes several pictures; None for one on a thread of its own.
    """

    def __init__(
        self, kind: str, size: Size, cycle_seconds: float, fade_seconds: float, composer: Composer | None = None,
    ) -> None:
        self.kind = kind
        self._cycle_seconds, self._fade_seconds = cycle_seconds, fade_seconds
        self._chosen = 0  # the session that ONE shows; 0 for any
        self._since = 0.0  # when CYCLE began to show its session
        self.shown: tuple[int, ...] = ()  # the sessions that show; none: the stage's own picture
        self._last: Pixels | None = None  # what was shown last
        self._from: Pixels | None = None  # what a crossfade began with
        self._fade_began = 0.0
        self._composer = composer or BackgroundMosaic(size)

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
        wanted = self._choose(by_number, now)
        target, age = own, own_age
        if wanted:
            pictures = [by_number[number] for number in wanted]
            target = self._compose(wanted, [one.picture.pixels for one in pictures])
            age = now - max(one.current_at for one in pictures)
            if target is None and wanted != self.shown:  # not composed yet: what showed goes on to show
                return self._last, age
        else:
            self._composer.clear()
        self._begin_fade(wanted, now)
        self._last = self._mix(target, now)
        return self._last, age

    def stop(self) -> None:
        """End the composer's thread."""
        self._composer.stop()

    def _compose(self, sessions: tuple[int, ...], pictures: Sequence[Pixels]) -> Pixels | None:
        if len(pictures) == 1:
            self._composer.clear()
            return pictures[0]
        return self._composer.compose(sessions, pictures)

    def _begin_fade(self, wanted: tuple[int, ...], now: float) -> None:
        if wanted != self.shown and self._last is not None and self._fade_seconds > 0.0:
            self._from, self._fade_began = self._last, now
        self.shown = wanted

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
            self._from = None
            return target
        share = (now - self._fade_began) / self._fade_seconds
        if share >= 1.0:
            self._from = None
            return target
        return blend(self._from, target, share)
