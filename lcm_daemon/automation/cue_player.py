"""CuePlayer: carries out the commands of the cue list, and tells when a cue starts and what it sends."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from lcm_daemon.automation.crossfade import Crossfader
from lcm_daemon.automation.cue_list import Cue, CueList
from lcm_daemon.automation.cue_messages import CueMessage
from lcm_daemon.automation.cue_names import name_from_number
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.core.timecode import TimecodeReport

CUES = "cue/"  # how the origins of a cue's changes begin
FADES = (CUES, "panic/")  # those of everything that fades: a panic may take some seconds


class CuePlayer:
    """The cue list while it plays: GO, BACK, GOTO and load; pause, resume and stop; the crossfader.

    Args:
        cue_list: the cues.
        parameters: the live values.
        begin: applies the values of a cue that starts; returns the parameters that moved.
        refusals: what cannot be done.
    """

    def __init__(
        self, cue_list: CueList, parameters: Parameters, begin: Callable[[Cue, float], list[Change]],
        refusals: Refusals,
    ) -> None:
        self.cue_list, self._parameters, self._begin, self._refusals = cue_list, parameters, begin, refusals
        self.crossfader = Crossfader(parameters, self._next_for_crossfade, self._start_crossfaded)
        self._messages: list[tuple[float, CueMessage]] = []  # when each is due
        self._early = 0.0  # seconds by which the requested cue starts before its beat

    # --- commands ---

    def is_known(self, request: CommandRequest) -> bool:
        """Whether the cue that GOTO or load names exists. If not, the request is refused."""
        given, names = str(request.arguments[0]), [cue.name for cue in self.cue_list.cues]
        if self.cue_list.resolve(given):
            return True
        close = difflib.get_close_matches(given[:80], names, 1, 0.5)
        hint = f"did you mean {close[0]!r:.80}?" if close else f"the list has {len(names)} cues"
        shown = name_from_number(given)
        self._refusals.add("cue/unknown", request.origin, f"{request.name}: no cue {shown!r:.80}; {hint}")
        return False

    def request(self, request: CommandRequest, now: float, early: float = 0.0) -> None:
        """Request a cue from the list: GO, BACK or GOTO. early: seconds by which it starts before its beat."""
        name, fade = str(request.arguments[0]) if request.name == "cue/goto" else "", _fade_of(request)
        match request.name:
            case "cue/go":
                requested = self.cue_list.go(now, fade)
            case "cue/back":
                requested = self.cue_list.back(now, fade)
            case _ if self._is_under_way(name, fade, now):
                return
            case _:
                requested = self.cue_list.goto(name, now, fade)
        self._early = early
        if requested is not None:  # it has ended a pause
            self._parameters.resume(now)

    def requested_name(self, request: CommandRequest) -> str:
        """Return the name of the cue that a GO, BACK or GOTO would request."""
        match request.name:
            case "cue/go":
                return self.cue_list.standby
            case "cue/back":
                return self.cue_list.before
        return self.cue_list.resolve(str(request.arguments[0]))

    def pause(self, now: float) -> None:
        """Stop the fade where it is; delay and automatic GO wait too."""
        self.cue_list.pause(now)
        self._parameters.pause(FADES, now)

    def resume(self, now: float) -> None:
        """Continue after a pause."""
        self.cue_list.resume(now)
        self._parameters.resume(now)

    def stop(self, origin: str, now: float) -> list[Change]:
        """End the fade where it is, and cancel every cue that waits. Return the parameters whose value is new."""
        self.cue_list.stop()
        self.crossfader.end()
        return [Change(name, value, origin) for name, value in self._parameters.stop(FADES, now).items()]

    def release(self, now: float) -> None:
        """Leave the list. A fade continues, also one that was paused."""
        self.cue_list.release()
        self.crossfader.end()
        self._parameters.resume(now)

    def panic(self) -> None:
        """Cancel what waits. The position in the list stays."""
        self.cue_list.panic()
        self.crossfader.end()
        self._messages.clear()

    # --- what happens by itself ---

    def update(self, now: float, wall: float | None, timecode: TimecodeReport | None = None) -> list[Change]:
        """Start the cue that is due, and follow the crossfader. Return the parameters that moved."""
        cue = self.cue_list.update(now, wall, timecode)
        return [*(self._start(cue, now) if cue else []), *self.crossfader.update(now)]

    def pop_messages(self, now: float) -> list[CueMessage]:
        """Return the messages of cues that are due, once each."""
        if not self._messages:
            return []
        due = [message for time, message in self._messages if time <= now]
        self._messages = [(time, message) for time, message in self._messages if time > now]
        return due

    def status(self, now: float) -> dict[str, Value]:
        """Return the status entries.

        upcoming_cue: name of the cue that the next GO starts; empty at the end of the list.
        previous_cue: name of the cue that BACK starts; empty at the start of the list.
        fade: progress of the fade or the crossfade, 0 to 1.
        fade_left: seconds until the fade ends.
        paused: whether the fade is paused.
        """
        progress, left = self._parameters.fade_progress(FADES, now)
        return {"upcoming_cue": self.cue_list.standby, "previous_cue": self.cue_list.before,
                "fade": round(min(progress, self.crossfader.progress), 3), "fade_left": round(left, 1),
                "paused": self.cue_list.is_paused}

    def forget_missing(self) -> None:
        """End a crossfade to a cue that is not in the list any more."""
        if self.crossfader.cue and self.cue_list.named(self.crossfader.cue) is None:
            self.crossfader.end()

    def _start(self, cue: Cue, now: float) -> list[Change]:
        self.crossfader.end()
        self._parameters.resume(now)
        self._messages += [(now + self._early, message) for message in cue.send]
        self._early = 0.0
        return self._begin(cue, now)

    def _start_crossfaded(self, cue: Cue, now: float) -> list[Change]:
        self.cue_list.start(cue, now)
        return self._start(cue, now)

    def _next_for_crossfade(self) -> Cue | None:
        """Return the cue that a crossfade goes to. The fader starts it then, and no delay or automatic GO."""
        found = self.cue_list.named(self.cue_list.pending or self.cue_list.standby)
        if found is not None:
            self.cue_list.stop()
        return found

    def _is_under_way(self, name: str, fade: float | None, now: float) -> bool:
        """Whether the cue waits for its delay, or fades and no hand has moved one of its values since."""
        found = self.cue_list.named(self.cue_list.resolve(name))
        if found is None or not self.cue_list.is_under_way(found.name, now, fade):
            return False
        origin, table = f"{CUES}{found.name}", self._parameters.table
        return bool(self.cue_list.pending) or all(
            self._parameters.origin(each) == origin for each in found.values if each in table)


def _fade_of(request: CommandRequest) -> float | None:
    """Return the fade time that a GO, BACK or GOTO asks for, or None."""
    given = request.arguments[1:] if request.name == "cue/goto" else request.arguments
    return float(given[0]) if given else None
