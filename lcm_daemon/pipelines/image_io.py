"""Canvas: the way of a picture from bytes to what a model takes and back, on the device."""

from __future__ import annotations

import logging

import torch

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.pipelines.scaling import scale

log = logging.getLogger(__name__)


class _Sheet:
    """RGBA bytes (height, width, 4), and in the same memory one more: whether the picture is broken."""

    def __init__(self, shape: tuple[int, int], device: torch.device, pinned: bool = False) -> None:
        self.memory = torch.zeros(shape[0] * shape[1] * 4 + 1, dtype=torch.uint8, device=device, pin_memory=pinned)
        self.rgba, self.broken = self.memory[:-1].view(*shape, 4), self.memory[-1:]


class Canvas:
    """RGBA bytes of the output size on one side, floats from -1 to 1 of the render size on the other.

    size, render_size: (width, height) in pixels. Buffers are made once. Sizes of another shape are stretched on the
    way in and back to shape on the way out.

    A picture that has something in it that is no number, such as half precision overflowed to, is not shown: the last
    one stays, and before there is one, the frame that was read. broken: how many there were.
    """

    def __init__(self, size: Size, render_size: Size, device: torch.device, dtype: torch.dtype) -> None:
        self.broken = 0
        self._size, self._render_size = (size[1], size[0]), (render_size[1], render_size[0])
        # Two by turns: one is read into and written to, the other has what was shown last.
        self._next, self._shown = (_Sheet(self._size, torch.device("cpu"), device.type == "cuda") for _ in range(2))
        self._aside = None if device.type == "cpu" else _Sheet(self._size, device)
        self._given: Pixels | None = None
        self._shows = False
        self._floats = torch.empty(1, 3, *self._render_size, device=device, memory_format=torch.channels_last)
        self._picture = torch.empty_like(self._floats, dtype=dtype)
        # On the CPU torch scales bytes several times faster than floats; elsewhere it may not scale bytes at all.
        self._scaled = torch.uint8 if device.type == "cpu" else torch.float32

    def read(self, pixels: Pixels) -> torch.Tensor:
        """Take in a frame; return it as (1, 3, h, w) of the render size. The tensor is used again by the next frame."""
        self._given = pixels
        self._next.rgba.numpy()[:] = pixels
        sheet = self._aside or self._next
        if sheet is not self._next:
            sheet.rgba.copy_(self._next.rgba, non_blocking=True)
        picture = self._scale(sheet.rgba.permute(2, 0, 1)[None], self._render_size)
        return self._picture.copy_(self._floats.copy_(picture[:, :3]).mul_(1 / 127.5).sub_(1.0))

    def write(self, picture: torch.Tensor, mix: float, out: Pixels) -> bool:
        """Put a rendered (1, 3, h, w) over the frame that was read, by `mix` from 0 to 1; alpha is the frame's own.

        False: it is broken, and the last one is in its place.
        """
        sheet = self._aside or self._next
        levels = self._floats.copy_(picture)
        sheet.broken.copy_(levels.sum().isfinite().logical_not_())  # it travels with the pixels: nobody waits for it
        levels.mul_(127.5).add_(127.5).clamp_(0.0, 255.0).round_()
        rendered = self._scale(levels, self._size)
        target = sheet.rgba.permute(2, 0, 1)[None, :3]
        if mix < 1.0:
            rendered = torch.lerp(target.float(), rendered.float(), mix)
        target.copy_(rendered.round_() if rendered.is_floating_point() else rendered)
        if sheet is not self._next:
            self._next.memory.copy_(sheet.memory)
        return self._show(out)

    def forget(self) -> None:
        """What was written last is not what is seen."""
        self._shows = False

    def _show(self, out: Pixels) -> bool:
        if self._next.broken.item():
            self._keep(out)
            return False
        self._next, self._shown, self._shows = self._shown, self._next, True
        out[:] = self._shown.rgba.numpy()
        return True

    def _keep(self, out: Pixels) -> None:
        """What was shown last, with the alpha of this frame."""
        self.broken += 1
        if self.broken & (self.broken - 1) == 0:  # the 1st, 2nd, 4th, 8th: it may be every frame
            log.warning("the model painted something that is no number (%d times so far), and the last picture stays; "
                        "dtype float32 or bfloat16, or LoRAs nearer to 0, may help", self.broken)
        assert self._given is not None
        out[:] = self._given
        if self._shows:
            out[..., :3] = self._shown.rgba.numpy()[..., :3]

    def _scale(self, picture: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Bilinear to (height, width); with antialiasing where a side shrinks, which would shimmer otherwise."""
        height, width = picture.shape[2:]
        if (height, width) == size:
            return picture
        return scale(picture.to(self._scaled), size, "bilinear", antialias=height > size[0] or width > size[1])
