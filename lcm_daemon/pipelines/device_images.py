"""DeviceImages: frames to images and back on the device, inside a recording.

Every buffer that the host's copies touch has two rows, which alternate from frame to frame: the next frame goes up and
the last one goes down while this one is computed. Which row a frame uses is a number, so one recording serves both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lcm_daemon.core.frame import Size
from lcm_daemon.pipelines.numbers import Numbers
from lcm_daemon.pipelines.scaling import Shape, scale
from lcm_daemon.pipelines.session_memory import copies, write_back

ROWS = 2


class DeviceImages:
    """Converts bytes to images and back, mixes, and keeps the last good picture.

    A broken image, which contains NaN or infinity such as from overflow in half precision, is not shown. The last good
    one stays, and before there is one, the input. The decision is made on the device, so no frame waits for it.

    Args:
        size: Output size, (width, height).
        render_size: Render size, (width, height).
        device: Where images are rendered.
        dtype: Precision of the images that `to_image` and `to_guide` return.
        numbers: For this object's numbers.

    Attributes:
        inputs, guides: uint8 (ROWS, H, W, 4), where frames and guides are uploaded to.
        image: (1, 3, h, w), the last input that `to_image` converted.
        outputs: uint8 (ROWS, H, W, 4), finished frames.
        verdicts: uint8 (ROWS, 2): whether the image was broken, and whether the safety checker rejected it.
    """

    def __init__(self, size: Size, render_size: Size, device: torch.device, dtype: torch.dtype,
                 numbers: Numbers) -> None:
        self._shape, self._render_shape = (size[1], size[0]), (render_size[1], render_size[0])
        self.inputs = torch.zeros(ROWS, *self._shape, 4, dtype=torch.uint8, device=device)
        self.guides, self.outputs = torch.zeros_like(self.inputs), torch.zeros_like(self.inputs)
        self.verdicts = torch.zeros(ROWS, 2, dtype=torch.uint8, device=device)
        self._numbers = numbers.reserve(4)
        self._index = torch.zeros(1, dtype=torch.int64, device=device)
        self._row, self._mix, self._keep, self._opaque = torch.split(self._numbers.tensor, 1)
        self._shown = torch.zeros(1, *self._shape, dtype=torch.int32, device=device)  # this frame: input, then result
        self._last = torch.zeros(1, 3, *self._shape, dtype=torch.uint8, device=device)
        self._has_last = torch.zeros(1, dtype=torch.bool, device=device)
        self._floats = torch.zeros(1, 3, *self._render_shape, device=device).contiguous(
            memory_format=torch.channels_last)
        self.image, self._guide = (torch.zeros_like(self._floats, dtype=dtype) for _ in range(2))
        self._is_forgotten = True

    def prepare(self, row: int, mix: float, has_input: bool) -> None:
        """Write the numbers of a frame.

        Args:
            row: The row of every buffer that this frame uses.
            mix: 0 (the input) to 1 (the image).
            has_input: The input was uploaded. Else its alpha counts as 255, and `mix` is 1.
        """
        self._numbers.write((row, mix, 0.0 if self._is_forgotten else 1.0, 0.0 if has_input else 255.0))
        self._is_forgotten = False

    def forget(self) -> None:
        """Drop the last good picture before the next frame: something else was shown since."""
        self._is_forgotten = True

    def save(self) -> Sequence[Tensor] | None:
        """As of `Remembering`."""
        return None if self._is_forgotten else copies((self._last, self._has_last))

    def restore(self, saved: Sequence[Tensor] | None) -> None:
        """As of `Remembering`."""
        self._is_forgotten = saved is None
        if saved is not None:
            write_back((self._last, self._has_last), saved)

    def begin(self) -> None:
        """Begin a frame: find its row and its input. Call before all others."""
        self._index.copy_(self._row)
        self._pick(self.inputs, self._shown)

    def to_image(self) -> Tensor:
        """Convert the input to (1, 3, h, w) from -1 to 1. Always the same tensor."""
        return self._convert(self._shown, self.image)

    def to_guide(self) -> Tensor:
        """Convert the guide to (1, 3, h, w) from -1 to 1. Always the same tensor."""
        return self._convert(self._pick(self.guides, torch.empty_like(self._shown)), self._guide)

    def finish(self, image: Tensor, rejected: Tensor | None = None) -> Tensor:
        """Mix an image over the input, and write the result and the verdicts to this frame's row.

        Args:
            image: (1, 3, h, w) of the render size, or larger.
            rejected: bool (), the safety checker's verdict.

        Returns:
            `outputs`.
        """
        levels = self._floats.copy_(image) if image.shape == self._floats.shape else image.to(torch.float32, copy=True)
        good = levels.sum().isfinite()
        levels.mul_(127.5).add_(127.5).clamp_(0.0, 255.0).round_()
        pixels = _planes(self._shown)
        target, alpha = pixels[:, :3], pixels[:, 3]
        mixed = torch.lerp(target.float(), self._scale(levels, self._shape), self._mix).round_()
        self._has_last.logical_and_(self._keep.bool()).logical_or_(good)
        self._last.copy_(torch.where(good, mixed, self._last.float()))
        target.copy_(torch.where(self._has_last, self._last, target))
        alpha.copy_(torch.maximum(alpha.float(), self._opaque))
        _as_numbers(self.outputs).index_copy_(0, self._index, self._shown)
        broken = good.logical_not()
        verdicts = torch.stack([broken, torch.zeros_like(broken) if rejected is None else rejected])
        self.verdicts.index_copy_(0, self._index, verdicts[None].to(torch.uint8))
        return self.outputs

    def to_seen(self, row: int) -> Tensor:
        """Convert a frame as it will be seen to (1, 3, h, w) from -1 to 1."""
        pixels = self.outputs[row, ..., :3].permute(2, 0, 1)[None]
        return self._scale(pixels, self._render_shape).float().mul(1 / 127.5).sub(1.0)

    def reject(self, row: int, rejected: Tensor) -> None:
        """Add a verdict of the safety checker, bool (), to that of `finish`."""
        self.verdicts[row, 1:].bitwise_or_(rejected.to(torch.uint8))

    def _pick(self, rows: Tensor, picked: Tensor) -> Tensor:
        return torch.index_select(_as_numbers(rows), 0, self._index, out=picked)

    def _convert(self, picked: Tensor, image: Tensor) -> Tensor:
        pixels = self._scale(_planes(picked)[:, :3], self._render_shape)
        return torch.sub(torch.mul(pixels, 1 / 127.5, out=self._floats), 1.0, out=image)

    def _scale(self, image: Tensor, shape: Shape) -> Tensor:
        """Scale bilinearly; with antialiasing where a side shrinks, against shimmer."""
        height, width = image.shape[2:]
        if (height, width) == shape:
            return image
        return scale(image.float(), shape, "bilinear", antialias=height > shape[0] or width > shape[1])


def _as_numbers(pixels: Tensor) -> Tensor:
    """View uint8 (n, H, W, 4) as int32 (n, H, W): a kernel then moves four bytes at a time."""
    return pixels.view(torch.int32)[..., 0]


def _planes(pixels: Tensor) -> Tensor:
    """View pixels of four bytes, int32 (1, H, W), as uint8 (1, 4, H, W)."""
    return pixels[..., None].view(torch.uint8).permute(0, 3, 1, 2)
