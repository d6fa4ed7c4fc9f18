"""RecipeState: which recipe plays, which one is loading, and which one was asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from lcm_daemon.core.frame import Size
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import QUICK, compiles_for_minutes

SIZE_STEP = 64  # pixels; every UNet halves its latents, an eighth of the frame, three times


@dataclass(frozen=True)
class RecipeVariant:
    """A recipe as it was asked for, and how it is rendered.

    A recipe whose accelerator compiles for minutes has two forms: the quick form, which renders without it, and the
    compiled form, which names it in `accelerator`.

    Args:
        recipe: As it was asked for, with the size that was asked for.
        scale: Factor on both sides of the rendered size, which the governor chooses.
        accelerator: Of the compiled form; "" is the quick form.
    """

    recipe: Recipe
    scale: float = 1.0
    accelerator: str = ""

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def rendered(self) -> Recipe:
        """The recipe that an engine loads."""
        size, own = scale_size(self.recipe.size, self.scale), self.recipe.accelerate
        quick = QUICK if compiles_for_minutes(own) else own
        return replace(self.recipe, size=size, accelerate=self.accelerator or quick)

    @property
    def quick(self) -> RecipeVariant:
        """The form that loads within seconds."""
        return replace(self, accelerator="") if self.accelerator else self


def scale_size(size: Size, scale: float) -> Size:
    """A smaller size to render at, in multiples of SIZE_STEP pixels; `size` itself where `scale` is 1."""
    if scale >= 1.0:
        return size
    width, height = (max(SIZE_STEP, round(side * scale / SIZE_STEP) * SIZE_STEP) for side in size)
    return width, height


class Outcome(Enum):
    """How a recipe change ended."""

    DONE = "done"
    FAILED = "failed"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class ChangeEnd:
    """The end of a recipe change.

    Args:
        variant: What was changed to.
        outcome: How the change ended.
        wanted: What was wanted when it had ended: the next request, what is loading, or what plays.
        reason: Why it failed.
        memory: Whether it failed because the device has not enough memory.
    """

    variant: RecipeVariant
    outcome: Outcome
    wanted: RecipeVariant
    reason: str = ""
    memory: bool = False


class RecipeState:
    """The one account of a show's recipe. The recipe transition writes it, everything else reads it.

    A change is asked for, loads, plays while it fades in, and ends. Its end is announced exactly once. Listeners are
    called by `announce`, never in the middle of a change: one that raises cannot leave a change half done.

    Args:
        playing: The variant that a show starts with.
    """

    def __init__(self, playing: RecipeVariant) -> None:
        self.playing = playing  # whose frames are shown, or are being faded in
        self.loading: RecipeVariant | None = None  # until its change ends
        self.asked: RecipeVariant | None = None  # the newest request, not yet begun
        self.error = ""  # why the last change failed; "" once another is asked for or one succeeds
        self.on_playing: list[Callable[[RecipeVariant], None]] = []  # called when another variant begins to show
        self.on_end: list[Callable[[ChangeEnd], None]] = []  # called when a change ends
        self.calls: deque[Callable[[], None]] = deque()  # calls of listeners that `announce` has still to make

    @property
    def wanted(self) -> RecipeVariant:
        """What plays once every change has succeeded."""
        return self.asked or self.loading or self.playing

    @property
    def changing(self) -> bool:
        return self.asked is not None or self.loading is not None

    def ask(self, variant: RecipeVariant) -> None:
        """Ask for a variant, in place of one that was asked for and has not begun."""
        given_up, self.asked, self.error = self.asked, variant, ""
        if given_up is not None:
            self._queue_end(given_up, Outcome.GIVEN_UP)

    def withdraw(self) -> None:
        """Give up a change that has not begun."""
        asked, self.asked = self.asked, None
        if asked is not None:
            self._queue_end(asked, Outcome.GIVEN_UP)

    def begin(self, variant: RecipeVariant) -> None:
        """`variant` begins to load, and is not merely asked for any more."""
        self.asked, self.loading = None, variant

    def play(self, variant: RecipeVariant) -> None:
        """`variant` begins to show."""
        if variant == self.playing:
            return
        self.playing = variant
        self.calls.extend(partial(listener, variant) for listener in self.on_playing)

    def end(self, outcome: Outcome, reason: str = "", memory: bool = False) -> None:
        """The change that is loading ends; nothing happens where none is."""
        variant, self.loading = self.loading, None
        if variant is None:
            return
        if outcome is Outcome.FAILED:
            self.error = f"{variant.name}: {reason}"
        elif outcome is Outcome.DONE:
            self.error = ""
        self._queue_end(variant, outcome, reason, memory)

    def _queue_end(self, variant: RecipeVariant, outcome: Outcome, reason: str = "", memory: bool = False) -> None:
        end = ChangeEnd(variant, outcome, self.wanted, reason, memory)
        self.calls.extend(partial(listener, end) for listener in self.on_end)

    def announce(self) -> None:
        """Call the listeners of everything that has happened since the last call, in order.

        An error of a listener is raised; the next call continues after it.
        """
        while self.calls:
            self.calls.popleft()()
