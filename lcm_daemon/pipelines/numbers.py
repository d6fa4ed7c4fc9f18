"""Numbers: everything that a recorded frame reads as a number, in one block that goes to the device in one copy.

A recording (CUDA graph) reads addresses, so values that move are written to memory that keeps its address. Sent one by
one they would cost a launch each, and from pageable memory a wait each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROOM = 4096  # numbers, 16 KiB: a step plan takes 36, the noise of all steps another 36, a LoRA 1
BLOCKS = 5  # pinned blocks that alternate: one more than frames may be under way (recipe key in_flight: 4)

_Floats = NDArray[np.float32]


class NumberRange:
    """A part of the block that belongs to one part of a frame.

    Attributes:
        tensor: float32 (count,) on the device, always at the same address. A recording reads it.
    """

    def __init__(self, host: _Floats, tensor: Tensor) -> None:
        self._host, self.tensor = host, tensor

    def write(self, numbers: float | Sequence[float] | NDArray[np.floating]) -> None:
        """Write the numbers of the next frame on the host: one for all places, or one for each."""
        self._host[:] = numbers


class Numbers:
    """One block of numbers, float32, on the host and on the device. On the CPU both are the same memory.

    Args:
        device: Where recordings read the numbers.
        room: How many numbers fit.
    """

    def __init__(self, device: torch.device, room: int = ROOM) -> None:
        self._host: _Floats = np.zeros(room, np.float32)
        self._sent: _Floats = np.zeros(room, np.float32)  # what the device has, once all copies are done
        self._used = 0
        self._is_shared = device.type == "cpu"
        self._tensor = torch.from_numpy(self._host) if self._is_shared else torch.zeros(room, device=device)
        is_pinned = device.type == "cuda"
        self._blocks = [] if self._is_shared else [torch.zeros(room, pin_memory=is_pinned) for _ in range(BLOCKS)]
        self._next = 0

    def reserve(self, count: int) -> NumberRange:
        """Reserve room for `count` numbers, which start at 0."""
        start, self._used = self._used, self._used + count
        if self._used > len(self._host):
            raise ValueError(f"the block has room for {len(self._host)} numbers, and {self._used} are needed")
        return NumberRange(self._host[start:self._used], self._tensor[start:self._used])

    def send(self) -> bool:
        """Launch the copy of what has changed since the last call, on the current stream. Call once a frame.

        The copy reads a block of its own (pinned on CUDA), so the host may write the next frame's numbers at once. A
        block is used again BLOCKS calls later, when its frame has long been waited for.

        Returns:
            Whether anything was copied.
        """
        changed = np.flatnonzero(self._host[:self._used].view(np.uint32) != self._sent[:self._used].view(np.uint32))
        if self._is_shared or not len(changed):
            return False
        what = slice(int(changed[0]), int(changed[-1]) + 1)
        block = self._blocks[self._next]
        self._next = (self._next + 1) % len(self._blocks)
        block.numpy()[what] = self._sent[what] = self._host[what]
        self._tensor[what].copy_(block[what], non_blocking=True)  # else MPS waits for everything before it
        return True
