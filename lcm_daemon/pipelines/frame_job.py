"""FrameJob: one frame on its way through a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lcm_daemon.core.frame import Pixels
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.pipelines.shown_frames import ShownFrames


@dataclass(frozen=True, slots=True)
class FrameJob:
    """A frame that has to be rendered.

    frame, guide: uint8 (H, W, 4).
    out: Where the result goes, uint8 (H, W, 4).
    strength, mix: Those in force.
    session: What it belongs to, as of `Pipeline.submit`.
    shown: What is shown of that session.
    """

    frame: Pixels
    guide: Pixels | None
    out: Pixels
    values: FrameValues
    strength: float
    mix: float
    session: str
    shown: ShownFrames

    @property
    def judges_mixture(self) -> bool:
        """Whether the safety checker judges not only what was rendered: a visitor also sees some of the input."""
        return bool(self.session) and self.mix < 1.0

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
