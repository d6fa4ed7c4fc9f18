"""Undo: the last moves of a show, and the way back from each of them.

Only what panic resets can be undone. The tempo, for example, follows taps and clocks.
"""

from __future__ import annotations

from collections import deque

from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.stage.panic import Cancelled
from lcm_daemon.stage.undo_move import CUES, HOURS, PANIC, PAUSE, Move, Setting, is_edit, sender

MOVES_KEPT = 50
SEED_PAUSE = 0.15  # the same for a seed: each throw of the dice can be taken back
NO_USER = ("", "recipe", "resume", f"{CUES}{HOURS}")  # origins of values that a user did not set


class Undo:
    """The moves that can be undone, and those that have been.

    The stage calls `observe` after everything that may change a value.

    Args:
        parameters: The live values.
        refusals: What cannot be undone, and why.
    """

    def __init__(self, parameters: Parameters, refusals: Refusals) -> None:
        self._parameters, self._refusals = parameters, refusals
        self._moves: deque[Move] = deque(maxlen=MOVES_KEPT)
        self._undone: list[Move] = []
        self._count = 0
        self._known, self._revision = parameters.resting(), parameters.revision

    # --- what happens ---

    def observe(self, now: float, cancelled: Cancelled | None = None) -> None:
        """Note the moves since the last call.

        Args:
            now: Monotonic seconds.
            cancelled: What a panic has cancelled, if one was requested since the last call.
        """
        if self._parameters.revision == self._revision:
            return
        before, table = self._known, self._parameters.table
        self._note_values()
        moved: dict[str, dict[str, Setting]] = {}
        for name, value in self._known.items():
            if name in before and before[name] != value and table[name].look:
                moved.setdefault(self._parameters.origin(name), {})[name] = before[name]
        if cancelled:
            moved.setdefault(f"{PANIC}{cancelled.by}", {})
        for origin, values in moved.items():
            if origin not in NO_USER:
                self._add(origin, values, now, cancelled if origin.startswith(PANIC) else None)

    def _note_values(self) -> None:
        self._known, self._revision = self._parameters.resting(), self._parameters.revision

    def _add(self, origin: str, before: dict[str, Setting], now: float, cancelled: Cancelled | None) -> None:
        after = {name: self._known[name] for name in before}
        move = self._begun(origin, after, now)
        if move is None:
            self._count += 1
            self._moves.append(Move(self._count, origin, before, after, now, cancelled))
            self._undone.clear()
        else:
            move.before, move.after, move.at = {**before, **move.before}, {**move.after, **after}, now

    def _begun(self, origin: str, after: dict[str, Setting], now: float) -> Move | None:
        """The move that new values belong to, if it has begun. A look or a panic that moves them ends it."""
        for move in reversed(self._moves):
            if self._continues(move, origin, after, now):
                return move
            if (move.is_look or move.is_panic) and move.before.keys() & after.keys():
                return None
        return None

    def _continues(self, move: Move, origin: str, after: dict[str, Setting], now: float) -> bool:
        """Whether new values belong to a move that was made already."""
        if now - move.at >= PAUSE or sender(move.origin) != sender(origin) or move.is_panic:
            return False
        if origin.startswith(CUES):
            return True
        return move.after.keys() == after.keys() and all(
            self._is_ramp(name, move.after[name], value, now - move.at) for name, value in after.items())

    def _is_ramp(self, name: str, earlier: Setting, later: Setting, seconds: float) -> bool:
        """Whether two values are part of one move: numbers, and a text that is being typed."""
        parameter = self._parameters.table[name]
        if isinstance(earlier, str) and isinstance(later, str):
            return parameter.kind == "text" and is_edit(earlier, later)
        if parameter.kind == "int" and parameter.glided_by and seconds >= SEED_PAUSE:
            return False
        return not isinstance(later, bool | Blend)

    # --- commands ---

    def execute(self, request: CommandRequest, now: float) -> list[Change]:
        """Carry out `undo`, `redo` or `undo_panic`; return the parameters that changed.

        The values are reported to all controllers, also to the one that asked: it does not know them.
        """
        self.observe(now)
        try:
            changes = self._execute(request, now)
        except Refused as refusal:
            self._refusals.add("undo/refused", request.origin, f"{request.name}: {refusal}")
            changes = []
        self._note_values()
        return changes

    def _execute(self, request: CommandRequest, now: float) -> list[Change]:
        if request.name == "redo":
            if not self._undone:
                raise Refused("nothing has been undone since the last move")
            move = self._undone.pop()
            self._moves.append(move)
            return self._set(move, move.after, request, now)
        move = self._newest_panic() if request.name == "undo_panic" else self._newest()
        self._undone.append(move)
        if move.cancelled:
            move.cancelled.put_back(request.origin, now)
        return self._set(move, move.before, request, now)

    def _newest(self) -> Move:
        while self._moves:
            move = self._moves.pop()
            if move.has_effect:
                return move
        raise Refused(f"there is nothing to undo; the last {MOVES_KEPT} moves are kept")

    def _newest_panic(self) -> Move:
        """The last panic, without the values that have been moved since."""
        moves = list(self._moves)
        place = next((place for place in reversed(range(len(moves))) if moves[place].is_panic), None)
        if place is None:
            raise Refused(f"no panic is among the last {MOVES_KEPT} moves")
        panic, later = moves[place], {name for move in moves[place + 1:] for name in move.before}
        del self._moves[place]
        panic.before = {name: value for name, value in panic.before.items() if name not in later}
        panic.after = {name: panic.after[name] for name in panic.before}
        return panic

    def _set(self, move: Move, values: dict[str, Setting], request: CommandRequest, now: float) -> list[Change]:
        """Set values as a user's move does: they glide where the show says so. What cannot be set is reported."""
        changes, problems = list[Change](), list[str]()
        for name, value in values.items():
            if name not in self._parameters.table:
                problems.append(f"{name} does not exist now")
                continue
            try:
                changes.append(Change(name, self._put(name, value, now, request.origin), request.name))
            except Refused as refusal:  # the recipe that plays has other limits
                problems.append(str(refusal))
        if problems:
            self._refusals.add("undo/refused", request.origin, f"{request.name} of {move.what}: {'; '.join(problems)}")
        return changes

    def _put(self, name: str, value: Setting, now: float, origin: str) -> Value:
        if isinstance(value, Blend):
            return self._parameters.hold(name, value, value.parts[0][0], 0.0, now, origin)
        return self._parameters.set(name, value, now, origin)

    # --- what pages show ---

    def rows(self) -> Rows:
        """The moves that can be undone, newest first: number, what, by, and the value that it returns to."""
        return tuple({"number": move.number, "what": move.what, "by": move.by, "panic": move.is_panic,
                      "value": move.shown} for move in reversed(self._moves) if move.has_effect)

    def redo_rows(self) -> Rows:
        """The moves that can be repeated, the next one first."""
        return tuple({"number": move.number, "what": move.what, "by": move.by} for move in reversed(self._undone))
