"""FrameTransfer: frames to the device and back, beside the computation of other frames.

Uploads, computation and downloads have a stream each, in the order that events give:

    upload of frame k      waits until frame k - 2 is computed (they share the input row)
    computation of frame k waits for its upload, and until frame k - 2 is downloaded (the output row)
    download of frame k    waits until frame k is computed

Frames lie in memory that is registered with the driver, and are copied directly. Frames elsewhere pass through pinned
memory.
"""

from __future__ import annotations

import sys
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.pipelines.device import Stopwatch
from lcm_daemon.pipelines.device_images import ROWS, DeviceImages
from lcm_daemon.pipelines.host_memory import RegisteredMemory


class _Row:
    """The events of one row of the buffers: the last upload to it, computation with it, download from it."""

    def __init__(self) -> None:
        self.uploaded, self.computed, self.downloaded = (
            torch.cuda.Event() for _ in range(3))  # type: ignore[no-untyped-call]


class Flight:
    """What one frame under way needs for itself.

    Attributes:
        row: Row of the device's buffers that it uses.
        watch: Measures its computation.
    """

    def __init__(self, device: torch.device) -> None:
        self.row = 0
        self.watch = Stopwatch(device)
        # A blocking event lets the waiting thread sleep; another one keeps a core busy.
        self.done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self.verdicts = torch.zeros(2, dtype=torch.uint8, pin_memory=True)
        self.landing: Tensor | None = None  # where the picture lands, if not where it is wanted
        self._pinned: dict[str, Tensor] = {}

    def pinned(self, name: str, like: Tensor) -> Tensor:
        """Pinned memory for a frame that lies elsewhere, always the same for a name."""
        if name not in self._pinned:
            self._pinned[name] = torch.zeros(like.shape, dtype=like.dtype, pin_memory=True)
        return self._pinned[name]


class FrameTransfer:
    """The streams of uploads and downloads, and the frames that are under way.

    `begin`, `upload` and `download` are called by the submitting thread; the current stream is that of computation.
    `wait` and `end` may be called by another thread.

    Args:
        images: Their buffers are uploaded to and downloaded from.
        device: The CUDA device.
        in_flight: Largest number of frames under way.
    """

    def __init__(self, images: DeviceImages, device: torch.device, in_flight: int) -> None:
        self._images, self._device = images, device
        self._up, self._down = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]
        self._rows = [_Row() for _ in range(ROWS)]
        for stream in (self._up, self._down):  # the buffers must be zeroed before they are written to
            stream.wait_stream(torch.cuda.current_stream(device))
        self._free = deque(Flight(device) for _ in range(in_flight))
        self._row = 0
        self._memory: RegisteredMemory | None = None

    def use_memory(self, memory: NDArray[np.uint8]) -> None:
        """Copy frames in this memory directly."""
        self._memory = RegisteredMemory(memory)

    def close(self) -> None:
        """Unregister the memory."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def begin(self) -> Flight:
        """Begin a frame."""
        if not self._free:
            raise EngineError("more frames are under way than the pipeline allows")
        flight = self._free.pop()
        self._row = (self._row + 1) % ROWS
        flight.row = self._row
        return flight

    def upload(self, flight: Flight, frame: Pixels | None, guide: Pixels | None) -> None:
        """Launch the copies of what was given, and let the computation wait for them."""
        row, current = self._rows[flight.row], torch.cuda.current_stream(self._device)
        current.wait_event(row.downloaded)
        if frame is None and guide is None:
            return
        self._up.wait_event(row.computed)
        with torch.cuda.stream(self._up):
            for name, pixels, rows in (("frame", frame, self._images.inputs), ("guide", guide, self._images.guides)):
                if pixels is not None:
                    rows[flight.row].copy_(self._source(flight, name, pixels, rows[flight.row]), non_blocking=True)
        row.uploaded.record(self._up)
        current.wait_event(row.uploaded)

    def download(self, flight: Flight, out: Pixels) -> None:
        """Launch the copy of the finished frame to `out`, in the order of what was launched on the current stream."""
        row, images = self._rows[flight.row], self._images
        row.computed.record(torch.cuda.current_stream(self._device))
        self._down.wait_event(row.computed)
        target = self._find(out)
        flight.landing = None
        if target is None:
            target = flight.landing = flight.pinned("out", images.outputs[0])
        with torch.cuda.stream(self._down):
            target.copy_(images.outputs[flight.row], non_blocking=True)
            flight.verdicts.copy_(images.verdicts[flight.row], non_blocking=True)
        row.downloaded.record(self._down)
        flight.done.record(self._down)
        if sys.platform == "win32":
            # Windows (WDDM) collects work until it is asked for its end. The frame before this one is waited for first.
            flight.done.query()  # type: ignore[no-untyped-call]

    def wait(self, flight: Flight, out: Pixels) -> tuple[bool, bool]:
        """Wait until the frame is in `out`; return its verdicts: broken, rejected."""
        if self._device.index:  # a new thread is on the first card, where CUDA may open a context
            torch.cuda.set_device(self._device)
        flight.done.synchronize()
        if flight.landing is not None:
            np.copyto(out, flight.landing.numpy())
        broken, rejected = flight.verdicts.tolist()
        return bool(broken), bool(rejected)

    def end(self, flight: Flight) -> None:
        """End a frame: another one may use its events and memory."""
        self._free.append(flight)

    def _source(self, flight: Flight, name: str, pixels: Pixels, like: Tensor) -> Tensor:
        found = self._find(pixels)
        if found is None:
            found = flight.pinned(name, like)
            np.copyto(found.numpy(), pixels)
        return found

    def _find(self, pixels: Pixels) -> Tensor | None:
        return None if self._memory is None else self._memory.find(pixels)
