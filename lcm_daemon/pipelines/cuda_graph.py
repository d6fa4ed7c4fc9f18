"""CUDA graphs: a whole frame is recorded once and launched as one, for each combination of kernels that is used.

The rules are those of torch's documentation, "CUDA semantics: CUDA Graphs": what is recorded must have run before on a
side stream that the current one waits for. It reads and writes memory that keeps its address, launches the same kernels
every time, and neither reads a value from the device nor makes the host wait.

All graphs share one memory pool. They never run at the same time, each writes everything before it reads it from the
pool, and their output is read before the next one runs. So their order does not matter, and many graphs need little
more memory than one.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lcm_daemon.pipelines.load_errors import first_line

log = logging.getLogger(__name__)

GRAPHS_CACHED = 48  # one to eight steps in two modes, each with and without ControlNets or a second prompt
WARM_UPS = 3  # frames before the recording: lazy initialisation, kernel selection by cuDNN and Triton

Work = Callable[[], Tensor]  # reads and writes only tensors that keep their address


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    output: Tensor


class CudaGraphs:
    """The recorded graphs of one pipeline; the most recently used are cached. For the render thread only.

    Args:
        cached: The largest number of graphs.

    Attributes:
        refused: Why a frame could not be recorded; "" while every one could.
    """

    def __init__(self, device: torch.device, cached: int = GRAPHS_CACHED) -> None:
        self._device, self._cached = device, cached
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._warm_ups: Counter[Hashable] = Counter()
        self._is_disabled, self.refused = False, ""
        self._side: torch.cuda.Stream | None = None
        self._pool: Any = None

    @property
    def count(self) -> int:
        """Number of graphs."""
        return len(self._recordings)

    def launch(self, key: Hashable, work: Work) -> Tensor:
        """Return the result of `work`: run it, or launch its recording. The next launch may overwrite the result.

        The first WARM_UPS launches of a key only run `work`; the next one records it.

        Args:
            key: Everything that decides which kernels `work` launches and on which memory: the mode, the number of
                steps, what is switched on.
            work: Computes one frame.
        """
        recording = self._recordings.get(key)
        if recording is not None:
            self._recordings.move_to_end(key)
            recording.graph.replay()
            return recording.output
        if self._device.type != "cuda" or self._is_disabled:
            return work()
        if self._warm_ups[key] < WARM_UPS:
            self._warm_ups[key] += 1
            return self._run_on_side_stream(work)
        return self._record(key, work)

    def clear(self) -> None:
        """Drop all recordings: memory that they read has moved, or modules were replaced."""
        self._recordings.clear()
        self._warm_ups.clear()
        self._is_disabled = False

    def _run_on_side_stream(self, work: Work) -> Tensor:
        """Run on the stream that is recorded later. Its memory is reused by the next run there, which waits."""
        if self._side is None:
            self._side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(self._device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            output = work()
        current.wait_stream(self._side)
        return output

    def _record(self, key: Hashable, work: Work) -> Tensor:
        """Record and replay once: recording itself computes nothing."""
        while len(self._recordings) >= self._cached:
            self._recordings.popitem(last=False)
        if not self._recordings:  # a pool that no graph uses any more cannot be used again
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            output = self._capture(graph, work)
        except RuntimeError as error:
            self._disable(error)
            return work()
        self._recordings[key] = _Recording(graph, output)
        graph.replay()
        return output

    def _capture(self, graph: torch.cuda.CUDAGraph, work: Work) -> Tensor:
        """Capture; other threads may continue to allocate.

        Where the end of a capture fails, torch leaves its stream the current one. The outer context restores it.
        """
        with (torch.cuda.stream(torch.cuda.current_stream(self._device)),
              torch.cuda.graph(graph, pool=self._pool, stream=self._side, capture_error_mode="thread_local")):
            return work()

    def _disable(self, error: RuntimeError) -> None:
        """Record no more graphs: torch's allocator does not recover from a failed capture. Existing ones still run."""
        self._is_disabled = True
        cause = error.__context__ or error  # ending a capture that has failed raises a second error
        self.refused = first_line(cause)
        log.warning("CUDA graph: a frame cannot be recorded: %s; frames are rendered without new graphs", self.refused)
