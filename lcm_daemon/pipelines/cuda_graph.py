"""CUDA graphs: a whole frame recorded once and launched as one, for each way of painting that has been asked for.

The rules are those of torch's documentation, "CUDA semantics: CUDA Graphs": what is recorded must have run before on a
side stream that the current one waits for; it reads and writes memory that stays where it is, launches the same kernels
every time, and neither asks the device for a value nor lets the host wait. Each graph has a memory pool of its own.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

log = logging.getLogger(__name__)

KEPT = 4  # graphs; each holds the memory of one frame's passes
WARM_UPS = 3  # runs before the recording: lazy initialisation, cuDNN's and Triton's choice of kernels

Work = Callable[..., Tensor]  # from its inputs; whatever else it reads or writes are tensors that stay
Inputs = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: Inputs  # where the recorded kernels read
    output: Tensor

    def play(self, inputs: Inputs) -> Tensor:
        for place, tensor in zip(self.inputs, inputs, strict=True):
            if place is not None and tensor is not None:
                place.copy_(tensor)
        self.graph.replay()
        return self.output


class CudaGraphs:
    """The recordings of one pipeline, the most recently used kept. For the thread that renders, and no other.

    kept: how many at most.
    """

    def __init__(self, device: torch.device, kept: int = KEPT) -> None:
        self._device, self._kept = device, kept
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._refused: set[Hashable] = set()
        self._side: torch.cuda.Stream | None = None

    def run(self, key: Hashable, work: Work, *inputs: Tensor | None) -> Tensor:
        """What `work` gives for `inputs`, by one launch where it has been recorded. The next run writes it anew.

        key: everything but the inputs' shapes that decides which kernels `work` launches and on which memory: the mode,
        the number of steps, what is switched on. Before a recording `work` runs WARM_UPS times, so state that it keeps
        from frame to frame moves on by as many. On other devices than CUDA, `work` is simply called.
        """
        key = key, tuple(None if tensor is None else (tensor.shape, tensor.dtype) for tensor in inputs)
        if self._device.type != "cuda" or key in self._refused:
            return work(*inputs)
        recording = self._recordings.get(key) or self._record(key, work, inputs)
        if recording is None:
            return work(*inputs)
        self._recordings.move_to_end(key)
        return recording.play(inputs)

    def forget(self) -> None:
        """Let go of all recordings: memory that they read has moved, or modules were exchanged."""
        self._recordings.clear()
        self._refused.clear()

    def _record(self, key: Hashable, work: Work, inputs: Inputs) -> _Recording | None:
        """Warm up and record, which runs nothing; None for what cannot be recorded, and is not tried again."""
        places = tuple(None if tensor is None else tensor.clone() for tensor in inputs)
        self._warm_up(work, places)
        while len(self._recordings) >= self._kept:
            self._recordings.popitem(last=False)
        graph = torch.cuda.CUDAGraph()
        try:
            # Threads beside this one (the safety checker's) may go on allocating.
            with torch.cuda.graph(graph, stream=self._side, capture_error_mode="thread_local"):
                output = work(*places)
        except RuntimeError as error:
            self._refused.add(key)
            lines = str(error).strip().splitlines() or [type(error).__name__]
            log.warning("the frame cannot be recorded as a CUDA graph and plays without: %.200s", lines[0])
            return None
        self._recordings[key] = _Recording(graph, places, output)
        return self._recordings[key]

    def _warm_up(self, work: Work, inputs: Inputs) -> None:
        if self._side is None:
            self._side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(self._device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            for _ in range(WARM_UPS):
                work(*inputs)
        current.wait_stream(self._side)
