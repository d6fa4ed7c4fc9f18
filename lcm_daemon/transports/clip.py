"""What the file source plays: a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from lcm_daemon.core.frame import Pixels

ReportDamage = Callable[[Path, str], None]  # takes a damaged file and one line about it
Note = Callable[[str], None]  # takes one line for the log, which is written once


class Clip(Protocol):
    """Frames that can be played repeatedly."""

    interval: float  # seconds from the last frame to the end
    pixel_aspect: float  # width : height of a pixel of the frame that `pixels` has converted last

    def play(self) -> Iterator[tuple[float, Any]]:
        """Yield (seconds since the start, frame) for one pass; raises TransportError if it finds none."""

    def pixels(self, frame: Any) -> Pixels:
        """Convert a frame of `play` to uint8 (H, W, 4)."""

    def close(self) -> None: ...
