"""AudienceCommands: what the performer asks of the sessions: skip, extend, block, show, close, open."""

from __future__ import annotations

from lcm_daemon.audience.messages import Action, Performer, SessionList
from lcm_daemon.audience.seats import VisitorSeats
from lcm_daemon.audience.supervisor import AudienceSupervisor
from lcm_daemon.audience.wall import Wall
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import CommandRequest

EXTENSION = 30.0  # seconds by which a turn is prolonged if the command does not say
_ACTIONS: dict[str, Action] = {"audience/skip": "skip", "audience/extend": "extend", "audience/block": "block"}


def _request(command: str, session: int, seconds: Value = EXTENSION) -> Performer:
    action = _ACTIONS[command]
    return Performer(action, session, float(seconds) if action == "extend" else 0.0)


class AudienceCommands:
    """Carries them out, or refuses them.

    Args:
        server: Where sessions live.
        wall: What the output shows.
        seats: Who plays.
        refusals: Where commands that cannot be carried out are reported.
    """

    def __init__(self, server: AudienceSupervisor, wall: Wall, seats: VisitorSeats, refusals: Refusals) -> None:
        self._server, self._wall, self._seats, self._refusals = server, wall, seats, refusals

    def execute(self, request: CommandRequest, sessions: SessionList) -> None:
        """Carry out one command. sessions: those that wait or play; if it has not all, the server itself refuses."""
        playing = self._playing()
        match request.name, request.arguments:
            case "audience/open", _:
                self._server.perform(Performer("open"))
            case "audience/close", _:
                self._server.perform(Performer("close"))
            case "audience/wall", (kind, *_):
                self._wall.set_kind(str(kind))
            case ("audience/show_next" | "audience/skip_shown"), _ if not playing:
                self._refuse(request, "no session plays")
            case "audience/show_next", _:
                shown = self._shown(playing)
                self._wall.choose_session(next((number for number in playing if number > shown), playing[0]))
            case "audience/skip_shown", _ if not self._shown(playing):
                self._refuse(request, "the output shows no single visitor")
            case "audience/skip_shown", _:
                self._server.perform(Performer("skip", self._shown(playing)))
            case "audience/show", (session, *_) if session in playing:
                self._wall.choose_session(int(session))
            case "audience/show", (session, *_):
                self._refuse(request, f"no session {session} plays")
            case ("audience/skip" | "audience/extend" | "audience/block"), (session, *more):
                if session in playing or sessions.more or any(session == row.number for row in sessions.rows):
                    self._server.perform(_request(request.name, int(session), *more))
                else:
                    self._refuse(request, f"no session {session} waits or plays")

    def _refuse(self, request: CommandRequest, reason: str) -> None:
        self._refusals.add("audience/refused", request.origin, f"{request.name}: {reason}")

    def _playing(self) -> list[int]:
        """Who has a seat at this moment; the list of sessions may be a second older."""
        return sorted(seat.session for _, seat in self._seats)

    def _shown(self, playing: list[int]) -> int:
        """The one session that the output shows; 0 if it shows none or several."""
        shown = self._wall.shown[0] if len(self._wall.shown) == 1 else 0
        return shown if shown in playing else 0
