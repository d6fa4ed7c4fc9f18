"""What a player knows of each session whose frames it renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Value
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.result_order import ResultOrder

INTERPOLATE = "interpolate"
# These use earlier frames above that.
_MEMORY = {"feedback": 0, "smooth": 0, "steady": 0, "similarity_skip": 0, INTERPOLATE: 1}


@dataclass(frozen=True)
class RenderInput:
    """What a frame is rendered from. Two equal inputs would give the same result twice.

    Args:
        frame: The newest input frame.
        guide: The newest frame of the second source, None where there is none.
        values: Every parameter's value at this moment.
        tick: Number of the tick where each tick gives another result (walking noise, feedback, ...), else 0.
        session: Whose picture it is: "" for the stage's own, else the number of a visitor's session.
    """

    frame: Frame
    guide: Frame | None
    values: Mapping[str, Value | Blend]
    tick: int = 0
    session: str = ""


@dataclass
class SessionFrames:
    """The frames of one session.

    Attributes:
        sent: The last input that was sent.
        pid: Process id of the engine that got it.
        number: Its number; -1 before the first.
        order: Puts its results in order.
        result: The newest result, until it is read; the stage's own picture is kept by the player.
        bound: Process id of the engine that keeps the session's memory; 0 where its frames need none.
        current_at: When its newest result arrived, or was last known to be what its newest input gives.
    """

    sent: RenderInput | None = None
    pid: int = 0
    number: int = -1
    order: ResultOrder = field(default_factory=ResultOrder)
    result: Frame | None = None
    bound: int = 0
    current_at: float = 0.0

    def has_had(self, request: RenderInput, pids: set[int]) -> bool:
        """Whether an equal input was sent last, to an engine that still runs (`pids`)."""
        return request == self.sent and self.pid in pids

    @property
    def owes_nothing(self) -> bool:
        """Whether the newest result is of the last input that was sent."""
        return self.number >= 0 and self.order.released == self.number

    def note_sent(self, request: RenderInput, number: int, pid: int, expected: float) -> None:
        """Note an input that an engine got. expected: when its result should come, in monotonic seconds."""
        self.sent, self.number, self.pid = request, number, pid
        self.order.note_sent(number, pid, expected)


def keeps_memory(recipe: Recipe, values: Mapping[str, Value | Blend], session: str = "") -> bool:
    """Whether a frame with these values needs what the same engine rendered before it for the same session.

    Pictures between two rendered ones are made for the stage's own picture (session "") alone.
    """
    found = what_keeps_memory(recipe, values)
    return bool(found) and not (session and found == [INTERPOLATE])


def what_keeps_memory(recipe: Recipe, values: Mapping[str, Value | Blend]) -> list[str]:
    """What binds a session with these values to one engine, in the words of a show; empty where nothing does."""
    found = [name for name, off in _MEMORY.items()
             if isinstance(value := values.get(name, 0.0), int | float) and value > off]
    if values.get("noise") == "walking":
        found.append("noise: walking")
    return [*found, "stream_batch"] if recipe.stream_batch else found
