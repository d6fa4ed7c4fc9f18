"""BetweenFrames: fills the slots of a request that are for pictures between the result before and its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.pipelines.base import Pipeline
from lcm_daemon.processes.frame_slots import FrameSlots
from lcm_daemon.processes.protocol import FrameRequest

if TYPE_CHECKING:
    from lcm_daemon.pipelines.interpolation import Interpolator

log = logging.getLogger(__name__)


class BetweenFrames:
    """Follows the finished frames of the stage's own picture. For the thread that waits for frames.

    What makes the pictures is built in the background when a request first wants them. Until then there are none.

    Args:
        pipeline: Renders the frames.
        slots: Where they are.
    """

    def __init__(self, pipeline: Pipeline, slots: FrameSlots) -> None:
        self._pipeline, self._slots = pipeline, slots
        self._builder: threading.Thread | None = None
        self._interpolator: Interpolator | None = None

    def fill(self, request: FrameRequest) -> float:
        """Fill the further slots of a request whose frame is finished.

        Returns:
            The seconds that it took; 0 if they are not filled: the request has none, or no pictures belong there.
        """
        if request.session:
            return 0.0
        if not request.between:
            if self._interpolator is not None:
                self._interpolator.forget()
            return 0.0
        if self._builder is None:
            self._builder = threading.Thread(target=self._build, name="interpolator", daemon=True)
            self._builder.start()
        if self._interpolator is None:
            return 0.0
        begun, outputs = time.perf_counter(), self._slots.outputs
        made = self._interpolator.make(outputs[request.slot], [outputs[slot] for slot in request.between])
        return time.perf_counter() - begun if made else 0.0

    def _build(self) -> None:
        try:
            self._interpolator = self._pipeline.interpolator()
        except (LcmDaemonError, OSError) as error:
            log.warning("interpolate: %s; no pictures are made between the rendered ones", error)
