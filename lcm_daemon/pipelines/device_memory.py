"""MemoryWatch: how much of a CUDA device's memory is in use, and whether Windows has lent the computer's own."""

from __future__ import annotations

import logging
import sys

import torch

from lcm_daemon.pipelines.base import DeviceMemory

log = logging.getLogger(__name__)

DRIVER = 600 << 20  # bytes: an estimate of what the driver, cuBLAS and cuDNN take of the device for each process
LENT = 256 << 20  # bytes that other programs may free while a model loads; a larger difference is lent memory


class MemoryWatch:
    """Reads a device's memory. Make it before the model is loaded.

    Where a card's memory is full, Windows (WDDM) does not refuse: it gives the process some of the computer's own
    memory, which is ten times slower. torch then holds more than has left the device's free memory. That difference
    is what was lent, as far as no other program has freed memory at the same time.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._is_warned = device, False
        self._free_before = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0

    def read(self) -> DeviceMemory | None:
        """The memory now; None on a device that has none of its own. May be called from any thread."""
        if self._device.type != "cuda":
            return None
        free, total = torch.cuda.mem_get_info(self._device)
        used = torch.cuda.max_memory_reserved(self._device) + DRIVER
        lent = self._lent(free) if sys.platform == "win32" else 0
        if lent and not self._is_warned:
            self._is_warned = True
            log.warning("the card's memory is full, and Windows lends %.1f GiB of the computer's own, which is slow: "
                        "use a smaller size or recipe, close other programs, or set 'CUDA - Sysmem Fallback Policy' to "
                        "'Prefer No Sysmem Fallback' in the NVIDIA control panel", lent / 2**30)
        return DeviceMemory(free, total, used, lent)

    def _lent(self, free: int) -> int:
        lent = torch.cuda.memory_reserved(self._device) - max(self._free_before - free, 0)
        return lent if lent > LENT else 0
