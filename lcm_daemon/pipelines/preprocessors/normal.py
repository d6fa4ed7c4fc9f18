"""Normal maps, made of a depth model's disparity: where each piece of the surface faces.

For a pinhole camera the disparity of a plane is linear in the image, D = n . (u / f, v / f, 1) / c, where n is the
plane's normal, c < 0 its distance from the camera along n, f the focal length and (u, v) the pixel from the centre. So
n points along (f dD/du, f dD/dv, D - u dD/du - v dD/dv) / c. Models for relative depth give D up to a factor and an
offset; the offset is a guess here.

The colours are those of the data that ControlNet 1.1 was trained on: red faces left, green up, blue to the camera
(github.com/lllyasviel/ControlNet-v1-1-nightly).
"""

from __future__ import annotations

import torch
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor, PreprocessorConfig
from lcm_daemon.pipelines.preprocessors.depth import Depth

FOCAL = 1.0  # length relative to the image's longer side, of a lens with an angle of 53 degrees
FARTHEST = 0.3  # disparity of the farthest point, relative to the distance from it to the nearest


class Normal(Preprocessor):
    """The surface's normals as colours."""

    detector = Depth.detector
    is_recordable = True

    def __init__(self, depth: Depth) -> None:
        self._depth = depth

    @classmethod
    def load(cls, config: PreprocessorConfig) -> Normal:
        return cls(Depth.load(config))

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        disparity = self._depth.map(image.float())[:, :1] + FARTHEST
        return normals(disparity).mul_(0.5).add_(0.5).to(image.dtype)


def normals(disparity: torch.Tensor) -> torch.Tensor:
    """Compute normals of length 1, as (left, up, to the camera), (1, 3, h, w), from disparity above 0, (1, 1, h, w)."""
    height, width = disparity.shape[-2:]
    along_u, along_v = _slopes(disparity)
    u = torch.arange(width, device=disparity.device) - (width - 1) / 2
    v = (torch.arange(height, device=disparity.device) - (height - 1) / 2)[:, None]
    focal = FOCAL * max(height, width)
    # Towards the camera c is negative, so the signs of left and up are those of the slopes.
    front = disparity - u * along_u - v * along_v
    return functional.normalize(torch.cat([focal * along_u, focal * along_v, front], 1), dim=1)


def _slopes(disparity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Central differences per pixel, to the right and downwards; those of the neighbours at the rims."""
    padded = functional.pad(disparity, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    across[..., 0], across[..., -1] = across[..., 1], across[..., -2]
    down[..., 0, :], down[..., -1, :] = down[..., 1, :], down[..., -2, :]
    return across, down
