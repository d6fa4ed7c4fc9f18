"""Audience: everything that the stage knows of visitors: their seats, the wall, the server that they reach."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lcm_daemon.audience.commands import AudienceCommands
from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.join_address import JoinAddress
from lcm_daemon.audience.messages import (
    AudienceReport,
    Kept,
    SeatLeft,
    SeatTaken,
    SeatValues,
    SessionList,
    SessionRow,
    SharedTable,
)
from lcm_daemon.audience.seats import Seat, VisitorSeats
from lcm_daemon.audience.supervisor import AudienceSupervisor, CameraFrame
from lcm_daemon.audience.wall import SessionPicture, Wall
from lcm_daemon.core.control_state import Row, Rows
from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.processes.ends import End
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import WITH_SAFETY_CHECKER
from lcm_daemon.render.feeder import SessionInput
from lcm_daemon.render.transition import Phase, RecipeTransition
from lcm_daemon.render.turns import Turns
from lcm_daemon.shows.audience import AudienceConfig
from lcm_daemon.shows.show import Show

log = logging.getLogger(__name__)

TABLE_INTERVAL = 1.0  # seconds between two reports of the stage's values to the server
MOST_ROWS = 64  # sessions that the page lists
ORIGIN = "audience"  # of reports to the performer


class NoAudience:
    """The audience of a show without visitors: each call does nothing.

    Attributes:
        turns: Whose frame is rendered next.
        refusals: Commands that could not be carried out, and what the server reports.
        kept: What the server of the next show should know; None for nothing.
    """

    def __init__(self, metrics: Metrics, share: float = 1.0) -> None:
        self.turns, self.refusals = Turns(share), Refusals(metrics)
        self.kept: Kept | None = None

    def begin(self, now: float) -> None:
        """Start the server's process. Raises LcmDaemonError if the system cannot."""

    def wait_until_open(self, now: float, is_ended: Callable[[], bool]) -> None:
        """Wait until the server listens. Raises LcmDaemonError if it cannot. is_ended: Ends the wait."""

    def stop(self, seconds: float) -> None:
        """End the server's process, waiting up to `seconds`."""

    def waitables(self) -> list[Any]:
        """What the stage waits on between two ticks."""
        return []

    def step(self, now: float) -> None:
        """Handle what has arrived from the server and from the engines."""

    def inputs(self, source: Frame | None, values: Mapping[str, Value | Blend], now: float) -> Sequence[SessionInput]:
        """What each session's next picture is rendered from; as of `VisitorSeats.inputs`."""
        return ()

    def compose(self, own: Pixels | None, age: float | None, now: float) -> tuple[Pixels | None, float | None]:
        """What the output shows, and its age in seconds; own, age: the stage's own picture."""
        return own, age

    @property
    def shows_visitors(self) -> bool:
        """Whether the output shows pictures of visitors in place of the stage's own."""
        return False

    @property
    def is_open(self) -> bool:
        """Whether new visitors may join."""
        return False

    def overlay(self, pixels: Pixels) -> Pixels:
        """The output with the QR code, if the show wants it."""
        return pixels

    def recipe_started(self, now: float) -> None:
        """Another recipe plays, with its parameters."""

    def execute(self, request: CommandRequest) -> None:
        """Carry out a command of the performer."""
        self.refusals.add("audience/refused", request.origin, f"{request.name}: this show has no audience")

    def describe(self) -> str:
        """The line of the opening screen; "" for none."""
        return ""

    def status(self) -> dict[str, Value]:
        """Entries of the status."""
        return {}

    def lists(self) -> dict[str, Rows]:
        """Lists for pages."""
        return {}

    def report_ends(self, on_end: Callable[[End], object]) -> None:
        """Call this function with each server that fails."""

    def texts(self) -> list[str]:
        """What visitors have written, as far as it plays."""
        return []


