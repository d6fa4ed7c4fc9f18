"""The engine: what it hands its pipeline, and what it says when that fails."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.processes.channel import Channel, ChildChannel
from lcm_daemon.processes.protocol import FrameResult
from lcm_daemon.render.engine import _render_frames, is_out_of_memory

SIZE = (32, 16)


class Adding:
    """A pipeline that adds the guide to the input; without one it is not even told of it."""

    def render(self, pixels: Any, values: Any, out: Any, **more: Any) -> dict[str, float]:
        out[:] = pixels
        for guide in more.values():
            out[:] += guide
        return {"denoise": 0.1}


def test_a_pipeline_is_handed_the_guide_where_there_is_one() -> None:
    parent = Channel(SIZE, guided=True)
    channel = ChildChannel(parent.child_endpoint())
    engine = threading.Thread(target=_render_frames, args=(Adding(), channel), daemon=True)
    engine.start()
    results = []
    for guide in (None, Frame(solid(SIZE, (5, 5, 5, 5)), 0, 0.0), None):
        while not parent.accepts_frame:
            assert parent.pipe.poll(20)
            parent.receive()
        parent.send_frame(Frame(solid(SIZE, (2, 2, 2, 2)), 0, 0.0), {}, 0.0, guide)
        while not (done := [m for m in parent.receive() if isinstance(m, FrameResult)]):
            assert parent.pipe.poll(20)
        results.append(int(parent.read_result(done[0]).pixels[0, 0, 0]))
    parent.pipe.close()
    engine.join(20)
    assert results == [2, 7, 2]
    assert done[0].seconds["denoise"] == 0.1
    channel.close()
    parent.close()


class OutOfMemoryError(RuntimeError):
    """torch.OutOfMemoryError by its name, which is what the engine goes by."""


def because(cause: Exception) -> Exception:
    error = RecipeError("the weights cannot be loaded")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [
    OutOfMemoryError("Tried to allocate 20 MiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
    because(OutOfMemoryError("Tried to allocate 20 MiB")),
])
def test_no_memory_left(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [
    RuntimeError("expected scalar type Half"), ValueError("out of memory"), because(KeyError("unet")),
])
def test_anything_else(error: Exception) -> None:
    assert not is_out_of_memory(error)
