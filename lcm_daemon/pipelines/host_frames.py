"""HostFrames: frames of devices that compute one after the other, while the host waits: CPU and MPS."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lcm_daemon.core.frame import Size
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.base import Finished, Pending
from lcm_daemon.pipelines.frame_job import FrameJob
from lcm_daemon.pipelines.frame_model import FrameModel
from lcm_daemon.pipelines.image_io import FrameConverter
from lcm_daemon.pipelines.safety import SafetyFilter
from lcm_daemon.pipelines.upscaling import Upscaler


class HostFrames:
    """Renders each frame while it is submitted.

    Args:
        model: The loaded model.
        size: Output size, (width, height).
        safety: The recipe's safety filter.
        upscaler: Enlarges the rendered images.
    """

    def __init__(self, model: FrameModel, size: Size, safety: SafetyFilter | None, upscaler: Upscaler) -> None:
        self._model, self._safety, self._upscaler = model, safety, upscaler
        device, dtype = model.components.device, model.components.dtype
        self._converter, self._guides = (FrameConverter(size, model.size, device, dtype) for _ in range(2))
        self._stopwatch = devices.Stopwatch(device)

    def submit(self, job: FrameJob) -> Pending:
        """Render a frame."""
        self._stopwatch.start()
        image = self._converter.to_image(job.frame)
        plan = self._model.prepare(job.values, job.strength, job.guide is not None)
        self._model.numbers.send()
        for _, work in self._model.changes():
            work()
        is_guided = plan.uses_guide and job.guide is not None
        guide = self._guides.to_image(job.guide) if is_guided and job.guide is not None else None
        rendered = self._model.run(plan, image, guide, self._stopwatch.mark)
        enlarged = self._upscaler.run(rendered, self._upscaler.prepare(job.values.upscale))
        is_good = self._converter.to_frame(enlarged, job.mix, job.out)
        is_rejected = is_good and self._safety is not None and self._is_rejected(self._safety, rendered, job)
        job.shown.show(job.out, not is_good, is_rejected, job.is_kept)
        self._stopwatch.mark("decode")
        return Finished(self._stopwatch.seconds())

    def forget(self) -> None:
        """Drop the last good picture: something else was shown since."""
        self._converter.clear()

    def save(self) -> Any:
        """As of `Remembering`: the last good picture."""
        return self._converter.save()

    def restore(self, saved: Any) -> None:
        """As of `Remembering`."""
        self._converter.restore(saved)

    def _is_rejected(self, safety: SafetyFilter, rendered: Tensor, job: FrameJob) -> bool:
        if safety.verdict(rendered):
            return True
        return job.judges_mixture and bool(safety.verdict(self._converter.to_image(job.out)))
