"""Image scaling on the device, or on the host where the device does not support antialiasing.

torch supports antialiasing on MPS from version 2.7 (bilinear) and 2.8 (bicubic).
"""

from __future__ import annotations

import functools

import torch
from torch.nn import functional

Shape = tuple[int, int]  # (height, width) in pixels


def scale(image: torch.Tensor, shape: Shape, mode: str, antialias: bool) -> torch.Tensor:
    """Scale images to another size.

    Args:
        image: (n, c, h, w).
        shape: The new (height, width).
        mode: "bilinear" or "bicubic".
        antialias: Filter before shrinking.

    Returns:
        (n, c, height, width), of the same dtype and on the same device.
    """
    on_host = antialias and not _supports_antialias(image.device.type, mode)
    scaled = functional.interpolate(image.cpu() if on_host else image, shape, mode=mode, align_corners=False,
                                    antialias=antialias)
    return scaled.to(image.device)


@functools.cache
def _supports_antialias(device: str, mode: str) -> bool:
    """Whether the device implements it. Determined once, by trying."""
    try:
        functional.interpolate(torch.zeros(1, 1, 4, 4, device=device), (2, 2), mode=mode, align_corners=False,
                               antialias=True)
    except NotImplementedError:
        return False
    return True
