"""Turns: whose frame is rendered next. The stage's own picture has its share, sessions follow one another."""

from __future__ import annotations

from collections.abc import Iterable

OWN = ""  # the stage's own picture among the customers of the engines; every other name is a session


class Turns:
    """Fair turns. A customer with nothing new to render loses no later turn by it, and saves none up.

    While the stage's own picture and sessions both wait, the own one gets `share` of the frames, evenly spread. The
    sessions get the rest in turn: of n that wait, each is served once in n frames of sessions.

    Args:
        share: Share of the frames, 0 to 1, that the stage's own picture gets while it has something new.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._due = 0.0  # frames that the own picture is owed; below 1
        self._served: dict[str, int] = {}  # number of the last frame of each session
        self._frames = 0

    def order(self, waiting: Iterable[str]) -> list[str]:
        """The customers that wait, in the order in which they are to be served."""
        every = list(waiting)
        sessions = sorted((name for name in every if name != OWN), key=lambda name: self._served.get(name, 0))
        if OWN not in every:
            return sessions
        is_owed = self._due + self.share >= 1.0
        return [OWN, *sessions] if is_owed else [*sessions, OWN]

    def served(self, customer: str, waiting: Iterable[str]) -> None:
        """Record that a frame of `customer` is rendered now.

        Args:
            waiting: The customers that had something new to render, this one among them.
        """
        every = set(waiting)
        self._frames += 1
        if OWN in every and len(every) > 1:  # a frame without competition counts for no share
            self._due = min(max(self._due + self.share - (customer == OWN), 0.0), 1.0)
        if customer != OWN:
            self._served[customer] = self._frames

    def end(self, session: str) -> None:
        """Forget a session."""
        self._served.pop(session, None)
