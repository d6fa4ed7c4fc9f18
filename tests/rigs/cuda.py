"""Stand-ins of torch.cuda's streams and graphs, with the same signatures, that record and replay on the CPU.

Test modules import this with `lazy_imports`: it imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REAL: dict[str, Any] = {name: getattr(torch.cuda, name) for name in (
    "CUDAGraph", "graph", "Stream", "stream", "current_stream", "graph_pool_handle")}


class Machine:
    """What happened, in order: "begin", "end", "replay", "side waits", and what the work under test says."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current = "main"  # the stream
        self.refuses = False
        self.pools: list[object] = []  # of the recordings, in order
        self.captures = 0  # underway, or never ended


class Graph:
    """Replays on the CPU: every operation again, on the same memory."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.operations: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def replay(self) -> None:
        self.machine.log.append("replay")
        for function, arguments, named, result in self.operations:
            for again, before in zip(tree_leaves(function(*arguments, **named)), tree_leaves(result), strict=True):
                if isinstance(before, Tensor) and again.data_ptr() != before.data_ptr():
                    before.copy_(again)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations have to run for the next ones to be known; at the end memory is as it was: nothing has run."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = graph
        self._before: dict[int, tuple[Any, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs or {})):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in self._before:
                storage = tensor.untyped_storage()
                self._before[storage.data_ptr()] = storage, storage.clone()  # type: ignore[no-untyped-call]
        result = func(*args, **(kwargs or {}))
        self._graph.operations.append((func, args, kwargs or {}, result))
        return result

    def restore(self) -> None:
        for storage, before in self._before.values():
            storage.copy_(before)


class Stream:
    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name = machine, name

    def wait_stream(self, stream: Stream) -> None:
        self.machine.log.append(f"{self.name} waits")


def install(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """In the place of torch's own, until the test ends."""
    machine = Machine()

    @contextmanager
    def graph(cuda_graph: Graph, pool: Any = None, stream: Any = None, capture_error_mode: str = "global",
              ) -> Iterator[None]:
        """As torch's: where ending fails, its stream stays the current one and the allocator's pool stays open."""
        assert machine.captures == 0, "torch's emptying of the cache asserts that"
        assert isinstance(stream, Stream)
        machine.log.append("begin")
        machine.pools.append(pool)
        machine.captures += 1
        before, machine.current = machine.current, stream.name
        recorder = Recorder(cuda_graph)
        try:
            with recorder:
                yield
        finally:
            recorder.restore()
            if machine.refuses:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture\nmore")
            machine.captures -= 1
            machine.current = before
        machine.log.append("end")

    @contextmanager
    def on_stream(stream: Stream) -> Iterator[None]:
        before, machine.current = machine.current, stream.name
        try:
            yield
        finally:
            machine.current = before

    for name, stand_in in {
        "CUDAGraph": lambda: Graph(machine), "graph": graph, "Stream": lambda device: Stream(machine, "side"),
        "stream": on_stream, "current_stream": lambda device: Stream(machine, machine.current),
        "graph_pool_handle": object,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return machine
