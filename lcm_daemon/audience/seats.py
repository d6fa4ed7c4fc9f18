"""Seats: the stage's view of the visitors who play. A seat is free, or holds one session."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameters import Refused, Table, Value
from lcm_daemon.render.feeder import SessionInput

log = logging.getLogger(__name__)


class Seat:
    """A session that plays.

    Args:
        session: Its number.
        parameters: The values that it sets.
        uses_camera: Whether it sends frames; otherwise its input is the show's source.

    Attributes:
        camera: The newest frame of its camera; None before the first.
        picture: Its newest picture; None before the first.
        pictures: Number of its pictures so far.
        current_at: When its picture arrived, or was last known to be what its newest input gives (monotonic seconds).
    """

    def __init__(self, session: int, parameters: Parameters, uses_camera: bool) -> None:
        self.session, self.parameters, self.uses_camera = session, parameters, uses_camera
        self.camera: Frame | None = None
        self.picture: Frame | None = None
        self.pictures = 0
        self.current_at = 0.0

    @property
    def name(self) -> str:
        """Name of the session among the customers of the engines."""
        return str(self.session)


class VisitorSeats:
    """Every seat, by its place from 0.

    Args:
        places: Number of seats.
        shared: Names of the parameters that visitors set.
        stage: The stage's own values, which a session starts with.
    """

    def __init__(self, places: int, shared: Sequence[str], stage: Parameters) -> None:
        self._shared, self._stage = shared, stage
        self._seats: list[Seat | None] = [None] * places

    def __iter__(self) -> Iterator[tuple[int, Seat]]:
        """The seats that are taken, with their places."""
        return ((place, seat) for place, seat in enumerate(self._seats) if seat is not None)

    def holds(self, place: int, session: int) -> Seat | None:
        """The seat, if this session holds it."""
        seat = self._seats[place] if 0 <= place < len(self._seats) else None
        return seat if seat is not None and seat.session == session else None

    def find(self, session: int) -> Seat | None:
        """The seat of a session; None if it has none."""
        return next((seat for _, seat in self if seat.session == session), None)

    def take(self, place: int, session: int, uses_camera: bool) -> Seat | None:
        """Give a seat to a session, or note that its camera has started or stopped.

        Returns:
            The seat of another session that had it, and has lost it.
        """
        if not 0 <= place < len(self._seats):
            log.warning("audience: session %d: seat %d does not exist", session, place)
            return None
        if (seat := self.holds(place, session)) is not None:
            seat.uses_camera = uses_camera
            if not uses_camera:
                seat.camera = None
            return None
        before, values = self._seats[place], self._stage.targets()
        parameters = Parameters(self._table(), {name: values[name] for name in self._table()}, self._stage.glides)
        self._seats[place] = Seat(session, parameters, uses_camera)
        return before

    def leave(self, place: int) -> Seat | None:
        """Free a seat; return what was there."""
        seat, self._seats[place] = self._seats[place], None
        return seat

    def set(self, seat: Seat, values: Mapping[str, Any], now: float) -> None:
        """Set values of a session at `now` (monotonic seconds). Those that visitors may not set are ignored."""
        table, stage = seat.parameters.table, self._stage.targets()
        for name, value in values.items():
            if name not in self._shared or name not in table:
                continue
            glide = table[name].glided_by
            if glide and glide not in self._shared:  # a visitor's prompt arrives as slowly as the performer's
                seat.parameters.set(glide, stage[glide], now)
            try:
                seat.parameters.move(name, value, now)
            except Refused as error:
                log.warning("audience: session %d: %s", seat.session, error)

    def replace_table(self) -> None:
        """Another recipe plays: keep what it has too."""
        for _, seat in self:
            values = self._stage.targets()
            seat.parameters.start = {name: values[name] for name in self._table()}
            seat.parameters.replace_table(self._table())

    def shared_table(self) -> Table:
        """The parameters that visitors set, as the page gets them, while this recipe plays."""
        shown = self._stage.shown()
        return {name: shown[name] for name in self._shared if name in shown}

    def shared_values(self) -> dict[str, Value]:
        """The stage's own values of these parameters."""
        values = self._stage.targets()
        return {name: values[name] for name in self.shared_table()}

    def inputs(
        self, source: Frame | None, values: Mapping[str, Value | Blend], now: float,
    ) -> list[SessionInput]:
        """What each session's next picture is rendered from.

        Args:
            source: Newest frame of the show's source.
            values: The show's values; the session's own ones take their places.
            now: Monotonic seconds.
        """
        return [SessionInput(seat.name, seat.camera if seat.uses_camera else source, {**values, **self._own(seat, now)})
                for _, seat in self]

    def _own(self, seat: Seat, now: float) -> dict[str, Value | Blend]:
        return {name: seat.parameters.at(name, now) for name in self._shared if name in seat.parameters.table}

    def _table(self) -> Table:
        """The shared parameters, and those that say how long they glide."""
        table = self._stage.table
        shared = [table[name] for name in self._shared if name in table]
        needed = [one.name for one in shared] + [one.glided_by for one in shared if one.glided_by]
        return {name: table[name] for name in dict.fromkeys(needed)}