class Audience(NoAudience):
    """Visitors with sessions of their own. All calls on the stage's thread; none of them waits, but `wait_until_open`.

    Args:
        config: The show's section `audience`.
        show: The show.
        parameters: The stage's live values.
        transition: Its players render the pictures of sessions.
        metrics: Counters to report to.
        server: Carries messages and pictures; None for one that starts the real server.
    """

    def __init__(
        self, config: AudienceConfig, show: Show, parameters: Parameters, transition: RecipeTransition,
        metrics: Metrics, server: AudienceSupervisor | None = None,
    ) -> None:
        super().__init__(metrics, config.share)
        self._parameters, self._transition, self._metrics = parameters, transition, metrics
        self._server = server or AudienceSupervisor(ServerConfig(show.name, config, show.network), show.size, metrics)
        self.seats = VisitorSeats(config.places, config.parameters, parameters)
        self.wall = Wall(config.wall, show.size, config.cycle_seconds, show.crossfade)
        self._address = JoinAddress(config, show.size)
        self._commands = AudienceCommands(self._server, self.wall, self.seats, self.refusals)
        self._sessions = SessionList(())
        self._latency = "audience/latency" if config.share > 0.0 else "latency"  # the show has no picture of its own
        self._told, self._told_at = -1, 0.0  # revision of the values that the server was told last, and when

    def report_ends(self, on_end: Callable[[End], object]) -> None:
        self._server.on_end = on_end

    def texts(self) -> list[str]:
        return [str(value) for _, seat in self.seats for name, value in seat.parameters.targets().items()
                if seat.parameters.table[name].kind == "text"]

    # --- life ---

    def begin(self, now: float) -> None:
        self._server.kept = self.kept
        self._tell_table(now)
        self._server.begin(now)

    def wait_until_open(self, now: float, is_ended: Callable[[], bool]) -> None:
        self._server.wait_until_open(now, is_ended)
        self._address.follow(self._server.address)

    def stop(self, seconds: float) -> None:
        self._server.stop(seconds)
        self.wall.stop()

    def waitables(self) -> list[Any]:
        return self._server.waitables()

    # --- between two ticks ---

    def step(self, now: float) -> None:
        for message in self._server.step(now):
            self._handle(message, now)
        for player in self._transition.players:
            for session, picture in player.pop_session_results().items():
                self._take(session, picture, is_judged(player.variant.recipe), now)
        if self._parameters.revision != self._told and now - self._told_at >= TABLE_INTERVAL:
            self._tell_table(now)
        self._address.follow(self._server.address)
        self.kept = self._server.kept

    def inputs(self, source: Frame | None, values: Mapping[str, Value | Blend], now: float) -> Sequence[SessionInput]:
        return self.seats.inputs(source, values, now)

    def recipe_started(self, now: float) -> None:
        self.seats.replace_table()
        self._tell_table(now)

    def execute(self, request: CommandRequest) -> None:
        self._commands.execute(request, self._sessions)

    def _tell_table(self, now: float) -> None:
        self._server.share(SharedTable(self.seats.shared_table(), self.seats.shared_values()))
        self._told, self._told_at = self._parameters.revision, now

    def _handle(self, message: Any, now: float) -> None:
        match message:
            case CameraFrame() if (seat := self.seats.holds(message.seat, message.session)) and seat.uses_camera:
                seat.camera = message.frame
            case SeatValues() if seat := self.seats.holds(message.seat, message.session):
                self.seats.set(seat, message.values, now)
            case SeatTaken():
                self._end(message.seat, self.seats.take(message.seat, message.session, message.uses_camera))
            case SeatLeft() if self.seats.holds(message.seat, message.session):
                self._end(message.seat, self.seats.leave(message.seat))
            case SessionList():
                self._follow_sessions(message)
            case AudienceReport():
                self.refusals.add("audience/reports", ORIGIN, message.text)

    def _follow_sessions(self, sessions: SessionList) -> None:
        """Free seats that a new server does not know any more."""
        self._sessions = sessions
        seated = {row.number for row in sessions.rows if row.seat >= 0}
        for place, seat in list(self.seats):
            if seat.session not in seated:
                self._end(place, self.seats.leave(place))

    def _end(self, place: int, seat: Seat | None) -> None:
        """Nothing of a session that has left its seat stays: here, on the way to the server, in the engines."""
        if seat is None:
            return
        self._server.forget(place)
        self.turns.end(seat.name)
        for player in self._transition.players:
            player.end_session(seat.name)

    def _take(self, session: str, picture: Frame, verdict: bool, now: float) -> None:
        """Keep a session's new picture, and send it to its visitor. Without a verdict it is seen nowhere."""
        for place, seat in self.seats:
            if seat.name == session:
                self._metrics.time(self._latency, now - picture.time)
                seat.pictures += 1
                picture = Frame(picture.pixels, seat.pictures, picture.time)
                if verdict:
                    seat.picture = picture
                self._server.show(place, seat.session, picture, verdict)

    # --- the output ---

    def compose(self, own: Pixels | None, age: float | None, now: float) -> tuple[Pixels | None, float | None]:
        leading, is_held = self._transition.leading, self._transition.phase is Phase.SWAPPING
        pictures = []
        for _, seat in self.seats:
            seat.current_at = now if is_held else max(seat.current_at, leading.current_at(seat.name))
            if seat.picture is not None:
                pictures.append(SessionPicture(seat.session, seat.picture, seat.current_at))
        return self.wall.compose(own, age, pictures, now)

    @property
    def shows_visitors(self) -> bool:
        return bool(self.wall.shown)

    @property
    def is_open(self) -> bool:
        return self._sessions.is_open

    def overlay(self, pixels: Pixels) -> Pixels:
        return self._address.overlay(pixels)

    def describe(self) -> str:
        return f"  {'visitors':8} {self._address.text}"

    def status(self) -> dict[str, Value]:
        """Entries of the status.

        audience: visitors who play and wait, in words.
        audience_open: whether new visitors may join.
        audience_address: the address that they open.
        audience_pid: process id of their server.
        wall: what the output shows.
        """
        rows = self._sessions.rows
        playing = sum(row.state == "active" for row in rows)
        waiting = len(rows) - playing + self._sessions.more
        words = f"{playing} play, {waiting} wait{'' if self._sessions.is_open else '; closed'}"
        return {"audience": words, "audience_open": self._sessions.is_open, "audience_address": self._address.text,
                "audience_pid": self._server.pid, "wall": self.wall.kind}

    def lists(self) -> dict[str, Rows]:
        """Lists for pages and `/health`.

        sessions: session, state, seat (from 1; 0 for none), left and wait (seconds), prompt, shown; MOST_ROWS at most.
        audience_counts: name, count: what the server has counted.
        """
        counts = sorted(self._sessions.counts.items())
        return {"sessions": tuple(self._row(row) for row in self._sessions.rows[:MOST_ROWS]),
                "audience_counts": tuple({"name": name, "count": count} for name, count in counts)}

    def _row(self, row: SessionRow) -> Row:
        return {"session": row.number, "state": row.state, "seat": row.seat + 1, "left": round(row.seconds_left),
                "wait": round(row.wait), "prompt": row.prompt, "shown": row.number in self.wall.shown}


def is_judged(recipe: Recipe) -> bool:
    """Whether each picture has passed the safety checker, or the show wants none."""
    return not recipe.safety or recipe.pipeline in WITH_SAFETY_CHECKER


def audience_of(show: Show, parameters: Parameters, transition: RecipeTransition, metrics: Metrics) -> NoAudience:
    """The audience of a show."""
    if show.audience is None:
        return NoAudience(metrics)
    return Audience(show.audience, show, parameters, transition, metrics)
