"""Copy small things from the host to the device without a wait."""

from __future__ import annotations

import torch


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor to the device, in the order of the current stream. On the CPU it is the tensor itself.

    From pageable memory CUDA would wait for all frames under way. Here the copy is made from pinned memory. MPS waits
    unless the copy is asked not to. Torch keeps the memory until the copy is done; it must not be written to.
    """
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)
