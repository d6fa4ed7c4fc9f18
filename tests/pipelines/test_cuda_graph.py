"""CUDA graphs: what is recorded, replayed, let go and refused, on stand-ins of torch's classes that record for real."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs

CUDA = torch.device("cuda")
REAL = {name: getattr(torch.cuda, name) for name in ("CUDAGraph", "graph", "Stream", "stream", "current_stream")}


class Machine:
    """What happened, in order: "begin", "end", "replay", "wait", and what the work under test says."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.side = False
        self.refuses = False


class Graph:
    """Replays on the CPU: every operation again, on the same memory."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def replay(self) -> None:
        self.machine.log.append("replay")
        for function, arguments, named, result in self.operations:
            again = function(*arguments, **named)
            if isinstance(result, Tensor) and again.data_ptr() != result.data_ptr():
                result.copy_(again)


class Recorder(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.graph.operations.append((func, args, kwargs or {}, result))
        return result


class Stream:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def wait_stream(self, stream: Stream) -> None:
        self.machine.log.append("wait")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()

    @contextmanager
    def graph(cuda_graph: Graph, pool: Any = None, stream: Any = None, capture_error_mode: str = "global",
              ) -> Iterator[None]:
        assert isinstance(stream, Stream)
        machine.log.append("begin")
        with Recorder(cuda_graph):
            yield
        if machine.refuses:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        machine.log.append("end")

    @contextmanager
    def on_stream(stream: Stream) -> Iterator[None]:
        machine.side = True
        yield
        machine.side = False

    for name, stand_in in {
        "CUDAGraph": lambda: Graph(machine), "graph": graph, "Stream": lambda device: Stream(machine),
        "stream": on_stream, "current_stream": lambda device: Stream(machine),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return machine


class Frame:
    """A frame's work: reads its inputs and a tensor that stays, launches one thing after another."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.factor, self.calls, self._machine = torch.tensor(2.0), 0, machine

    def __call__(self, picture: Tensor, extra: Tensor | None = None) -> Tensor:
        self.calls += 1
        if self._machine:
            self._machine.log.append("side" if self._machine.side else "work")
        painted = picture * self.factor
        return painted if extra is None else painted.add_(extra)


def test_the_stand_ins_take_what_torch_takes() -> None:
    graph = inspect.signature(REAL["graph"].__init__).parameters
    assert list(graph)[1:4] == ["cuda_graph", "pool", "stream"]
    assert "capture_error_mode" in graph
    assert {"replay", "capture_begin", "capture_end"} <= set(dir(REAL["CUDAGraph"]))
    assert {"wait_stream"} <= set(dir(REAL["Stream"]))
    assert list(inspect.signature(REAL["stream"]).parameters) == ["stream"]
    assert list(inspect.signature(REAL["current_stream"]).parameters) == ["device"]


def test_a_frame_is_warmed_up_aside_recorded_once_and_replayed(machine: Machine) -> None:
    graphs, frame = CudaGraphs(CUDA), Frame(machine)
    graphs.run("image", frame, torch.ones(2))
    assert machine.log == ["wait", *["side"] * WARM_UPS, "wait", "begin", "work", "end", "replay"]
    machine.log.clear()
    graphs.run("image", frame, torch.ones(2))
    assert machine.log == ["replay"]


def test_a_replay_reads_the_inputs_of_this_frame_and_what_stays(machine: Machine) -> None:
    graphs, frame = CudaGraphs(CUDA), Frame()
    for number in range(4):
        picture, extra = torch.full((3,), float(number)), torch.full((3,), 10.0)
        frame.factor.fill_(number + 1.0)
        painted = graphs.run("image", frame, picture, extra)
        assert painted.tolist() == [number * (number + 1.0) + 10.0] * 3
        assert picture.tolist() == [float(number)] * 3
    assert frame.calls == WARM_UPS + 1


def test_another_key_or_shape_is_another_recording(machine: Machine) -> None:
    graphs, frame = CudaGraphs(CUDA), Frame()
    graphs.run("image", frame, torch.ones(2))
    graphs.run("text", frame, torch.ones(2))
    graphs.run("image", frame, torch.ones(3))
    graphs.run("image", frame, torch.ones(2), torch.ones(2))
    assert machine.log.count("begin") == 4
    machine.log.clear()
    assert graphs.run("image", frame, torch.full((3,), 5.0)).tolist() == [10.0] * 3
    assert machine.log == ["replay"]


def test_the_least_recently_used_goes(machine: Machine) -> None:
    graphs, frame = CudaGraphs(CUDA, kept=2), Frame()
    for key in ("a", "b", "a", "c"):
        graphs.run(key, frame, torch.ones(1))
    machine.log.clear()
    graphs.run("a", frame, torch.ones(1))
    assert machine.log == ["replay"]
    graphs.run("b", frame, torch.ones(1))
    assert "begin" in machine.log


def test_what_cannot_be_recorded_plays_without_and_says_so_once(
        machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    graphs, frame = CudaGraphs(CUDA), Frame()
    machine.refuses = True
    for _ in range(3):
        assert graphs.run("image", frame, torch.ones(1)).tolist() == [2.0]
    assert machine.log.count("begin") == 1
    assert "replay" not in machine.log
    assert caplog.messages == ["the frame cannot be recorded as a CUDA graph and plays without: "
                               "CUDA error: operation not permitted when stream is capturing"]
    machine.refuses = False
    graphs.forget()
    graphs.run("image", frame, torch.ones(1))
    assert "replay" in machine.log


def test_other_devices_simply_run() -> None:
    frame = Frame()
    assert CudaGraphs(torch.device("cpu")).run("image", frame, torch.ones(1)).tolist() == [2.0]
    assert frame.calls == 1
