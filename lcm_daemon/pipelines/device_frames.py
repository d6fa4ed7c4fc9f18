"""DeviceFrames: frames of a CUDA device. Several are under way, and the host waits only for finished pictures.

A frame is: its upload on a stream of its own, one small copy of the numbers that have changed, one replay of a
recording on the current stream, its download on a third stream. Events order the streams. Nothing else is launched,
except for what has just changed: a LoRA's weights, a prompt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.pipelines.base import Pending
from lcm_daemon.pipelines.cuda_graph import CudaGraphs
from lcm_daemon.pipelines.device_images import ROWS, DeviceImages
from lcm_daemon.pipelines.frame_job import FrameJob
from lcm_daemon.pipelines.frame_model import FrameModel, FramePlan, Mark
from lcm_daemon.pipelines.frame_transfer import Flight, FrameTransfer
from lcm_daemon.pipelines.safety import SafetyFilter
from lcm_daemon.pipelines.upscaling import Upscaler


class DeviceFrames:
    """Launches frames.

    Args:
        model: The loaded model.
        size: Output size, (width, height).
        safety: The recipe's safety filter.
        upscaler: Enlarges the rendered images.
        in_flight: Largest number of frames under way.
        recorded: Record frames as CUDA graphs; else each frame launches its kernels one by one.

    Attributes:
        transfer: Uploads and downloads.
        graphs: The recordings of frames.
        change_graphs: The recordings of what runs before a frame when something has changed.
    """

    def __init__(self, model: FrameModel, size: Size, safety: SafetyFilter | None, upscaler: Upscaler, in_flight: int,
                 recorded: bool) -> None:
        self._model, self._safety, self._upscaler = model, safety, upscaler
        device = model.components.device
        self._images = DeviceImages(size, model.size, device, model.components.dtype, model.numbers)
        self.transfer = FrameTransfer(self._images, device, in_flight)
        self._uploaded_for: list[str | None] = [None] * ROWS  # whose input lies in each row
        self.graphs = CudaGraphs(device) if recorded else None
        self.change_graphs = CudaGraphs(device) if recorded else None

    def submit(self, job: FrameJob) -> Pending:
        """Launch a frame."""
        flight = self.transfer.begin()
        has_input = self._has_input(job, flight.row)
        plan = self._model.prepare(job.values, job.strength, job.guide is not None)
        self._images.prepare(flight.row, job.mix, has_input)
        guide = job.guide if plan.uses_guide else None
        self.transfer.upload(flight, job.frame if has_input else None, guide)
        self._model.numbers.send()
        for key, work in self._model.changes():
            if self.change_graphs is None or key is None:
                work()
            else:
                self.change_graphs.launch(key, work)
        flight.watch.start()
        self._launch(plan, self._upscaler.prepare(job.values.upscale), flight.watch.mark)
        if self._safety and job.judges_mixture:
            self._images.reject(flight.row, self._safety.verdict(self._images.to_seen(flight.row)))
        flight.watch.mark("decode")
        self.transfer.download(flight, job.out)
        return _DeviceFrame(job, flight, self.transfer, has_input)

    def forget(self) -> None:
        """Drop the last good picture: something else was shown since."""
        self._images.forget()

    def save(self) -> Any:
        """As of `Remembering`: the last good picture."""
        return self._images.save()

    def restore(self, saved: Any) -> None:
        """As of `Remembering`."""
        self._images.restore(saved)

    def _has_input(self, job: FrameJob, row: int) -> bool:
        """Whether to upload the input: the frame needs it, or its row holds that of another session.

        A broken picture before the first good one shows what lies in the row.
        """
        is_needed = job.mix < 1.0 or self._model.reads_input(job.values)
        if is_needed or self._uploaded_for[row] not in (None, job.session):
            self._uploaded_for[row] = job.session
            return True
        return False

    def _launch(self, plan: FramePlan, passes: int, mark: Mark) -> None:
        if self.graphs is None or not plan.controls.is_recordable:
            self._run(plan, passes, mark)
            return
        key = plan.key, passes, self._model.acceleration.installs, self._model.acceleration.bypassed
        self.graphs.launch(key, lambda: self._run(plan, passes, lambda part: None))

    def _run(self, plan: FramePlan, passes: int, mark: Mark) -> Tensor:
        """What is recorded: from the uploaded bytes to those that are downloaded. passes: of the upscaler."""
        self._images.begin()
        image = self._images.to_image()
        guide = self._images.to_guide() if plan.uses_guide else None
        rendered = self._model.run(plan, image, guide, mark)
        verdict = self._safety.verdict(rendered) if self._safety else None
        return self._images.finish(self._upscaler.run(rendered, passes), verdict)


class _DeviceFrame:
    """A frame under way."""

    def __init__(self, job: FrameJob, flight: Flight, transfer: FrameTransfer, has_input: bool) -> None:
        self._job, self._flight, self._transfer, self._has_input = job, flight, transfer, has_input

    def wait(self) -> dict[str, float]:
        """Wait for the picture: the only wait of a frame."""
        job, flight = self._job, self._flight
        is_broken, is_rejected = self._transfer.wait(flight, job.out)
        if not self._has_input:
            _copy_alpha(job.frame, job.out)
        job.shown.show(job.out, is_broken, is_rejected, job.is_kept)
        seconds = flight.watch.seconds()
        self._transfer.end(flight)
        return seconds


def _copy_alpha(frame: Pixels, out: Pixels) -> None:
    """Copy the alpha of a frame that was not uploaded, if it is not 255 everywhere, as `out` has it."""
    if int(np.bitwise_and.reduce(frame.view("<u4"), axis=None)) >> 24 != 255:
        out[..., 3] = frame[..., 3]
