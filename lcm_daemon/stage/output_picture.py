"""OutputPicture: what every sink shows at a tick: the engine's picture, the visitors', or the failsafe's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lcm_daemon.audience.audience import NoAudience
from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Value
from lcm_daemon.render.failsafe import Failsafe, blend
from lcm_daemon.render.slate import Slate
from lcm_daemon.render.transition import RecipeTransition
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.live_source import LiveSource


class OutputPicture:
    """Chooses the picture of each tick.

    Args:
        show: The show.
        transition: The engines.
        audience: The visitors.
        held: The picture of the show before this one, uint8 (H, W, 4), until the first result; or None.

    Attributes:
        failsafe: Chooses what shows while no new picture comes.
        slate: The failsafe's picture.
        undimmed: The picture of the last tick before the master dimmed it, uint8 (H, W, 4); None before the first.
        shown_age: Seconds for which it is out of date; None before the first result.
        last_steps: What is done with the picture before it goes out, in order: called with uint8 (H, W, 4) and
            monotonic seconds. Each returns a new picture or, where it changes nothing, the one that it was given.
        is_closed: Whether the show is closed: a black or still output is meant.
        covered: How much of the output shows what a closed show shows, from 0 to 1: it fades in after the opening.
    """

    def __init__(
        self, show: Show, transition: RecipeTransition, audience: NoAudience, held: Pixels | None
    ) -> None:
        self._transition, self._audience, self._held = transition, audience, held
        self.slate = Slate(show.slate, show.size, show.name)
        self.failsafe = Failsafe(show.failsafe, show.size, self.slate.pixels)
        self._black = solid(show.size)
        self.undimmed: Pixels | None = None
        self.shown_age: float | None = None
        self.last_steps: list[Callable[[Pixels, float], Pixels]] = []
        self.is_closed, self.covered = False, 0.0

    def choose(self, source: LiveSource, values: Mapping[str, Value | Blend], now: float) -> Pixels:
        """The picture at `now` (monotonic seconds), uint8 (H, W, 4), with the values of this tick."""
        if self.undimmed is None or not values["freeze"]:
            frame, own = source.newest, self._transition.output(now)
            rendered, self.shown_age = self._audience.compose(own, self.age(source, values, now), now)
            if rendered is None:
                rendered = self._held
            else:
                self._held = None
            self.undimmed = self.failsafe.choose(rendered, self.shown_age or 0.0, frame.pixels if frame else None)
        if self.is_closed:
            self.shown_age = 0.0  # it shows what it should
        shown = self.dim(self._audience.overlay(self.undimmed), values)
        for step in self.last_steps:
            shown = step(shown, now)
        return shown

    def age(self, source: LiveSource, values: Mapping[str, Value | Blend], now: float) -> float | None:
        """Seconds for which the output is out of date, because of the engine or of the input; None before a result.

        A lost input counts also while its last frame is rendered over and over, as with feedback. Mode `text` and a
        show without a source need no input.
        """
        age, input_age = self._transition.age(now), source.age(now)
        if age is None or input_age is None or values["mode"] == "text":
            return age
        return max(age, input_age)

    def dim(self, pixels: Pixels, values: Mapping[str, Value | Blend]) -> Pixels:
        """Apply the master brightness and the blackout; a frozen frame is dimmed too."""
        master = 0.0 if values["blackout"] else values["master"]
        assert isinstance(master, float)
        return pixels if master >= 1.0 else blend(self._black, pixels, master)
