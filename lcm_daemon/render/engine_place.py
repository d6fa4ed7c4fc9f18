"""EnginePlace: where an engine runs, and the process that is started for it.

A local engine is a process of this machine, `render.engine.run`. For an engine on a Ray cluster the stage starts a
relay process in its place, which speaks Ray:

    lcm_daemon/render/remote_engine.py
    def run(endpoint: ChildEndpoint, place: EnginePlace, pipeline: str, spare: bool, log_levels: LogLevels) -> None

The relay opens a `ChildChannel` as an engine does. It receives `LoadRecipe` once, then `FrameRequest` and
`EndSession`, until `receive` returns None; it sends `Progress`, `Ready` (whose `node` names the machine), `Credit`,
`FrameResult`, `DeviceMemory` and, as its last message, `Failed`. `spare` is always False: a waiting process of this
machine would save nothing. While it waits for a node it sends a `Progress` every few seconds, or it counts as hung.
The module is imported by the stage, so it imports ray inside of `run` only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from lcm_daemon.core.frame import Size
from lcm_daemon.processes.bootstrap import log_levels
from lcm_daemon.processes.child import Child
from lcm_daemon.recipes.recipe import MAX_IN_FLIGHT
from lcm_daemon.render import engine

_REMOTE = "lcm_daemon.render.remote_engine"
RAW, JPEG = "raw", "jpeg"
WIRES = (RAW, JPEG)  # how frames travel to a cluster and back


@dataclass(frozen=True)
class EnginePlace:
    """Where one engine runs.

    Args:
        device: Device, as in recipes; "" for what the recipe says.
        ray: Address of a Ray cluster, such as "10.0.0.5:10001", or "auto" for the one that this machine belongs to;
            "" for a process of this machine.
        gpus: GPUs that an engine on the cluster claims; may be a fraction.
        number: Tells engines of one device or cluster apart, from 0.
        wire: One of WIRES: JPEG where the network is the limit.
        token: Whether the cluster must authenticate by token.
    """

    device: str = ""
    ray: str = ""
    gpus: float = 0.0
    number: int = 0
    wire: str = RAW
    token: bool = True

    @property
    def is_remote(self) -> bool:
        return bool(self.ray)

    @property
    def name(self) -> str:
        """For log lines and the page: "cuda:0", "cpu 2", "ray 1"; "" for the only engine of a show."""
        kind = "ray" if self.ray else self.device
        return f"{kind} {self.number + 1}" if self.ray or self.number else kind


def start_engine(place: EnginePlace, size: Size, pipeline: str, guided: bool, spare: bool = False) -> Child:
    """Start the process of an engine.

    Args:
        place: Where it runs.
        size: (width, height) of the frames in pixels.
        pipeline: Name of the pipeline whose libraries it imports.
        guided: Whether frames may come with a guide frame.
        spare: It imports at low priority, and waits for its recipe.

    Raises:
        OSError: The system has no memory, process or file left.
    """
    slots = MAX_IN_FLIGHT + 1
    if not place.is_remote:
        return Child("lcm-engine", engine.run, size, pipeline, spare, log_levels(), guided=guided, slots=slots)
    run: Callable[..., None] = importlib.import_module(_REMOTE).run
    return Child("lcm-relay", run, size, place, pipeline, spare, log_levels(), guided=guided, slots=slots)
