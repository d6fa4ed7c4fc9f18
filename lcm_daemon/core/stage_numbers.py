"""StageNumbers: what the stage measures, as the desk gets it for `/metrics`, `/livez` and `/readyz`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lcm_daemon.core.metrics import Histogram


@dataclass(frozen=True)
class StageNumbers:
    """What the stage measures. Times are monotonic seconds, which all processes of a machine share.

    Attributes:
        at: When these numbers were collected.
        counts: Counters of the stage by path.
        desk_counts: Those of the desk, and of the desks before it.
        durations: Every duration that was recorded, by path, in seconds.
        alarms: Causes of the present alarms.
        output_at: When a frame last reached a sink; without a sink, when one was last chosen. None before the first.
        sinks: The same of each sink that is on, by its label.
        picture_age: Seconds for which the picture that goes out is out of date; None before the first result.
        input_age: The same of the source's newest frame; None before the first.
        ticks: Frames that the stage has chosen for the output.
        missed: Frames that it has skipped because it was late.
        fps: Frames a second that the output is to have.
        is_open: Whether the show is to be seen at present.
        pids: The process ids by what the processes are: "stage", "desk", or an engine's name.
        memory: Bytes that each engine uses of its device, and bytes in total.
    """

    at: float
    counts: Mapping[str, int] = field(default_factory=dict)
    desk_counts: Mapping[str, int] = field(default_factory=dict)
    durations: Mapping[str, Histogram] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    output_at: float | None = None
    sinks: Mapping[str, float | None] = field(default_factory=dict)
    picture_age: float | None = None
    input_age: float | None = None
    ticks: int = 0
    missed: int = 0
    fps: float = 0.0
    is_open: bool = True
    pids: Mapping[str, int] = field(default_factory=dict)
    memory: Mapping[str, tuple[int, int]] = field(default_factory=dict)
