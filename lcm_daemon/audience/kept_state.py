"""KeptState: what a later server needs of this one, sent to the stage as changes.

The whole state of some hundred sessions is too long to be written every second: that would delay the answers to all
visitors, and the stage, which must read it within a tick.
"""

from __future__ import annotations

import json
from typing import Any

from lcm_daemon.audience.messages import Kept
from lcm_daemon.audience.queue import VisitorQueue
from lcm_daemon.audience.sessions import VisitorSessions

DOOR, BLOCKED = "door", "blocked"  # keys of what is not of one session; that of a session is its number


class KeptState:
    """Collects changes until they are fetched. Values are JSON texts, which cost the stage nothing to carry."""

    def __init__(self, queue: VisitorQueue, sessions: VisitorSessions) -> None:
        self._queue, self._sessions = queue, sessions
        self._changed: set[int] = set()  # numbers of sessions, also of those that have ended
        self._door, self._blocks = "", 0

    def note(self, session: int) -> None:
        """A session has joined, changed or ended."""
        self._changed.add(session)

    def note_turns(self) -> None:
        """Time has passed: what is left of the turns is less."""
        self._changed.update(visitor.session for visitor in self._queue.seated())

    def changes(self, is_open: bool) -> Kept:
        """What has changed since the last call; everything, at the first."""
        changed, self._changed = self._changed, set()
        state: dict[str, Any] = {str(number): self._row(number) for number in changed}
        door = json.dumps({"open": is_open, "last": self._sessions.last})
        if door != self._door:
            state[DOOR] = self._door = door
        if self._sessions.blocks != self._blocks:
            self._blocks = self._sessions.blocks
            state[BLOCKED] = json.dumps(self._sessions.kept_blocked())
        return Kept(state)

    def _row(self, number: int) -> str | None:
        if number not in self._queue:
            return None
        return json.dumps([self._queue.kept(number), self._sessions.kept(number)])

    def restore(self, kept: Kept) -> bool:
        """Take over what an earlier server kept. Returns whether new visitors are accepted."""
        state = dict(kept.state)
        door = json.loads(state.pop(DOOR))
        blocked = json.loads(state.pop(BLOCKED, "[]"))
        rows = [json.loads(state[number]) for number in sorted(state, key=int)]
        self._queue.restore([place for place, _ in rows])
        self._sessions.restore(door["last"], [session for _, session in rows], blocked)
        return bool(door["open"])
