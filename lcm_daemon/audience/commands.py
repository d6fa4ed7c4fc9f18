"""AudienceCommands: what the performer asks of the sessions: skip, extend, block, show, close, open."""

from __future__ import annotations

from lcm_daemon.audience.messages import Action, Performer, SessionList
from lcm_daemon.audience.seats import Seats
from lcm_daemon.audience.supervisor import AudienceSupervisor
from lcm_daemon.audience.wall import Wall
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import CommandRequest

EXTENSION = 30.0  # seconds by which a turn is prolonged if the command does not say
_ACTIONS: dict[str, Action] = {"audience/skip": "skip", "audience/extend": "extend", "audience/block": "block"}


class AudienceCommands:
    """Carries them out, or refuses them.

    Args:
        server: Where sessions live.
        wall: What the output shows.
        seats: Who plays.
        refusals: Where commands that cannot be carried out are reported.
    """

    def __init__(self, server: AudienceSupervisor, wall: Wall, seats: Seats, refusals: Refusals) -> None:
        self._server, self._wall, self._seats, self._refusals = server, wall, seats, refusals

    def execute(self, request: CommandRequest, sessions: SessionList) -> None:
        """Carry out one command. sessions: all that wait or play."""
        match request.name, request.arguments:
            case "audience/open", _:
                self._server.perform(Performer("open"))
            case "audience/close", _:
                self._server.perform(Performer("close"))
            case "audience/wall", (kind, *_):
                self._wall.set_kind(str(kind))
            case "audience/show", arguments:
                if session := self._session(request, [seat.session for _, seat in self._seats]):
                    self._wall.choose_session(session)
            case name, arguments:
                if session := self._session(request, [row.number for row in sessions.rows]):
                    seconds = float(arguments[1]) if len(arguments) > 1 else EXTENSION
                    self._server.perform(Performer(_ACTIONS[name], session, seconds if "extend" in name else 0.0))

    def _session(self, request: CommandRequest, known: list[int]) -> int:
        """The session that a command names; 0 if there is none, which is reported."""
        named = int(request.arguments[0]) if request.arguments else 0
        if named == 0:
            return self._default(request)
        if named not in known:
            where = "plays" if request.name == "audience/show" else "waits or plays"
            self._refusals.add("audience/refused", request.origin, f"{request.name}: no session {named} {where}")
            return 0
        return named

    def _default(self, request: CommandRequest) -> int:
        """The session that a command without a number means: the one that shows; to show, the next one."""
        playing = sorted(seat.session for _, seat in self._seats)
        shown = self._wall.shown[0] if len(self._wall.shown) == 1 else 0
        if not playing:
            self._refusals.add("audience/refused", request.origin, f"{request.name}: no session plays")
            return 0
        if request.name == "audience/show":
            return next((session for session in playing if session > shown), playing[0])
        return shown if shown in playing else playing[0]
