"""FrameConverter: frames as bytes on the host to images as tensors on the device, and back.

CUDA has a converter of its own that is part of a recorded frame: `DeviceImages`.
"""

from __future__ import annotations

import torch

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.pipelines.scaling import Shape, scale


class _Buffer:
    """RGBA bytes (height, width, 4), and in the same memory one more byte: whether the image is broken."""

    def __init__(self, shape: Shape, device: torch.device, pinned: bool = False) -> None:
        self.memory = torch.zeros(shape[0] * shape[1] * 4 + 1, dtype=torch.uint8, device=device, pin_memory=pinned)
        self.rgba, self.broken = self.memory[:-1].view(*shape, 4), self.memory[-1:]


class FrameConverter:
    """Converts RGBA bytes of the output size to floats from -1 to 1 of the render size, and back.

    Buffers are used again and again. Where the two sizes have different aspect ratios, the frame is stretched on the
    way in and restored on the way out.

    A broken image, which contains NaN or infinity such as from overflow in half precision, is not shown. The last good
    one stays, and before there is one, the input.

    Args:
        size: Output size, (width, height).
        render_size: Render size, (width, height).
        device: Where images are rendered.
        dtype: Precision of the image that `to_image` returns.
    """

    def __init__(self, size: Size, render_size: Size, device: torch.device, dtype: torch.dtype) -> None:
        self._shape, self._render_shape = (size[1], size[0]), (render_size[1], render_size[0])
        # Two buffers alternate: one is read into and written to, the other holds the last good result, if any.
        self._is_pinned = device.type == "cuda"
        self._next = self._make_buffer()
        self._last: _Buffer | None = None
        self._on_device = None if device.type == "cpu" else _Buffer(self._shape, device)
        self._frame: Pixels | None = None
        self._floats = torch.empty(1, 3, *self._render_shape, device=device, memory_format=torch.channels_last)
        self._image = torch.empty_like(self._floats, dtype=dtype)
        # On the CPU torch scales bytes several times faster than floats. Other devices may not scale bytes at all.
        self._scaled = torch.uint8 if device.type == "cpu" else torch.float32

    def to_image(self, frame: Pixels) -> torch.Tensor:
        """Convert a frame to (1, 3, h, w) of the render size. The next call reuses the tensor."""
        self._frame = frame
        self._next.rgba.numpy()[:] = frame
        buffer = self._on_device or self._next
        if buffer is not self._next:
            buffer.rgba.copy_(self._next.rgba, non_blocking=True)
        image = self._scale(buffer.rgba.permute(2, 0, 1)[None], self._render_shape)
        return self._image.copy_(self._floats.copy_(image[:, :3]).mul_(1 / 127.5).sub_(1.0))

    def to_frame(self, image: torch.Tensor, mix: float, out: Pixels) -> bool:
        """Mix a rendered image over the converted frame and write the result to `out`. Alpha is that of the frame.

        Args:
            image: (1, 3, h, w) of the render size, or larger.
            mix: 0 (the frame) to 1 (the image).
            out: uint8 (H, W, 4) of the output size.

        Returns:
            False: the image is broken, and `out` holds the last good result.
        """
        buffer = self._on_device or self._next
        levels = self._floats.copy_(image) if image.shape == self._floats.shape else image.to(torch.float32, copy=True)
        buffer.broken.copy_(levels.sum().isfinite().logical_not_())  # copied with the pixels, without another wait
        levels.mul_(127.5).add_(127.5).clamp_(0.0, 255.0).round_()
        rendered = self._scale(levels, self._shape)
        target = buffer.rgba.permute(2, 0, 1)[None, :3]
        if mix < 1.0:
            rendered = torch.lerp(target.float(), rendered.float(), mix)
        target.copy_(rendered.round_() if rendered.is_floating_point() else rendered)
        if buffer is not self._next:
            self._next.memory.copy_(buffer.memory)
        if self._next.broken.item():
            self._write_last(out)
            return False
        self._next, self._last = self._last or self._make_buffer(), self._next
        out[:] = self._last.rgba.numpy()
        return True

    def _make_buffer(self) -> _Buffer:
        return _Buffer(self._shape, torch.device("cpu"), self._is_pinned)

    def clear(self) -> None:
        """Drop the last good result: something else was shown since."""
        self._last = None

    def save(self) -> _Buffer | None:
        """As of `Remembering`: the last good result itself. `restore` has to follow."""
        return self._last

    def restore(self, saved: _Buffer | None) -> None:
        """As of `Remembering`."""
        self._last = saved

    def _write_last(self, out: Pixels) -> None:
        """Write the last good result, with the alpha of this frame."""
        assert self._frame is not None
        out[:] = self._frame
        if self._last is not None:
            out[..., :3] = self._last.rgba.numpy()[..., :3]

    def _scale(self, image: torch.Tensor, shape: Shape) -> torch.Tensor:
        """Scale bilinearly; with antialiasing where a side shrinks, against shimmer."""
        height, width = image.shape[2:]
        if (height, width) == shape:
            return image
        return scale(image.to(self._scaled), shape, "bilinear", antialias=height > shape[0] or width > shape[1])
