"""CUDA graphs: recording, replay, eviction and failure, on stand-ins of torch's classes."""

from __future__ import annotations

import inspect
import itertools

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch import Tensor

    from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
    from tests.rigs.cuda import REAL, Machine, install

CUDA = torch.device("cuda")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return install(monkeypatch)


class Frame:
    """The work of a frame: reads tensors that keep their address, and counts its frames in one."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.picture, self.factor, self.frames = torch.ones(2), torch.tensor(2.0), torch.zeros(())
        self.runs, self._machine = 0, machine

    def __call__(self) -> Tensor:
        self.runs += 1
        self.frames.add_(1.0)
        if self._machine:
            self._machine.log.append(f"on {self._machine.current}")
            if self._machine.refuses and self._machine.captures and self._machine.current == "side":
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        return self.picture * self.factor


def test_stand_ins_have_torchs_signatures() -> None:
    graph = inspect.signature(REAL["graph"].__init__).parameters
    assert list(graph)[1:4] == ["cuda_graph", "pool", "stream"]
    assert "capture_error_mode" in graph
    assert {"replay", "capture_begin", "capture_end"} <= set(dir(REAL["CUDAGraph"]))
    assert {"wait_stream"} <= set(dir(REAL["Stream"]))
    assert list(inspect.signature(REAL["stream"]).parameters) == ["stream"]
    assert list(inspect.signature(REAL["current_stream"]).parameters) == ["device"]
    assert not inspect.signature(REAL["graph_pool_handle"]).parameters


def test_a_frame_is_warmed_up_then_recorded_then_replayed(machine: Machine) -> None:
    graphs, frame, seen = CudaGraphs(CUDA), Frame(machine), []
    for _ in range(WARM_UPS + 3):
        graphs.launch("image", frame)
        seen.append(machine.log[:])
        machine.log.clear()
    assert seen == [*[["side waits", "on side", "main waits"]] * WARM_UPS, ["begin", "on side", "end", "replay"],
                    ["replay"], ["replay"]]
    assert frame.runs == WARM_UPS + 1


def test_every_replay_reads_the_current_input(machine: Machine) -> None:
    """State that is kept between frames advances by one a frame; recording computes nothing."""
    graphs, frame = CudaGraphs(CUDA), Frame()
    for number in range(WARM_UPS + 5):
        frame.picture.fill_(float(number))
        frame.factor.fill_(number + 1.0)
        assert graphs.launch("image", frame).tolist() == [number * (number + 1.0)] * 2
        assert float(frame.frames) == number + 1.0


def test_sweeping_the_steps_records_each_number_once(machine: Machine) -> None:
    graphs, frame = CudaGraphs(CUDA), Frame()
    for _ in range(WARM_UPS + 3):
        for way in itertools.product(("image", "text"), range(1, 9)):
            before = frame.runs
            graphs.launch(way, frame)
            assert frame.runs - before <= 1
    assert frame.runs == 16 * (WARM_UPS + 1)
    assert machine.log.count("begin") == 16


def test_all_recordings_share_their_memory(machine: Machine) -> None:
    graphs, frame = CudaGraphs(CUDA, cached=2), Frame()
    record(graphs, frame, "a", "b", "c")
    assert len(machine.pools) == 3
    assert len(set(machine.pools)) == 1
    assert None not in machine.pools


def test_a_pool_without_recordings_is_not_reused(machine: Machine) -> None:
    """torch asserts that one of the pool's graphs is alive."""
    graphs, frame = CudaGraphs(CUDA, cached=1), Frame()
    record(graphs, frame, "a", "b")
    graphs.clear()
    record(graphs, frame, "a")
    assert len(set(machine.pools)) == 3


def record(graphs: CudaGraphs, frame: Frame, *keys: str) -> None:
    for key in keys:
        for _ in range(WARM_UPS + 1):
            graphs.launch(key, frame)


def test_the_least_recently_used_graph_is_dropped_first(machine: Machine) -> None:
    graphs, frame = CudaGraphs(CUDA, cached=2), Frame()
    record(graphs, frame, "a", "b", "a", "c")
    machine.log.clear()
    graphs.launch("a", frame)
    assert machine.log == ["replay"]
    graphs.launch("b", frame)  # warm from before: recorded at once
    assert machine.log == ["replay", "begin", "end", "replay"]


def test_a_failed_recording_runs_without_graphs_and_is_logged_once(
        machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    graphs, frame = CudaGraphs(CUDA), Frame(machine)
    record(graphs, frame, "text")
    machine.refuses = True
    for key in ("image", "other"):
        for _ in range(WARM_UPS + 3):
            assert graphs.launch(key, frame).tolist() == [2.0, 2.0]
    assert machine.log.count("begin") == 2
    assert machine.current == "main", "the frame continues on its stream"
    assert caplog.messages == ["CUDA graph: a frame cannot be recorded: CUDA error: operation not permitted when "
                               "stream is capturing; frames are rendered without new graphs"]
    machine.log.clear()
    graphs.launch("text", frame)
    assert machine.log == ["replay"], "existing recordings still run"


def test_other_devices_run_without_graphs() -> None:
    frame = Frame()
    assert CudaGraphs(torch.device("cpu")).launch("image", frame).tolist() == [2.0, 2.0]
    assert frame.runs == 1
