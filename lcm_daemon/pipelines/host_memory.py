"""Host memory that the driver copies to and from without waiting: pinned by torch, or registered with the driver."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm_daemon.core.frame import Pixels

log = logging.getLogger(__name__)

_PORTABLE = 1  # cudaHostRegisterPortable: for every CUDA context, as torch registers memory itself


class RegisteredMemory:
    """A block of shared memory that is registered with the CUDA driver.

    A copy from or to pageable memory goes through a buffer of the driver, and the host waits for it.

    memory: uint8 (n,). It must stay mapped until `close`.
    """

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._start, self._length = _address(memory), memory.nbytes
        self._tensor: Tensor | None = None
        result = int(_driver().cudaHostRegister(self._start, self._length, _PORTABLE))
        if result == 0:
            self._tensor = torch.from_numpy(memory)
        else:
            _discard_error()
            log.warning("cuda: %d MiB of frames cannot be registered with the driver (error %d); each frame is copied "
                        "once more; a higher limit of locked memory (ulimit -l) helps", memory.nbytes >> 20, result)

    def find(self, pixels: Pixels) -> Tensor | None:
        """The tensor over these pixels, uint8 (H, W, 4), or None if they lie elsewhere."""
        offset = _address(pixels) - self._start
        if self._tensor is None or not 0 <= offset <= self._length - pixels.nbytes:
            return None
        return self._tensor[offset:offset + pixels.nbytes].view(pixels.shape)

    def close(self) -> None:
        """Unregister. Call before the memory is unmapped, when no copy is under way. May be called twice."""
        if self._tensor is not None:
            self._tensor = None
            _driver().cudaHostUnregister(self._start)


def _discard_error() -> None:
    """Discard the error of a call that has failed: the runtime keeps it, and the next launch would raise it again.

    torch binds no function for this. A launch of no consequence raises the error here.
    """
    with contextlib.suppress(RuntimeError):
        torch.ones(1, device="cuda").add_(1.0)


def _driver() -> Any:
    """The CUDA runtime's own functions, as torch binds them; they return an error's number."""
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


def _address(memory: NDArray[np.uint8]) -> int:
    address: int = memory.__array_interface__["data"][0]
    return address
