"""The stopwatch on CUDA, on stand-ins of torch's events that end when a device's do; and what is set for a device."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.device import Stopwatch, configure, end_search

CUDA = torch.device("cuda")
LAG = 5  # microseconds from recording an event to its end


class Device:
    """A clock in microseconds, which runs by itself while the host does anything."""

    def __init__(self) -> None:
        self.now = 0.0

    def work(self, microseconds: float) -> None:
        self.now += microseconds


class Event:
    def __init__(self, device: Device) -> None:
        self._device, self._done = device, float("inf")

    def record(self, stream: Any = None) -> None:
        self._done = self._device.now + LAG

    def synchronize(self) -> None:
        self._device.now = max(self._device.now, self._done)

    def query(self) -> bool:
        return self._done <= self._device.now

    def elapsed_time(self, end_event: Event) -> float:
        if max(self._done, end_event._done) > self._device.now:
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return (end_event._done - self._done) / 1000


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    for name in ("record", "synchronize", "query", "elapsed_time"):
        assert list(inspect.signature(getattr(Event, name)).parameters) == list(
            inspect.signature(getattr(torch.cuda.Event, name)).parameters)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: Event(device))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    return device


def test_times_are_read_as_soon_as_the_frame_is_on_the_host(device: Device) -> None:
    watch = Stopwatch(CUDA)
    for factor in (1.0, 2.0):
        watch.start()
        for part, spent in (("encode", 1000.0), ("denoise", 5000.0), ("decode", 2000.0)):
            device.work(spent * factor)
            watch.mark(part)
        assert watch.seconds() == pytest.approx(
            {"encode": 0.001 * factor, "denoise": 0.005 * factor, "decode": 0.002 * factor})


@pytest.mark.parametrize("name", ["cuda", "cpu", "mps"])
def test_a_frame_without_marks_is_one_part(name: str, device: Device) -> None:
    watch = Stopwatch(torch.device(name))
    watch.start()
    device.work(3000.0)
    watch.mark("decode")
    found = watch.seconds()
    assert list(found) == ["frame"]
    assert name != "cuda" or found["frame"] == pytest.approx(0.003)


@pytest.fixture
def _settings_put_back() -> Iterator[None]:
    places = (torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "allow_tf32"), (
        torch.backends.cuda.matmul, "allow_tf32")
    before = [getattr(place, name) for place, name in places]
    yield
    for (place, name), value in zip(places, before, strict=True):
        setattr(place, name, value)


@pytest.mark.usefixtures("_settings_put_back")
def test_a_device_named_by_its_number_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    configure(torch.device("cuda:1"))
    configure(CUDA)
    assert chosen == [torch.device("cuda:1")]


@pytest.mark.parametrize(("searched", "searches", "limit"), [(10, True, 10), (3, True, 3), (0, False, 10)])
@pytest.mark.usefixtures("_settings_put_back")
def test_how_long_cudnn_searches(
    monkeypatch: pytest.MonkeyPatch, searched: int, searches: bool, limit: int
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark_limit", 7)
    configure(CUDA, searched)
    assert torch.backends.cudnn.benchmark is searches
    assert torch.backends.cudnn.benchmark_limit == limit
    end_search(torch.device("cpu"))
    assert torch.backends.cudnn.benchmark is searches
    end_search(CUDA)
    assert not torch.backends.cudnn.benchmark
