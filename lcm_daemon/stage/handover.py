"""Handover: what one show leaves to the next one, so that the picture stays while the daemon changes shows.

Sinks that both shows have stay open: their receivers see no sender go. Their last frame is sent on, at the show's rate,
until the first tick of the next show. The engine stays if the next show renders the same recipe in the same way. Where
the next show has no such sink or engine, the old one is closed, and a new one opens.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lcm_daemon.audience.messages import Kept
from lcm_daemon.automation.look import Look
from lcm_daemon.core.clock import MonotonicClock
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.core.learning import KEPT as BINDINGS
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.desk.takeover import DeskLeft
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.player import Player
from lcm_daemon.shows.show import Show
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.resize import fit
from lcm_daemon.transports.runner import SinkRunner

if TYPE_CHECKING:
    from lcm_daemon.stage.show_file import NextShow
    from lcm_daemon.stage.stage import Stage


class Holder:
    """Sends the last frame to sinks again and again, on a thread of its own, while nothing else does.

    Args:
        sinks: The sinks.
        output: The last frame.
        fps: Frames a second.
    """

    def __init__(self, sinks: Sequence[SinkRunner], output: Frame | None, fps: float) -> None:
        self._sinks, self._output, self._interval = sinks, output, 1.0 / fps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="held-frame", daemon=True)

    def start(self) -> None:
        if self._output is not None and self._sinks:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        assert self._output is not None
        clock, frame = MonotonicClock(), self._output
        while not self._stop.wait(self._interval):
            frame = replace(frame, number=frame.number + 1, time=clock.now())
            for sink in self._sinks:
                sink.post(frame)


@dataclass
class Handover:
    """What is left to the next show. Without arguments: nothing, as at the start of the daemon.

    Attributes:
        look: What was played, where the next show continues it.
        sinks: Sinks that are open, with their configuration.
        size: Size of their frames.
        fps: Their rate.
        player: The player of the recipe; None if none was left.
        engine: What its engines depend on, apart from the recipe.
        output: The last frame.
        undimmed: Its picture, before the master dimmed it.
        ticks: Number of the next frame.
        kept: What the controllers keep, as in `DeskSupervisor.kept`.
        audience: What the visitors' server keeps, as in `AudienceSupervisor.kept`.
        metrics: The counters.
        show: The show that has ended.
        stopped: Places whose engines were stopped by hand.
        desk: What the desk has left.
    """

    look: Look | None = None
    sinks: list[tuple[EndpointConfig, SinkRunner]] = field(default_factory=list)
    size: Size = (0, 0)
    fps: float = 0.0
    player: Player | None = None
    engine: tuple[Any, ...] = ()
    output: Frame | None = None
    undimmed: Pixels | None = None
    ticks: int = 0
    kept: Mapping[str, Any] = field(default_factory=dict)
    audience: Kept | None = None
    metrics: Metrics = field(default_factory=Metrics)
    show: Show | None = None
    stopped: set[EnginePlace] = field(default_factory=set)
    desk: DeskLeft = field(default_factory=DeskLeft)
    _holder: Holder | None = None

    def hold(self) -> None:
        """Send the last frame on until `end_hold`. Call it after the last tick of the old show."""
        self._holder = Holder([runner for _, runner in self.sinks], self.output, self.fps or 1.0)
        self._holder.start()

    def end_hold(self) -> None:
        """Send the last frame no longer. Call it before the first tick of the next show."""
        if self._holder is not None:
            self._holder.stop()

    def pop_sink(self, config: EndpointConfig, size: Size, fps: float) -> SinkRunner | None:
        """An open sink with this configuration; None if there is none."""
        for place, (known, runner) in enumerate(self.sinks):
            if (known, self.size, self.fps) == (config, size, fps):
                del self.sinks[place]
                return runner
        return None

    def variant(self, recipe: Recipe, show: Show) -> RecipeVariant | None:
        """The variant that the player renders, if a show can use it for a recipe."""
        player = self.player
        if player is None or player.variant.recipe != recipe or self.engine != _engine_of(show):
            return None
        return player.variant

    def pop_player(self, variant: RecipeVariant, show: Show) -> Player | None:
        """The player of a variant, if a show can use it."""
        player = self.player
        if player is None or self.variant(variant.recipe, show) != variant:
            return None
        self.player = None
        player.adopt(show.start_values(variant.recipe))
        return player

    def picture(self, size: Size) -> Pixels | None:
        """The last picture in another size."""
        if self.undimmed is None or self.undimmed.shape[1::-1] == size:
            return self.undimmed
        return fit(self.undimmed, size, "cover")

    def pop_desk(self) -> DeskLeft:
        """What the desk has left."""
        popped, self.desk = self.desk, DeskLeft()
        return popped

    def close(self, seconds: float) -> None:
        """Close what the next show has not taken."""
        for _, runner in self.sinks:
            runner.stop()
        if self.player is not None:
            self.player.stop(seconds)
        for _, runner in self.sinks:
            runner.join(seconds)
        self.sinks, self.player = [], None
        self.desk.close()


def _engine_of(show: Show) -> tuple[Any, ...]:
    """What an engine depends on, apart from its recipe."""
    return show.size, show.timeouts, show.spare, show.loads_spare, show.can_guide, show.fallback


def merged_look(look: Look, before: Show, after: Show) -> Look:
    """What was played, without what the file changes: a value, a recipe or modulators that the file changes count.

    Args:
        look: What was played.
        before: The show as it was read at its start.
        after: The same show as it is read now.
    """
    old, new = before.start_values(before.recipe), after.start_values(after.recipe)
    values = {name: value for name, value in look.values.items() if old.get(name) == new.get(name)}
    modulators = look.modulators if before.modulators == after.modulators else None
    recipe, size = look.recipe, look.size
    if before.recipe != after.recipe and recipe == before.recipe.name:
        recipe, size = after.recipe.name, after.recipe.size
    return replace(look, values=values, modulators=modulators, recipe=recipe, size=size)


def kept_by_desk(kept: Mapping[str, Any], same_file: bool, is_written: bool) -> Mapping[str, Any]:
    """What the next desk should know of this one: subscribers, tempo, and bindings that the file does not have.

    Args:
        kept: What this desk keeps.
        same_file: Whether the next show is read from the same file.
        is_written: Whether the file has every binding that was learned.
    """
    keeps_bindings = same_file and not is_written
    return {name: state for name, state in kept.items() if name != BINDINGS or keeps_bindings}


def leave(stage: Stage, following: NextShow | None, before: Handover) -> Handover | None:
    """Collect what a show leaves to the next one; None if none follows. The stage closes the rest.

    A show that could not open gives back what it had from the one before, which is to play again.

    Args:
        stage: The show that ends.
        following: What is to play.
        before: What the stage itself was left.
    """
    show = following.show if following else before.show
    if show is None or (following is None and stage.output is not None):
        return None
    player = stage.transition.release()
    is_usable = player is not None and player.ready and not player.fallen and player.failure is None
    same_file = show.file == stage.show.file
    look = stage.automation.current_look(stage.recipes.playing.recipe)
    left = Handover(
        look=merged_look(look, stage.show, show) if following is None or following.keeps_look else None,
        sinks=stage.outputs.release(show) if _same_output(stage.show, show) else [], size=stage.show.size,
        fps=stage.show.fps, player=player if is_usable else None, engine=_engine_of(stage.show),
        output=stage.output or before.output, undimmed=stage.picture.undimmed if stage.output else before.undimmed,
        ticks=stage.ticks, kept=kept_by_desk(stage.desk.kept, same_file, not stage.show_file.unwritten),
        audience=stage.audience.kept if same_file else None,
        metrics=stage.metrics, show=stage.show, stopped=stage.engines.players.stopped,
        desk=stage.desk.release() if _same_ports(stage.show, show) else DeskLeft(),
    )
    if player is not None and not is_usable:
        player.stop()
    left.hold()
    return left


def _same_ports(one: Show, other: Show) -> bool:
    return (one.desk_options, one.network) == (other.desk_options, other.network)


def _same_output(one: Show, other: Show) -> bool:
    return (one.size, one.fps) == (other.size, other.fps)
