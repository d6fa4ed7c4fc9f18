"""Scaling on the device, or on the host where the device has no antialiasing.

On MPS torch has it from 2.7 (bilinear) and 2.8 (bicubic) on.
"""

from __future__ import annotations

import functools

import torch
from torch.nn import functional

Shape = tuple[int, int]  # (height, width) in pixels


def scale(picture: torch.Tensor, shape: Shape, mode: str, antialias: bool) -> torch.Tensor:
    """(n, c, h, w) to `shape`, of the same dtype and on the same device. mode: "bilinear" or "bicubic"."""
    aside = antialias and not _antialiases(picture.device.type, mode)
    found = functional.interpolate(picture.cpu() if aside else picture, shape, mode=mode, align_corners=False,
                                   antialias=antialias)
    return found.to(picture.device)


@functools.cache
def _antialiases(device: str, mode: str) -> bool:
    """Found out once, by trying."""
    try:
        functional.interpolate(torch.zeros(1, 1, 4, 4, device=device), (2, 2), mode=mode, align_corners=False,
                               antialias=True)
    except NotImplementedError:
        return False
    return True
