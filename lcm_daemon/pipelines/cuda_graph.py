"""CUDA graphs: a whole frame recorded once and launched as one, for each way of painting that has been asked for.

The rules are those of torch's documentation, "CUDA semantics: CUDA Graphs": what is recorded must have run before on a
side stream that the current one waits for; it reads and writes memory that stays where it is, launches the same kernels
every time, and neither asks the device for a value nor lets the host wait.

All graphs share one memory pool: they never play at the same time, each makes anew whatever it reads from the pool, and
what it leaves there is read before the next one plays. So their order does not matter, and many need little more memory
than one.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

KEPT = 16  # graphs: one to eight steps in two modes
WARM_UPS = 3  # frames before the recording: lazy initialisation, cuDNN's and Triton's choice of kernels

Work = Callable[[], Tensor]  # whatever it reads or writes are tensors that stay


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    output: Tensor


class CudaGraphs:
    """The recordings of one pipeline, the most recently used kept. For the thread that renders, and no other.

    kept: how many at most.
    """

    def __init__(self, device: torch.device, kept: int = KEPT) -> None:
        self._device, self._kept = device, kept
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._warmed: Counter[Hashable] = Counter()
        self._refused = False
        self._side: torch.cuda.Stream | None = None
        self._pool: Any = None

    def run(self, key: Hashable, work: Work) -> Tensor:
        """What `work` gives: it is run once, or launched as it was recorded. The next run may write it anew.

        key: everything that decides which kernels `work` launches and on which memory: the mode, the number of steps,
        what is switched on. The first WARM_UPS runs of a key are its warm-ups, the next one records it.
        """
        recording = self._recordings.get(key)
        if recording is not None:
            self._recordings.move_to_end(key)
            recording.graph.replay()
            return recording.output
        if self._device.type != "cuda" or self._refused:
            return work()
        if self._warmed[key] < WARM_UPS:
            self._warmed[key] += 1
            return self._run_aside(work)
        return self._record(key, work)

    def forget(self) -> None:
        """Let go of all recordings: memory that they read has moved, or modules were exchanged."""
        self._recordings.clear()
        self._warmed.clear()
        self._refused = False

    def _run_aside(self, work: Work) -> Tensor:
        """On the stream that is recorded later. Its memory is used again by the next run there, which waits."""
        if self._side is None:
            self._side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(self._device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            output = work()
        current.wait_stream(self._side)
        return output

    def _record(self, key: Hashable, work: Work) -> Tensor:
        """Recording runs nothing; the frame itself is the first replay."""
        while len(self._recordings) >= self._kept:
            self._recordings.popitem(last=False)
        if not self._recordings:  # a pool that no graph holds any more cannot be taken up again
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            output = self._capture(graph, work)
        except RuntimeError as error:
            self._refuse(error)
            return work()
        self._recordings[key] = _Recording(graph, output)
        graph.replay()
        return output

    def _capture(self, graph: torch.cuda.CUDAGraph, work: Work) -> Tensor:
        """Other threads may go on allocating.

        Where the end of a recording fails, torch leaves its stream the current one: the outer context puts it back.
        """
        with (torch.cuda.stream(torch.cuda.current_stream(self._device)),
              torch.cuda.graph(graph, pool=self._pool, stream=self._side, capture_error_mode="thread_local")):
            return work()

    def _refuse(self, error: RuntimeError) -> None:
        """Record nothing more: torch's allocator does not get over a failed recording. What there is still plays."""
        self._refused = True
        cause = error.__context__ or error  # ending a recording that something broke raises once more
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        log.warning("the frame cannot be recorded as a CUDA graph and plays without: %.200s", lines[0])
