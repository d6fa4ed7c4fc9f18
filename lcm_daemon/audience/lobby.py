"""Lobby: what visitors and the performer may do. It decides; connections and pixels are others' work.

It holds the queue, the sessions and the values, sends the stage what happens to the seats, and messages to the open
connection of each session. It reads no socket, and its time comes from a clock that is passed in.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lcm_daemon.audience import page_messages
from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.messages import (
    AudienceReport,
    Kept,
    Performer,
    SeatLeft,
    SeatTaken,
    SeatValues,
    SessionRow,
    SharedTable,
)
from lcm_daemon.audience.queue import Called, Event, Gone, Reason, SteadyClock, VisitorQueue
from lcm_daemon.audience.rates import PaceLimit
from lcm_daemon.audience.sessions import VisitorSession, VisitorSessions
from lcm_daemon.audience.words import WordFilter
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.parameters import Refused, Table, Value
from lcm_daemon.core.rate_limit import RateLimit
from lcm_daemon.shows.audience import VISITOR
from lcm_daemon.web.address import is_open, network_of

log = logging.getLogger(__name__)

MOST_TEXT = 300  # characters of a visitor's text
JOINS_AT_ONCE, JOIN_PAUSE = 8, 5.0  # new sessions of one address: at once, and seconds until each further one
PROXY_JOINS, PROXY_PAUSE = 1000, 0.02  # the same of this machine: a proxy speaks for many
REPORTS_A_SECOND = 4  # lines to the performer; further ones are only counted
STEP_SECONDS = 0.2  # between two calls of `step`
PUSH_SECONDS = 1.0  # between two messages to all pages after a change
BEAT_SECONDS = 4.0  # between two messages to a page without a change; pages answer each, so they are heard as often
MOST_PUSHED = 60  # pages that are sent their place in one step: many at once would delay the answers to others
PROMPT = "prompt"


class Connection(Protocol):
    """An open connection of a session."""

    def put(self, kind: str, content: Any) -> None:
        """Send a message of this kind; a newer one of the kind replaces one that waits."""

    def end(self, code: int, reason: str) -> None:
        """Send what waits, and close."""


@dataclass(frozen=True)
class JoinRefused:
    """Why a visitor has no session.

    Attributes:
        why: "full", "closed", "blocked" or "often".
        seconds: When to try again; 0 for later.
    """

    why: str
    seconds: float = 0.0


ENDED, ELSEWHERE = 4410, 4409  # WebSocket close codes: the session has ended; it was opened in another tab


class Lobby:
    """All visitors of a show.

    Attributes:
        revision: Counts the changes of who waits and who has a seat.

    Args:
        send: Sends a message to the stage.
        on_gone: Called with the number of a session that has ended.
        now: Monotonic seconds.
    """

    def __init__(
        self, config: ServerConfig, send: Callable[[Any], None], metrics: Metrics, now: Callable[[], float],
        on_gone: Callable[[int], None] = lambda number: None,
    ) -> None:
        audience = config.audience
        self.is_open, self.table, self.revision = True, dict[str, Any](), 0
        self.config, self.metrics = config, metrics
        self._send, self._on_gone = send, on_gone
        self._now = SteadyClock(now)
        self.queue = VisitorQueue(audience.places, audience.queue, audience.seconds, self._now)
        self.sessions = VisitorSessions()
        self._words = WordFilter(audience.blocked_words)
        self._joins = PaceLimit(JOINS_AT_ONCE, JOIN_PAUSE, self._now)
        self._proxy_joins = PaceLimit(PROXY_JOINS, PROXY_PAUSE, self._now)
        self._values: Mapping[str, Value] = {}  # what a session starts with
        self._connections: dict[int, Connection] = {}
        self._reports = RateLimit(REPORTS_A_SECOND, self._now)
        self._throttle = LogThrottle(log, metrics)
        self._pushed_at, self._changed = 0.0, False
        self._to_push: deque[int] = deque()  # sessions whose pages are to be sent their place

    # --- visitors ---

    def may_try(self, address: str, token: str) -> JoinRefused | None:
        """Why this visitor may not join now; None if it may. Counts as a try."""
        if self.sessions.is_blocked(address, token):
            return self._refuse_join("blocked", "a blocked visitor tried to join")
        own = network_of(address)
        wait = self._joins.wait(own) if is_open(own) else self._proxy_joins.wait("")
        if wait or not self.sessions.has_room(address):
            return self._refuse_join("often", "an address joins too often, or has too many sessions", wait or 60.0)
        if not self.is_open:
            return self._refuse_join("closed")
        if room := self.queue.room_in():
            return self._refuse_join("full", seconds=room)
        return None

    def _refuse_join(self, why: str, text: str = "", seconds: float = 0.0) -> JoinRefused:
        if text:
            self._throttle.warn(f"refused/{why}", text)
        else:
            self.metrics.count(f"refused/{why}")
        return JoinRefused(why, seconds)

    def join(self, address: str, token: str) -> tuple[VisitorSession, str] | JoinRefused:
        """Give a visitor a session and the last place in the queue. One who has a session keeps it.

        Args:
            address: The visitor's address.
            token: That of its cookie; may be empty.

        Returns:
            The session and the token to set, empty for a session that the visitor has; or why there is none.
        """
        session = self.sessions.find(token)
        if session is not None:
            self.queue.hear(session.number)
            return session, ""
        refused = self.may_try(address, token)
        if refused is not None:
            return refused
        session, new = self.sessions.start(address)
        self.metrics.count("joins")
        self.queue.join(session.number)
        self._note_change()
        return session, new

    def connect(self, session: VisitorSession, connection: Connection) -> None:
        """A page of a session has connected. An earlier one of the same session is closed."""
        earlier = self._connections.pop(session.number, None)
        if earlier is not None:
            earlier.end(ELSEWHERE, "the session was opened in another tab")
        self._connections[session.number] = connection
        connection.put("hello", page_messages.hello(self.config, session.number))
        if self.queue.seat_of(session.number) >= 0:
            connection.put("table", page_messages.table(self.table, session.values))
        self.queue.hear(session.number)
        self._handle(self.queue.step())
        self._push_state(session.number, connection)

    def disconnect(self, session: VisitorSession, connection: Connection) -> None:
        """A connection has closed. Its session lasts until it has been silent for too long."""
        if self._connections.get(session.number) is connection:
            del self._connections[session.number]

    def leave(self, session: VisitorSession) -> None:
        """The visitor has had enough."""
        self._end(session.number, "left")

    def set_camera(self, session: VisitorSession, is_on: bool) -> str:
        """Start or stop to use the visitor's camera. Returns why not, or ""."""
        if self.config.audience.source != VISITOR:
            return "this show uses its own picture"
        if session.uses_camera != is_on:
            session.uses_camera = is_on
            self._take_seat(session)
        return ""

    def set_values(self, session: VisitorSession, values: Any) -> tuple[dict[str, Value], list[str]]:
        """Set parameters of a session. Returns what they are now, and why others were refused."""
        if not isinstance(values, dict):
            return {}, [self._malformed()]
        seat = self.queue.seat_of(session.number)
        if seat < 0:
            return {}, ["your turn has not begun"]
        accepted, errors = dict[str, Value](), list[str]()
        for name, value in values.items():
            try:
                accepted[name] = self._coerce(session, name, value)
            except Refused as error:
                errors.append(str(error))
        if accepted:
            session.values.update(accepted)
            self._send(SeatValues(seat, session.number, accepted))
        return accepted, errors[:4]

    def _coerce(self, session: VisitorSession, name: Any, value: Any) -> Value:
        parameter = self.table.get(name)
        if parameter is None:
            self._throttle.warn("refused/parameter", "a visitor asked for a parameter that is not offered")
            raise Refused("this parameter is not offered")
        if isinstance(value, str) and len(value) > MOST_TEXT:
            self._throttle.warn("refused/long", f"a visitor's text has more than {MOST_TEXT} characters")
            raise Refused(f"at most {MOST_TEXT} characters are allowed")
        coerced: Value = parameter.coerce(value)
        if parameter.kind == "text" and self._words.blocks(str(coerced)):
            self.metrics.count("refused/words")
            self._report(f"session {session.number}: {name} holds a blocked word")
            raise Refused("this text is not allowed here")
        return coerced

    def _malformed(self) -> str:
        self._throttle.warn("refused/malformed", "a visitor sent a message that is not one of the protocol")
        return "this message is not understood"

    # --- the performer and the stage ---

    def perform(self, request: Performer) -> None:
        """Do what the performer asks for."""
        if request.action in ("open", "close"):
            self.is_open = request.action == "open"
            return
        if request.session not in self.queue:
            self._send(AudienceReport(f"session {request.session} has ended"))
        elif request.action == "extend":
            if not self.queue.extend(request.session, request.seconds):
                self._send(AudienceReport(f"session {request.session} was not extended: it waits"))
        elif request.action == "block":
            self.sessions.block(request.session)
            self._end(request.session, "blocked")
        else:
            self._end(request.session, "skipped")
        self._note_change()

    def replace_table(self, shared: SharedTable) -> None:
        """The parameters that visitors may set, and the values that new sessions start with."""
        self.table, self._values = dict(shared.parameters), dict(shared.values)
        for visitor in self.queue.seated():
            session = self.sessions[visitor.session]
            session.values = {**self._start_values(), **_fitting(session.values, self.table)}
            self._tell(session.number, "table", page_messages.table(self.table, session.values))

    def _start_values(self) -> dict[str, Value]:
        return {name: self._values.get(name, parameter.default) for name, parameter in self.table.items()}

    def connection_in(self, seat: int, session: int) -> Connection | None:
        """The connection of a session, if it has this seat."""
        return self._connections.get(session) if self.queue.seat_of(session) == seat else None

    # --- time ---

    def step(self) -> None:
        """Let time pass: end turns, call the next, keep the pages up to date. Call it every STEP_SECONDS."""
        self._handle(self.queue.step())
        now = self._now()
        if not self._to_push and now - self._pushed_at >= (PUSH_SECONDS if self._changed else BEAT_SECONDS):
            self._pushed_at, self._changed = now, False
            self._to_push.extend(visitor.session for visitor in (*self.queue.seated(), *self.queue.waiting()))
        if not self._to_push:
            return
        waits = self.queue.waits()
        places = {session: place for place, session in enumerate(waits, 1)}
        for _ in range(max(MOST_PUSHED, round(len(self.queue) * STEP_SECONDS / BEAT_SECONDS))):
            if self._to_push and (number := self._to_push.popleft()) in self._connections:
                state = page_messages.state(self.queue, number, places, waits)
                self._connections[number].put("state", state)

    def _push_state(self, number: int, connection: Connection) -> None:
        waits = self.queue.waits()
        places = {session: place for place, session in enumerate(waits, 1)}
        connection.put("state", page_messages.state(self.queue, number, places, waits))

    def _note_change(self) -> None:
        self._changed, self.revision = True, self.revision + 1

    def _end(self, number: int, reason: Reason) -> None:
        self._handle(self.queue.end(number, reason))
        self._handle(self.queue.step())

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            self._note_change()
            if isinstance(event, Called):
                self._call(self.sessions[event.session])
            else:
                self._forget(event)

    def _call(self, session: VisitorSession) -> None:
        session.values = self._start_values()
        self.metrics.count("turns")
        self._take_seat(session)
        connection = self._connections.get(session.number)
        if connection is not None:
            connection.put("table", page_messages.table(self.table, session.values))
            self._push_state(session.number, connection)

    def _take_seat(self, session: VisitorSession) -> None:
        seat = self.queue.seat_of(session.number)
        if seat >= 0:
            self._send(SeatTaken(seat, session.number, session.uses_camera))

    def _forget(self, gone: Gone) -> None:
        """End a session everywhere."""
        if gone.seat >= 0:
            self._send(SeatLeft(gone.seat, gone.session))
        self.metrics.count(f"ended/{gone.reason}")
        self._on_gone(gone.session)
        self.sessions.end(gone.session)
        connection = self._connections.pop(gone.session, None)
        if connection is not None:
            connection.put("ended", gone.reason)
            connection.end(ENDED, "the session has ended")

    def _tell(self, number: int, kind: str, content: Any) -> None:
        connection = self._connections.get(number)
        if connection is not None:
            connection.put(kind, content)

    def _report(self, text: str) -> None:
        if self._reports.allows(""):
            self._send(AudienceReport(text))

    # --- what the stage gets ---

    def rows(self) -> tuple[SessionRow, ...]:
        """Every session, those with a seat first."""
        waits = self.queue.waits()
        seated = [SessionRow(v.session, "active", v.seat, self.queue.seconds_left(v.session),
                             prompt=str(self.sessions[v.session].values.get(PROMPT, "")))
                  for v in self.queue.seated()]
        return (*seated, *(SessionRow(session, "waiting", wait=wait) for session, wait in waits.items()))

    def kept(self) -> Kept:
        """What a later server needs: as text, which costs the stage nothing to carry."""
        kept = {"open": self.is_open, "queue": self.queue.kept(), "sessions": self.sessions.kept()}
        return Kept({"json": json.dumps(kept)})

    def restore(self, kept: Kept) -> None:
        """Take over what an earlier server kept, and give its visitors their seats again."""
        if not kept.state:
            return
        state = json.loads(kept.state["json"])
        self.is_open = state["open"]
        self.sessions.restore(state["sessions"])
        self.queue.restore(state["queue"])
        for visitor in self.queue.seated():
            session = self.sessions[visitor.session]
            self._take_seat(session)
            self._send(SeatValues(visitor.seat, session.number, session.values))


def _fitting(values: Mapping[str, Value], table: Table) -> dict[str, Value]:
    """Those values that a table still has, coerced to it."""
    found = {}
    for name in values.keys() & table.keys():
        try:
            found[name] = table[name].coerce(values[name])
        except Refused:
            continue
    return found
