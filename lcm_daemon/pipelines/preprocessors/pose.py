"""Pose: a person as OpenPose's coloured sticks on black, found by a ViTPose model (Xu et al., arXiv:2204.12484).

One person, followed from look to look: the picture is cut to where the person was last, and looked at as a whole where
nobody was. Everything has a fixed shape and stays on the device; no box or point comes back to the host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor, Setting, read_pretrained
from lcm_daemon.pipelines.preprocessors.intake import Normal, read_config
from lcm_daemon.pipelines.preprocessors.skeleton import SEEN, Skeleton

MARGIN = 1.25  # the cut is that much larger than the person, as ViTPose was trained

_COCO_JOINTS = 17


class Pose(Preprocessor):
    """The person's joints and limbs in OpenPose's colours."""

    detector = "usyd-community/vitpose-base-simple"

    def __init__(self, model: Any, normal: Normal, setting: Setting) -> None:
        self._model, self._normal, self._dtype = model, normal, setting.dtype
        backbone = model.config.backbone_config
        self._intake: tuple[int, int] = backbone.image_size[0], backbone.image_size[1]
        # Of several sets of experts (ViTPose++) the first was trained on COCO.
        self._more = {"dataset_index": torch.zeros(1, dtype=torch.long, device=setting.device)} if (
            backbone.num_experts > 1) else {}
        self._skeleton = Skeleton(setting.device)
        self._box: torch.Tensor | None = None  # (4,): the cut's centre and half its sides, in shares of the picture

    @classmethod
    def load(cls, setting: Setting) -> Pose:
        model = read_pretrained(transformers.VitPoseForPoseEstimation, setting, ("vitpose",), ())
        if model.config.num_labels != _COCO_JOINTS:
            raise ValueError(f"it finds {model.config.num_labels} joints, and COCO's {_COCO_JOINTS} are wanted")
        return cls(model, Normal(read_config(setting.detector or Path()), setting.device), setting)

    def _map(self, picture: torch.Tensor) -> torch.Tensor:
        whole = self._whole(picture)
        box = whole if self._box is None else self._box
        points, scores = self._find(picture, box)
        self._box = self._follow(points, scores, picture, whole)
        return self._skeleton.draw(points, scores, (picture.shape[-2], picture.shape[-1])).to(picture.dtype)

    def _find(self, picture: torch.Tensor, box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Joints of the person in the box: places (17, 2) as (x, y) in shares of the picture, confidences (17,)."""
        centre, half = box[:2] * 2 - 1, box[2:] * 2
        rows, columns = (torch.linspace(-1.0, 1.0, side, device=box.device) for side in self._intake)
        y, x = torch.meshgrid(centre[1] + rows * half[1], centre[0] + columns * half[0], indexing="ij")
        # Black where the cut goes beyond the picture.
        cut = functional.grid_sample(picture.float() + 1, torch.stack([x, y], -1)[None], align_corners=False) - 1
        heat = self._model(self._normal.take(cut, self._dtype), **self._more).heatmaps[0].float()
        places, scores = peaks(heat)
        return box[:2] + (places * 2 - 1) * box[2:], scores

    def _whole(self, picture: torch.Tensor) -> torch.Tensor:
        return self._shaped(torch.full((4,), 0.5, device=picture.device), picture)

    def _follow(self, points: torch.Tensor, scores: torch.Tensor, picture: torch.Tensor,
                whole: torch.Tensor) -> torch.Tensor:
        """Where to look next: around the joints that were seen, or everywhere if fewer than half of them were."""
        seen = (scores > SEEN)[:, None]
        low = torch.where(seen, points, 1.0).amin(0)
        high = torch.where(seen, points, 0.0).amax(0)
        box = torch.cat([(low + high) / 2, ((high - low) / 2 * MARGIN).clamp_min(0.02)])
        return torch.where(seen.float().mean() < 0.5, whole, self._shaped(box, picture))

    def _shaped(self, box: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        """The box grown one way to the model's own shape."""
        height, width = picture.shape[-2:]
        ratio = self._intake[1] / self._intake[0] * height / width  # of the box's sides, each a share of its own
        half_width = torch.maximum(box[2], box[3] * ratio)
        return torch.stack([box[0], box[1], half_width, half_width / ratio])


def peaks(heat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where heatmaps (n, h, w) are highest: (n, 2) as (x, y) from 0 to 1, corner to corner, and how high, (n,).

    Between pixels by the parabola through the neighbours' logarithms, the one-dimensional form of DARK (Zhang et al.,
    arXiv:1910.06278).
    """
    height, width = heat.shape[-2:]
    scores, index = heat.flatten(1).max(1)
    row, column = index // width, index % width
    level = functional.pad(heat.clamp_min(1e-3).log()[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    each = torch.arange(len(heat), device=heat.device)

    def shift(down: int, right: int) -> torch.Tensor:
        before, here, after = (level[each, row + 1 + step * down, column + 1 + step * right] for step in (-1, 0, 1))
        curve = before - 2 * here + after
        return torch.where(curve < 0, (before - after) / (2 * curve.clamp_max(-1e-6)), 0.0).clamp(-0.5, 0.5)

    x, y = column + shift(0, 1), row + shift(1, 0)
    return torch.stack([x / (width - 1), y / (height - 1)], -1), scores
