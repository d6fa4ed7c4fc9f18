"""Feeder: sends newest inputs with the values of this moment to every player that accepts a frame, in fair turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameters import Value
from lcm_daemon.render.player import Player, RenderInput
from lcm_daemon.render.still_input import StillInput
from lcm_daemon.render.transition import RecipeTransition
from lcm_daemon.render.turns import OWN, Turns

Values = Mapping[str, Value | Blend]


class FrameSource(Protocol):
    """What the feeder needs of a source: its newest frame, None before the first."""

    @property
    def newest(self) -> Frame | None: ...


@dataclass(frozen=True)
class SessionInput:
    """What the next picture of a visitor's session is rendered from.

    Args:
        session: Name of the session.
        frame: Its newest input; None before the first.
        values: Every parameter's value at this moment.
    """

    session: str
    frame: Frame | None
    values: Values


def no_sessions(source: Frame | None, values: Values, now: float) -> Sequence[SessionInput]:
    """The sessions of a show without visitors."""
    return ()


class Feeder:
    """Decides what each player renders next.

    Args:
        transition: Its players receive the input.
        parameters: Start values, and which of them were never set.
        blank: Input for a recipe that needs none (mode `text`) while the show has no source.
        turns: Whose frame is rendered next. Where the stage's own picture has no share, it is not rendered.
        sessions: Returns the visitors' inputs: from the source's newest frame, the show's values, monotonic seconds.
    """

    def __init__(
        self, transition: RecipeTransition, parameters: Parameters, blank: Frame, turns: Turns | None = None,
        sessions: Callable[[Frame | None, Values, float], Sequence[SessionInput]] = no_sessions,
    ) -> None:
        self._transition, self._parameters, self._blank = transition, parameters, blank
        self._frames, self._guides = StillInput(), StillInput()
        self._turns, self._sessions = turns or Turns(1.0), sessions
        self.waiting = False  # a player accepts a frame, and there was nothing new to send

    def is_starved(self, source: FrameSource, values: Values) -> bool:
        """Whether nothing of the stage's own is rendered: it needs a frame and has none, or it has no share."""
        return self._turns.share <= 0.0 or (source.newest is None and values["mode"] != "text")

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
        guide_frame = self._guides.settle(guide.newest if guide is not None else None)
        own = [SessionInput(OWN, frame, values)] if self._turns.share > 0.0 else []
        offers = {offer.session: self._render_input(offer, guide_frame, tick)
                  for offer in (*own, *self._sessions(frame, values, now))
                  if offer.frame is not None or offer.values["mode"] == "text"}
        for player in accepting:
            self._fill(player, offers, now)
        self.waiting = any(player.accepts_frame for player in accepting)

    def _render_input(self, offer: SessionInput, guide: Frame | None, tick: int) -> RenderInput:
        number = tick if self._changes_every_tick(offer.values) else 0
        return RenderInput(offer.frame or self._blank, guide, offer.values, number, offer.session)

    def _fill(self, player: Player, offers: Mapping[str, RenderInput], now: float) -> None:
        """Send what is new to a player until it accepts no more. Visitors' pictures come of the player that shows."""
        is_leading = player is self._transition.leading
        waiting = {name: offer for name, offer in offers.items() if is_leading or name == OWN}
        while waiting and player.accepts_frame:
            for name in self._turns.order(waiting):
                offer = waiting.pop(name)
                if player.send(replace(offer, values=self._values_for(player, offer.values)), now):
                    self._turns.served(name, [name, *waiting])
                    break

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
        arrives_slowly = any(values.get(name) for name in ("feedback", "smooth", "steady"))
        return values["mode"] == "text" or values["noise"] == "walking" or stream_batch or arrives_slowly
