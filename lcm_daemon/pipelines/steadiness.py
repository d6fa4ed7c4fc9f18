"""Steadiness: averages results over time along the motion of the input, and only where the input stayed the same.

What a model paints flickers, because the input shakes, moves across the model's grid, and is noisy. The result is mixed
with the last one, which is moved as the input has moved since (`optical_flow`). Three tests limit the last one's share
at each place, so that a real change shows at once:

- The input, averaged in the same way, differs from the new input: what the last result was painted from has changed.
  This average holds what a slow change has left behind, so its differences add up.
- The results differ over a wide area: a prompt or a fader has changed, not a detail.
- Hardly any place stayed the same: a cut. Then nothing of the last result is used.

Everything is computed on the device, reads numbers from tensors and keeps its addresses, so it may be part of a
recording. A broken result (NaN) leaves no trace.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lcm_daemon.core.frame import Size
from lcm_daemon.pipelines.numbers import Numbers
from lcm_daemon.pipelines.optical_flow import flow, flow_size, inside, shrink, to_luma, warp, window_mean
from lcm_daemon.pipelines.session_memory import copies, write_back

FLOW_SIDE = 96  # long side of the images that are compared: 128 takes twice as long and gains little
MAX_SHARE = 0.9  # of the last result, at amount 1: a tenth of each new one shows at once
CHANGE = 0.06  # difference, of the full range, at which the last result's share has fallen to 1/e
INPUT_WINDOW = 5  # side of the window over which inputs are compared, in pixels of the flow's resolution
RESULT_WINDOW = 15  # the same for results: details, which flicker, cancel out over it
CUT_SHARE = 0.5  # mean of `_same` over the inputs below which there was a cut


class Steadiness:
    """Averages the results of one session along the input's motion.

    A frame calls `follow`, then `average`.

    Args:
        size: (width, height) of the images.
        device: Where they are.
        numbers: For this object's numbers.
        delay: Largest number of frames by which a result comes later than its input, as in a stream batch.
    """

    def __init__(self, size: Size, device: torch.device, numbers: Numbers, delay: int = 0) -> None:
        self._flow_size = width, height = flow_size(size, FLOW_SIDE)
        self._numbers = numbers.reserve(2)  # the amount, and whether there may be a last result
        self._inputs = torch.zeros(2 + delay, 3, height, width, device=device)  # the last ones, newest first
        self._seen = torch.zeros(1, 3, height, width, device=device)  # the input, averaged as the result
        self._result = torch.zeros(1, 3, size[1], size[0], device=device)
        self._has_result = torch.zeros((), device=device)
        self._motion = torch.zeros(1, 2, height, width, device=device)
        self._continues = False

    def prepare(self, amount: float) -> bool:
        """Decide on the host whether the next frame is steadied, and write its numbers. amount: 0 to 1."""
        self._numbers.write((amount, 1.0 if self._continues else 0.0))
        self._continues = amount > 0.0
        return self._continues

    def follow(self, image: Tensor, delay: int = 0) -> Tensor:
        """Find how the input has moved. Call before anything is mixed into it.

        Args:
            image: The input, (1, 3, h, w) from -1 to 1.
            delay: Frames by which the result comes later than this input.

        Returns:
            The motion times the amount, for what else remembers an image: a flow to the frame before.
        """
        small = shrink(image.float(), self._flow_size)
        later = torch.where(self._numbers.tensor[1] > 0.0, self._inputs[:-1], small)
        self._inputs[1:] = later
        self._inputs[:1] = small
        lumas = to_luma(self._inputs[delay:delay + 2] * 0.5 + 0.5, self._flow_size)
        return self._motion.copy_(flow(lumas[1:], lumas[:1])) * self._numbers.tensor[0]

    def average(self, result: Tensor, delay: int = 0) -> Tensor:
        """Average a result. Call after `follow`, with the same delay.

        Args:
            result: (1, 3, h, w) from -1 to 1.

        Returns:
            The steadied result, of the same shape and dtype; the result itself where it is broken.
        """
        new, seen = result.float(), self._inputs[delay:delay + 1]
        old, old_seen = warp(self._result, self._motion, "bicubic"), warp(self._seen, self._motion)
        share = self._share(old - new, old_seen - seen)
        wide = functional.interpolate(share, new.shape[2:], mode="bilinear", align_corners=False)
        steadied = torch.lerp(new, old, wide)
        is_finite = steadied.sum().isfinite()
        self._seen.copy_(torch.where(is_finite, torch.lerp(seen, old_seen, share), self._seen))
        self._result.copy_(torch.where(is_finite, steadied.clamp(-1.0, 1.0), self._result))
        self._has_result.mul_(self._numbers.tensor[1]).masked_fill_(is_finite, 1.0)
        return torch.where(is_finite, steadied.to(result.dtype), result)

    def save(self) -> Sequence[Tensor] | None:
        """As of `Remembering`."""
        return copies(self._memory()) if self._continues else None

    def restore(self, saved: Sequence[Tensor] | None) -> None:
        """As of `Remembering`."""
        self._continues = saved is not None
        if saved is not None:
            write_back(self._memory(), saved)

    def _memory(self) -> tuple[Tensor, ...]:
        return self._inputs, self._seen, self._result, self._has_result

    def _share(self, results: Tensor, inputs: Tensor) -> Tensor:
        """The share of the last result at each place, float32 (1, 1, h, w), from the differences (-2 to 2)."""
        details = shrink(results, self._flow_size)
        changed = window_mean(inputs.abs().amax(1, keepdim=True), INPUT_WINDOW)
        repainted = window_mean(details, RESULT_WINDOW).abs().amax(1, keepdim=True)
        is_same_scene = _same(changed).mean() > CUT_SHARE
        amount, may_continue = self._numbers.tensor
        share = _same(torch.maximum(changed, repainted)) * inside(self._motion)
        limited: Tensor = share * (MAX_SHARE * amount * may_continue * self._has_result * is_same_scene)
        return limited.nan_to_num(0.0)  # of a broken result, which is not stored


def _same(difference: Tensor) -> Tensor:
    """How far images with this difference (of -1 to 1) show the same: 1 to 0."""
    return torch.exp((difference * (0.5 / CHANGE)).square().neg())
