"""Lobby: what visitors and the performer may do. It decides; connections and pixels are others' work.

It holds the queue, the sessions and the values, sends the stage what happens to the seats, and messages to the open
connection of each session. It reads no socket, and its time comes from a clock that is passed in.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lcm_daemon.audience import page_messages
from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.kept_state import KeptState
from lcm_daemon.audience.messages import (
    MOST_WAITING,
    AudienceReport,
    Kept,
    Performer,
    SeatLeft,
    SeatTaken,
    SeatValues,
    SessionRow,
    SharedTable,
)
from lcm_daemon.audience.places import PlaceNews
from lcm_daemon.audience.queue import Called, Event, Gone, Reason, SteadyClock, VisitorQueue
from lcm_daemon.audience.rates import PaceLimit
from lcm_daemon.audience.sessions import VisitorSession, VisitorSessions
from lcm_daemon.audience.words import WordFilter
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.parameters import Refused, Table, Value
from lcm_daemon.core.rate_limit import RateLimit
from lcm_daemon.pipelines.prompt_tags import tags, without_tags
from lcm_daemon.shows.audience import VISITOR
from lcm_daemon.web.address import is_open, network_of

log = logging.getLogger(__name__)

MOST_TEXT = 300  # characters of a visitor's text
MOST_VALUES = 64  # that one message may set
JOIN_PAUSE = 40.0  # seconds in which one address may start `per_address` sessions; the first ones at once
PROXY_JOINS, PROXY_PAUSE = 1000, 0.02  # the same of this machine: a proxy speaks for many
REPORTS_A_SECOND = 4  # lines to the performer; further ones are only counted
STEP_SECONDS = 0.2  # between two calls of `step`
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
        self.is_open, self.table = True, dict[str, Any]()
        self.config, self.metrics = config, metrics
        self._send, self._on_gone = send, on_gone
        self._now = SteadyClock(now)
        self.queue = VisitorQueue(audience.places, audience.queue, audience.seconds, self._now)
        self.sessions = VisitorSessions(audience.per_address)
        self._words = WordFilter(audience.blocked_words)
        self._joins = PaceLimit(audience.per_address, JOIN_PAUSE / audience.per_address, self._now)
        self._proxy_joins = PaceLimit(PROXY_JOINS, PROXY_PAUSE, self._now)
        self._values: Mapping[str, Value] = {}  # what a session starts with
        self._connections: dict[int, Connection] = {}
        self._reports = RateLimit(REPORTS_A_SECOND, self._now)
        self._throttle = LogThrottle(log, metrics)
        self._places, self._kept = PlaceNews(self.queue, self._now), KeptState(self.queue, self.sessions)

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
        if session is not None:  # its connection alone shows that the visitor is there
            return session, ""
        refused = self.may_try(address, token)
        if refused is not None:
            return refused
        session, new = self.sessions.start(address)
        self.metrics.count("joins")
        self.queue.join(session.number)
        self._note_change(session.number)
        return session, new

    def connect(self, session: VisitorSession, connection: Connection) -> None:
        """A page of a session has connected. An earlier one of the same session is closed."""
        if session.number not in self.queue:  # it ended while the connection was made
            connection.end(ENDED, "the session has ended")
            return
        earlier = self._connections.pop(session.number, None)
        if earlier is not None:
            earlier.end(ELSEWHERE, "the session was opened in another tab")
        self._connections[session.number] = connection
        connection.put("hello", page_messages.hello(self.config, session.number))
        if self.queue.seat_of(session.number) >= 0:
            connection.put("table", page_messages.table(self.table, session.values))
        self.queue.hear(session.number)
        self._kept.note(session.number)
        self._handle(self.queue.step())
        connection.put("state", self._places.state(session.number))

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
            self._kept.note(session.number)
            self._take_seat(session)
        return ""

    def set_values(self, session: VisitorSession, values: Any) -> tuple[dict[str, Value], list[str]]:
        """Set parameters of a session. Returns what they are now, and why others were refused."""
        if not isinstance(values, dict) or len(values) > MOST_VALUES:
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
            self._kept.note(session.number)
            self._send(SeatValues(seat, session.number, accepted))
        return accepted, errors[:4]

    def _coerce(self, session: VisitorSession, name: Any, value: Any) -> Value:
        parameter = self.table.get(name)
        if parameter is None:
            self._throttle.warn("refused/parameter", "a visitor asked for a parameter that is not offered")
            raise Refused("this parameter is not offered")
        coerced: Value = parameter.drawn(parameter.coerce(value))
        while isinstance(coerced, str) and tags(coerced):
            coerced = without_tags(coerced)  # the weights of LoRAs are the performer's
        if isinstance(coerced, str) and len(coerced) > MOST_TEXT:
            self._throttle.warn("refused/long", f"a visitor's text has more than {MOST_TEXT} characters")
            raise Refused(f"at most {MOST_TEXT} characters are allowed")
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
            for number in self.sessions.block(request.session):
                self._handle(self.queue.end(number, "blocked"))
            self._handle(self.queue.step())
        else:
            self._end(request.session, "skipped")
        self._note_change(request.session)

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
        """Let time pass: end turns, and call the next. Call it every STEP_SECONDS."""
        self._handle(self.queue.step())

    def push(self) -> None:
        """Tell some of the pages where they are. Call it every PUSH_SECONDS of audience/places."""
        for number, state in self._places.due(self._connections):
            self._connections[number].put("state", state)

    def _note_change(self, session: int) -> None:
        self._places.note()
        self._kept.note(session)

    def _end(self, number: int, reason: Reason) -> None:
        self._handle(self.queue.end(number, reason))
        self._handle(self.queue.step())

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            self._note_change(event.session)
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
            connection.put("state", self._places.state(session.number))

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
        """Sessions, as in SessionList."""
        waits = itertools.islice(self.queue.waits().items(), MOST_WAITING)
        seated = [SessionRow(v.session, "active", v.seat, self.queue.seconds_left(v.session),
                             prompt=str(self.sessions[v.session].values.get(PROMPT, "")))
                  for v in self.queue.seated()]
        return (*seated, *(SessionRow(session, "waiting", wait=wait) for session, wait in waits))

    def note_turns(self) -> None:
        """Time has passed: `kept` shall say what is left of the turns. Call it once a second."""
        self._kept.note_turns()

    def kept(self) -> Kept:
        """What a later server needs: what has changed since the last call."""
        return self._kept.changes(self.is_open)

    def restore(self, kept: Kept) -> None:
        """Take over what an earlier server kept, and give its visitors their seats again."""
        if not kept.state:
            return
        self.is_open = self._kept.restore(kept)
        for session in self.sessions:  # the show may block other words now
            session.values = {name: value for name, value in session.values.items()
                              if not (isinstance(value, str) and self._words.blocks(value))}
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
