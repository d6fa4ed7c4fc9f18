"""DmxChannels: what the channels of a universe do when their levels change."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from lcm_daemon.controllers.dmx.line import DmxLine
from lcm_daemon.controllers.dmx.packet import CHANNELS
from lcm_daemon.controllers.midi.binding import Binding
from lcm_daemon.controllers.midi.buttons import button_values, next_toggle_value
from lcm_daemon.controllers.midi.pending_values import PendingValues
from lcm_daemon.controllers.midi.takeover import scale_of, take_over
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.parameters import Parameter, Refused
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import Change

log = logging.getLogger(__name__)

KEPT = "dmx"  # key of what is kept for the next desk


class DmxChannels:
    """The lines of the map. A sender repeats all levels all the time: a line acts when its own level changes.

    So another controller can move what DMX has set. The first levels of a sender move the faders; a button or a command
    waits until its channel passes the threshold.

    Args:
        lines: By universe.
        controls: Control state of the show.
    """

    def __init__(self, lines: Mapping[int, Sequence[DmxLine]], controls: ControlState) -> None:
        self._lines, self._controls = lines, controls
        self._values = PendingValues(controls)
        self._raw: dict[str, int] = dict(controls.kept.get(KEPT, {}))  # the desk before has acted on these
        self._engaged: set[tuple[int, DmxLine]] = set()  # faders that have taken their value over
        self._throttle = LogThrottle(log, controls.metrics)

    def on_levels(self, universe: int, levels: bytes) -> None:
        """Act on the levels of a universe."""
        self._act(universe, self._lines.get(universe, ()), levels)

    def _act(self, universe: int, lines: Sequence[DmxLine], levels: bytes) -> None:
        before = dict(self._raw)
        for line in lines:
            # with the target: where a show's file gives the channel another one, that gets the present level
            # with the thresholds: several lines of one channel may run the same command at different levels
            raw, place = line.raw(levels), f"{universe} {line} {line.to or line.command} {line.thresholds}"
            if raw is None or raw == before.get(place) or line.is_flicker(before.get(place, raw), raw):
                continue
            self._raw[place] = raw
            try:
                self._apply(universe, line, before.get(place), raw)
            except Refused as refusal:
                origin = self.origin(universe, line)
                self._throttle.warn("dmx/refused", f"DMX: {origin} is refused: {refusal}")
                self._controls.report_refusal(Refusal(origin, str(refusal)))
        if self._raw != before:
            self._controls.keep_for_restart(KEPT, dict(self._raw))

    def on_loss(self, universe: int) -> None:
        """Act as if all levels of a universe were 0, but for what a level starts: it must not start when it is back."""
        lines = [line for line in self._lines.get(universe, ()) if not (line.command or line.button == "toggle")]
        self._act(universe, lines, bytes(CHANNELS))

    def origin(self, universe: int, line: DmxLine) -> str:
        """The origin of a line's changes."""
        return f"dmx/{universe}/{line}"

    def on_changes(self, changes: Iterable[Change]) -> None:
        """Note what others have changed: a fader with `pickup` has to take its value over again."""
        changes = list(changes)
        self._values.on_changes(changes)
        origins = {change.name: change.origin for change in changes}
        self._engaged = {(universe, line) for universe, line in self._engaged
                         if origins.get(line.to) in (None, self.origin(universe, line))}

    def on_table(self) -> None:
        """Forget what was requested: the parameters are others."""
        self._values.clear()
        self._engaged.clear()

    def _apply(self, universe: int, line: DmxLine, before: int | None, raw: int) -> None:
        if line.thresholds:
            self._step(universe, line, None if before is None else line.step(before), line.step(raw))
        else:
            self._move(universe, line, before, raw)

    def _step(self, universe: int, line: DmxLine, before: int | None, step: int) -> None:
        """Act on the threshold that was passed. before: None if the channel was not known."""
        origin, is_value = self.origin(universe, line), bool(line.values) and not line.button
        if step == before or (before is None and not (is_value and line.to)):
            return
        if line.to and line.button:
            released, pressed = button_values(_as_binding(line), self._parameter(line))
            if line.button == "momentary":
                self._values.set(line.to, pressed if step >= 0 else released, origin)
            elif step >= 0:
                self._values.set(line.to, next_toggle_value([released, pressed], self._values[line.to]), origin)
        elif step >= 0 and line.to:
            self._values.set(line.to, line.values[step], origin)
        elif step >= 0:
            arguments = (*line.arguments, line.values[step]) if is_value else line.arguments
            if self._controls.command(line.command, origin, arguments):
                self._values.clear()  # a panic cancels what was requested before

    def _move(self, universe: int, line: DmxLine, before: int | None, raw: int) -> None:
        parameter = self._parameter(line)
        if parameter.kind == "text":
            raise Refused(f"{line.to} is text; only `values` can set it")
        scale, position = scale_of(parameter, line.span, line.curve), raw / line.full
        if (universe, line) not in self._engaged:
            there = scale.position(self._values.in_force(line.to))
            taken = take_over(line.takeover, None if before is None else before / line.full, position, there)
            if taken is None:
                return
            if taken == position:
                self._engaged.add((universe, line))
            position = taken
        self._values.set(line.to, scale.value(position), self.origin(universe, line))

    def _parameter(self, line: DmxLine) -> Parameter:
        parameter = self._values.parameter(line.to)
        if parameter is None:
            raise Refused(f"the present recipe has no parameter {line.to!r:.80}")
        return parameter


def _as_binding(line: DmxLine) -> Binding:
    """The line of a MIDI map whose button has the same values."""
    return Binding("note", (None,), button=line.button, values=line.values, span=line.span, curve=line.curve)
