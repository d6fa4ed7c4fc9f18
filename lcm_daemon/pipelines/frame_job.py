"""FrameJob: one frame on its way through a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lcm_daemon.core.frame import Pixels
from lcm_daemon.pipelines.base import FrameValues


@dataclass(frozen=True, slots=True)
class FrameJob:
    """A frame that has to be rendered.

    frame, guide: uint8 (H, W, 4).
    out: Where the result goes, uint8 (H, W, 4).
    strength, mix: Those in force, mix above 0.
    """

    frame: Pixels
    guide: Pixels | None
    out: Pixels
    values: FrameValues
    strength: float
    mix: float

    @property
    def is_kept(self) -> bool:
        """Whether the result may be shown again later."""
        return self.values.similarity_skip > 0.0


@dataclass(frozen=True, slots=True)
class Unrendered:
    """A frame for which nothing is rendered. `show` writes it when its turn comes: the frames before it are shown."""

    show: Callable[[], None]

    def wait(self) -> dict[str, float]:
        self.show()
        return {}
