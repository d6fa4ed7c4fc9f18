"""Canvas: the way of a picture from bytes to what a model takes and back, on the device."""

from __future__ import annotations

import torch
from torch.nn import functional

from lcm_daemon.frame import Pixels, Size


class Canvas:
    """RGBA bytes of the output size on one side, floats from -1 to 1 of the render size on the other.

    size, render_size: (width, height) in pixels. Buffers are made once. Sizes of another shape are stretched on the
    way in and back to shape on the way out.
    """

    def __init__(self, size: Size, render_size: Size, device: torch.device, dtype: torch.dtype) -> None:
        self._size, self._render_size = (size[1], size[0]), (render_size[1], render_size[0])
        self._host = torch.empty(*self._size, 4, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._rgba = self._host if device.type == "cpu" else torch.empty_like(self._host, device=device)
        self._floats = torch.empty(1, 3, *self._render_size, device=device, memory_format=torch.channels_last)
        self._picture = torch.empty_like(self._floats, dtype=dtype)
        # On the CPU torch scales bytes several times faster than floats; elsewhere it may not scale bytes at all.
        self._scaled = torch.uint8 if device.type == "cpu" else torch.float32

    def read(self, pixels: Pixels) -> torch.Tensor:
        """Take in a frame; return it as (1, 3, h, w) of the render size. The tensor is used again by the next frame."""
        self._host.numpy()[:] = pixels
        if self._rgba is not self._host:
            self._rgba.copy_(self._host, non_blocking=True)
        picture = self._scale(self._rgba.permute(2, 0, 1)[None], self._render_size)
        return self._picture.copy_(self._floats.copy_(picture[:, :3]).mul_(1 / 127.5).sub_(1.0))

    def write(self, picture: torch.Tensor, mix: float, out: Pixels) -> None:
        """Put a rendered (1, 3, h, w) over the frame that was read, by `mix` from 0 to 1; alpha is the frame's own."""
        levels = self._floats.copy_(picture).mul_(127.5).add_(127.5).clamp_(0.0, 255.0).round_()
        rendered = self._scale(levels, self._size)
        target = self._rgba.permute(2, 0, 1)[None, :3]
        if mix < 1.0:
            rendered = torch.lerp(target.float(), rendered.float(), mix)
        target.copy_(rendered.round_() if rendered.is_floating_point() else rendered)
        if self._rgba is not self._host:
            self._host.copy_(self._rgba)
        out[:] = self._host.numpy()

    def _scale(self, picture: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Bilinear to (height, width); with antialiasing where a side shrinks, which would shimmer otherwise."""
        height, width = picture.shape[2:]
        if (height, width) == size:
            return picture
        shrinks = height > size[0] or width > size[1]
        return functional.interpolate(picture.to(self._scaled), size, mode="bilinear", align_corners=False,
                                      antialias=shrinks)
