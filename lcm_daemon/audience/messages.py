"""Messages between the stage and the audience server, its child.

Pixels cross in the channel's frame slots, one slot a seat: `slots.outputs[seat]` holds the visitor's camera frame on
its way to the stage, `slots.inputs[seat]` the rendered picture on its way to the server. Each is RGBA of the show's
size. A slot belongs to the side that was last sent its number: the server writes a camera frame and sends `SeatFrame`,
and writes the next one only after `FrameRead`; the stage writes a picture and sends `SeatPicture`, and writes the next
one only after `PictureRead`. Each `SeatFrame` is answered by one `FrameRead` and each `SeatPicture` by one
`PictureRead`, also when its session has left in between: slots belong to seats, not to sessions. The receiver copies
the pixels before it answers, and uses them only if their session still holds the seat.

`FrameRead` and `SeatPicture` need no credit, for no more than one a seat is unanswered. Every other message of the
stage takes one `Credit`, as the desk's updates do. Beside these messages the server sends `Ready` (its report is the
address that visitors open, as far as the server knows it), `Failed` and `Credit` of `processes/protocol`.

A session's number is short and public. The secret of its cookie never leaves the server, except inside `Kept`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lcm_daemon.core.parameters import Table, Value

State = Literal["waiting", "called", "active", "ended"]
Action = Literal["skip", "extend", "block", "close", "open"]
MOST_WAITING = 64  # sessions that wait, of which the stage is told


# --- the audience server to the stage ---


@dataclass(frozen=True)
class SeatTaken:
    """A session takes a seat, which was free. The same session may send it again, when its camera starts or stops.

    Args:
        seat: Place of the seat, counted from 0.
        session: Number of the session, from 1; no number is used twice.
        uses_camera: Whether the session sends frames; otherwise its input is the show's source.
    """

    seat: int
    session: int
    uses_camera: bool


@dataclass(frozen=True)
class SeatValues:
    """What a session sets.

    Args:
        values: Coerced values by parameter name; only those that the show lists. They glide as on the stage.
    """

    seat: int
    session: int
    values: Mapping[str, Value]


@dataclass(frozen=True)
class SeatFrame:
    """`slots.outputs[seat]` holds a frame of the session's camera.

    Args:
        number: Counts the session's frames up, from 0.
        time: When it arrived, in monotonic seconds (`core.clock.MonotonicClock`).
    """

    seat: int
    session: int
    number: int
    time: float


@dataclass(frozen=True)
class PictureRead:
    """The server has copied the picture out of `slots.inputs[seat]`."""

    seat: int


@dataclass(frozen=True)
class SeatLeft:
    """The session has left its seat, which is free now. Nothing of the session may stay on the stage."""

    seat: int
    session: int


@dataclass(frozen=True)
class SessionRow:
    """A session, as the performer sees it.

    Args:
        number: Number of the session.
        state: "waiting" in the queue, "called" to a seat that it has not taken yet, "active", or "ended".
        seat: Its seat, counted from 0; -1 if it has none.
        seconds_left: Until its turn ends; 0 if it has no seat.
        wait: Expected seconds until its turn; 0 if it has a seat.
        prompt: What it has set as its prompt; may be empty.
    """

    number: int
    state: State
    seat: int = -1
    seconds_left: float = 0.0
    wait: float = 0.0
    prompt: str = ""


@dataclass(frozen=True)
class SessionList:
    """The sessions. Sent every second, also unchanged: it shows that the server lives.

    Args:
        rows: Every session that has a seat, and the first MOST_WAITING of those that wait, in the order of the queue.
        is_open: Whether new visitors are accepted.
        counts: Counters for the status and `/health`, such as {"joins": 12, "refused/full": 3}, and times in ms.
        more: How many others wait.
    """

    rows: tuple[SessionRow, ...]
    is_open: bool = True
    counts: Mapping[str, int] = field(default_factory=dict)
    more: int = 0


@dataclass(frozen=True)
class Kept:
    """What a later server should know, which gets it with its `ServerConfig`. The server sends changes only.

    Args:
        state: Picklable; only the server reads the values. In a message, they replace those of the same keys, and None
            takes a key away. It holds secrets: it is neither logged nor stored.
    """

    state: Mapping[str, Any]

    def updated(self, changes: Kept) -> Kept:
        """With these changes."""
        return Kept({key: value for key, value in {**self.state, **changes.state}.items() if value is not None})


@dataclass(frozen=True)
class AudienceReport:
    """An event that the performer should see, as one line, such as "session 7: the prompt holds a blocked word"."""

    text: str


# --- the stage to the audience server ---


@dataclass(frozen=True)
class FrameRead:
    """The stage has copied the frame out of `slots.outputs[seat]`."""

    seat: int


@dataclass(frozen=True)
class SeatPicture:
    """`slots.inputs[seat]` holds the newest picture of a session. Of several the stage sends the newest only.

    Args:
        number: Counts the pictures of a session up; gaps are pictures that were not sent.
        time: When its input was captured, in monotonic seconds.
        verdict: Whether the picture may be shown: it has passed the safety checker, or the show uses none. A server
            shows no picture without it.
    """

    seat: int
    session: int
    number: int
    time: float
    verdict: bool = True


@dataclass(frozen=True)
class SharedTable:
    """What visitors may set, at the start and when another recipe plays.

    Args:
        parameters: The listed parameters that the recipe has, as the page gets them: defaults are the show's values.
        values: The stage's own values of them at this moment, which a new session starts with.
    """

    parameters: Table
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Performer:
    """What the performer asks for.

    Args:
        action: "skip" ends a session's turn, "extend" prolongs it, "block" ends it and refuses its visitor for the rest
            of the show, "close" refuses new visitors (those who wait keep their places), "open" accepts them again.
        session: Number of the session; 0 for "close" and "open".
        seconds: For "extend".
    """

    action: Action
    session: int = 0
    seconds: float = 0.0
