"""Panic: back to the show's values at once, and what a later undo can ask for again."""

from __future__ import annotations

from dataclasses import dataclass

from lcm_daemon.automation.automation import Automation
from lcm_daemon.automation.cue_list import Position
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.stage.inputs import Inputs


@dataclass(frozen=True)
class _Wanted:
    """What plays or was asked for. source, guide: names."""

    recipe: RecipeVariant
    source: str
    guide: str


class Cancelled:
    """What one panic has cancelled: a change of recipe, source or guide that loaded, and the place in the cue list.

    Other things are gone: values and cues that waited for a beat, messages of cues that waited, the rest of a fade,
    and a crossfade by hand.

    Attributes:
        by: Who requested the panic, as in Change.origin.
    """

    def __init__(self, panic: Panic, by: str, before: _Wanted, position: Position, now: float) -> None:
        self.by = by
        self._panic, self._before, self._after = panic, before, panic.wanted()
        self._position, self._now = position, now

    def __bool__(self) -> bool:
        position = self._position
        return self._before != self._after or any((position.current, position.requested, position.loaded,
                                                   position.follow_time is not None))

    def put_back(self, origin: str, now: float) -> None:
        """Ask for it again, except for what something else was asked for since."""
        before, after, here = self._before, self._after, self._panic.wanted()
        self._panic.automation.cue_list.put_back(self._position, now - self._now)
        if before.recipe != after.recipe == here.recipe:
            self._panic.switcher.transition.ask(before.recipe)
        for kind, wanted, left, now_wanted in (("source", before.source, after.source, here.source),
                                               ("guide", before.guide, after.guide, here.guide)):
            if wanted != left == now_wanted:
                self._panic.inputs.change(kind, wanted, origin, now)


class Panic:
    """Carries out the command `panic`."""

    def __init__(
        self, parameters: Parameters, automation: Automation, switcher: RecipeSwitcher, inputs: Inputs,
    ) -> None:
        self.automation, self.switcher, self.inputs = automation, switcher, inputs
        self._parameters = parameters

    def wanted(self) -> _Wanted:
        """What plays, or was asked for."""
        return _Wanted(self.switcher.transition.state.wanted, self.inputs.source.wanted, self.inputs.guide.wanted)

    def execute(self, request: CommandRequest, now: float) -> tuple[list[Change], Cancelled]:
        """Reset the look and cancel what waits, at `now` (monotonic seconds).

        Returns:
            The parameters that changed, and what was cancelled.
        """
        before, position = self.wanted(), self.automation.cue_list.position
        self.automation.panic()
        self.inputs.cancel()
        self.switcher.transition.cancel(now)
        seconds = float(request.arguments[0]) if request.arguments else 0.0
        changed = self._parameters.reset(f"panic/{request.origin}", now, seconds)
        cancelled = Cancelled(self, request.origin, before, position, now)
        return [Change(name, value, request.origin) for name, value in changed.items()], cancelled
