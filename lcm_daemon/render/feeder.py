"""Feeder: sends the newest input and the values of this moment to every player that accepts a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameters import Value
from lcm_daemon.render.player import Player, RenderInput
from lcm_daemon.render.still_input import StillInput
from lcm_daemon.render.transition import RecipeTransition

Values = Mapping[str, Value | Blend]


class FrameSource(Protocol):
    """What the feeder needs of a source: its newest frame, None before the first."""

    @property
    def newest(self) -> Frame | None: ...


class Feeder:
    """Decides what each player renders next.

    Args:
        transition: Its players receive the input.
        parameters: Start values, and which of them were never set.
        blank: Input for a recipe that needs none (mode `text`) while the show has no source.
    """

    def __init__(self, transition: RecipeTransition, parameters: Parameters, blank: Frame) -> None:
        self._transition, self._parameters, self._blank = transition, parameters, blank
        self._frames, self._guides = StillInput(), StillInput()
        self.waiting = False  # a player accepts a frame, and there was nothing new to send

    def feed(
        self, source: FrameSource | None, guide: FrameSource | None, values: Values, tick: int, now: float
    ) -> None:
        """Send the newest frames and `values` to every player that accepts a frame.

        Args:
            source, guide: None where the show has none.
            values: Every parameter's value, with modulation and the governor's changes.
            tick: Number of the last tick.
            now: Monotonic seconds.
        """
        accepting = [player for player in self._transition.players if player.accepts_frame]
        self.waiting = bool(accepting)  # set before the source is read: no frame can arrive unnoticed in between
        if not accepting:
            return
        frame = self._frames.settle(source.newest if source is not None else None)
        if frame is None and values["mode"] != "text":
            return
        guide_frame = self._guides.settle(guide.newest if guide is not None else None)
        number = tick if self._changes_every_tick(values) else 0
        for player in accepting:
            player.send(RenderInput(frame or self._blank, guide_frame, self._values_for(player, values), number), now)
        self.waiting = any(player.accepts_frame for player in accepting)

    def _values_for(self, player: Player, values: Values) -> Values:
        """The values for a player's own recipe: while two play, a value that was never set is each recipe's own."""
        if player.variant == self._transition.state.playing:
            return values
        start = self._parameters.start
        own = {name: value for name, value in player.start_values.items()
               if name in values and values[name] == start[name] and self._parameters.is_untouched(name)}
        return {**values, **own}

    def _changes_every_tick(self, values: Values) -> bool:
        """Whether each tick gives another result although neither input nor values changed."""
        stream_batch = self._transition.state.playing.recipe.stream_batch
        return values["mode"] == "text" or values["noise"] == "walking" or stream_batch or bool(values["feedback"])
