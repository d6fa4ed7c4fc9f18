"""Copy small things from the host to the device without a wait."""

from __future__ import annotations

import torch


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor to the device, in the order of the current stream. On the CPU it is the tensor itself.

    From pageable memory CUDA would wait for all frames under way. Here the copy is made from pinned memory, which
    torch keeps until the copy is done.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
