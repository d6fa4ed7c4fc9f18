"""The engine's own words: what it says when it fails."""

from __future__ import annotations

import pytest

from lcm_daemon.engine import lacks_memory
from lcm_daemon.errors import RecipeError


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
    assert lacks_memory(error)


@pytest.mark.parametrize("error", [
    RuntimeError("expected scalar type Half"), ValueError("out of memory"), because(KeyError("unet")),
])
def test_anything_else(error: Exception) -> None:
    assert not lacks_memory(error)
