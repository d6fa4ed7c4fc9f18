"""Scribble: thick white strokes on black where the image is darker than its surroundings, without a model.

It is the difference of two Gaussian blurs with a threshold ("XDoG": Winnemoeller et al., Computers & Graphics 36,
2012), with the numbers of sd-webui-controlnet's preprocessor scribble_xdog, which ControlNets for scribbles work with.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor, PreprocessorConfig

NARROW, WIDE = 0.5, 5.0  # standard deviations of the blurs in pixels
THRESHOLD = 16.0  # of 255 levels: how much darker than its surroundings a stroke is


class Scribble(Preprocessor):
    """Strokes, as three equal channels of 0 or 1."""

    is_recordable = True

    def __init__(self, device: torch.device) -> None:
        self._narrow, self._wide = _gaussian(NARROW, device), _gaussian(WIDE, device)

    @classmethod
    def load(cls, config: PreprocessorConfig) -> Scribble:
        return cls(config.device)

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        levels = image.float().mul(127.5).add_(127.5)
        darker = _blur(levels, self._wide) - _blur(levels, self._narrow)
        strokes = darker.amin(1, keepdim=True) > THRESHOLD  # in every channel
        return strokes.expand(-1, 3, -1, -1).to(image.dtype)


def _blur(levels: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Blur in both directions, with reflected rims; repeated ones where an image is smaller than the kernel."""
    reach = len(kernel) // 2
    rows, columns = (min(reach, side - 1) for side in levels.shape[-2:])
    padded = functional.pad(levels, (columns, columns, rows, rows), mode="reflect")
    padded = functional.pad(padded, (reach - columns,) * 2 + (reach - rows,) * 2, mode="replicate")
    across = functional.conv2d(padded, kernel.expand(3, 1, 1, -1), groups=3)
    return functional.conv2d(across, kernel[:, None].expand(3, 1, -1, 1), groups=3)


def _gaussian(deviation: float, device: torch.device) -> torch.Tensor:
    """A normalised Gaussian kernel that reaches four deviations, as OpenCV's for float images."""
    reach = round(deviation * 4)
    distance = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(distance.square() / (-2 * deviation**2))
    return (weights / weights.sum()).float().to(device)
