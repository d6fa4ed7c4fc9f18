"""Pose: a person as OpenPose's coloured sticks on black, detected by a ViTPose model (Xu et al., arXiv:2204.12484).

One person is tracked from frame to frame. The model sees the part of the image where the person was last, or the whole
image if no person was found. All tensors have fixed shapes and stay on the device; no box or point returns to the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor, PreprocessorConfig, read_pretrained
from lcm_daemon.pipelines.preprocessors.model_input import Normalizer, read_config
from lcm_daemon.pipelines.preprocessors.skeleton import MIN_CONFIDENCE, Skeleton
from lcm_daemon.pipelines.session_memory import copies

MARGIN = 1.25  # size of the crop relative to the person, as ViTPose was trained

_COCO_JOINTS = 17


class Pose(Preprocessor):
    """The person's joints and limbs in OpenPose's colours."""

    detector = "usyd-community/vitpose-base-simple"
    is_recordable = True

    def __init__(self, model: Any, normalizer: Normalizer, config: PreprocessorConfig) -> None:
        self._model, self._normalizer, self._dtype = model, normalizer, config.dtype
        backbone = model.config.backbone_config
        self._input_shape: tuple[int, int] = backbone.image_size[0], backbone.image_size[1]
        self._options: dict[str, torch.Tensor] = {}
        if backbone.num_experts > 1:  # ViTPose++: the first set of experts was trained on COCO
            self._options["dataset_index"] = torch.zeros(1, dtype=torch.long, device=config.device)
        self._skeleton = Skeleton(config.device)
        # (4,): centre x, y and half width, height, relative to the image. Empty before the first image.
        self._box = torch.empty(0, device=config.device)
        self._first_box = self._box  # what a person is looked for in at the start: the whole image

    @classmethod
    def load(cls, config: PreprocessorConfig) -> Pose:
        model = read_pretrained(transformers.VitPoseForPoseEstimation, config, ("vitpose",), ())
        if model.config.num_labels != _COCO_JOINTS:
            raise ValueError(f"it detects {model.config.num_labels} joints; use a model for COCO's {_COCO_JOINTS}")
        return cls(model, Normalizer(read_config(config.detector or Path()), config.device), config)

    def save(self) -> Sequence[torch.Tensor] | None:
        return copies((self._box,)) if len(self._box) else None

    def restore(self, saved: Sequence[torch.Tensor] | None) -> None:
        self._box.copy_(self._first_box if saved is None else saved[0])

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        whole = self._whole(image)
        if not len(self._box):
            self._box, self._first_box = whole.clone(), whole.clone()
        points, scores = self._detect(image, self._box)
        self._box.copy_(self._next_box(points, scores, image, whole))
        return self._skeleton.draw(points, scores, (image.shape[-2], image.shape[-1])).to(image.dtype)

    def _detect(self, image: torch.Tensor, box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Joints of the person in the box: positions (17, 2) as (x, y) from 0 to 1, and confidences (17,)."""
        centre, half = box[:2] * 2 - 1, box[2:] * 2
        rows, columns = (torch.linspace(-1.0, 1.0, side, device=box.device) for side in self._input_shape)
        y, x = torch.meshgrid(centre[1] + rows * half[1], centre[0] + columns * half[0], indexing="ij")
        # Black outside the image.
        crop = functional.grid_sample(image.float() + 1, torch.stack([x, y], -1)[None], align_corners=False) - 1
        pixels = self._normalizer.normalize(crop, self._dtype)
        heatmaps = self._model(pixels, **self._options).heatmaps[0].float()
        positions, scores = peaks(heatmaps)
        return box[:2] + (positions * 2 - 1) * box[2:], scores

    def _whole(self, image: torch.Tensor) -> torch.Tensor:
        return self._fit_shape(torch.full((4,), 0.5, device=image.device), image)

    def _next_box(self, points: torch.Tensor, scores: torch.Tensor, image: torch.Tensor,
                  whole: torch.Tensor) -> torch.Tensor:
        """Box for the next frame: around the visible joints, or the whole image if fewer than half are visible."""
        seen = (scores > MIN_CONFIDENCE)[:, None]
        low = torch.where(seen, points, 1.0).amin(0)
        high = torch.where(seen, points, 0.0).amax(0)
        box = torch.cat([(low + high) / 2, ((high - low) / 2 * MARGIN).clamp_min(0.02)])
        return torch.where(seen.float().mean() < 0.5, whole, self._fit_shape(box, image))

    def _fit_shape(self, box: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Grow the box in one direction to the aspect ratio of the model's input."""
        height, width = image.shape[-2:]
        # Of width to height, each relative to the image's.
        ratio = self._input_shape[1] / self._input_shape[0] * height / width
        half_width = torch.maximum(box[2], box[3] * ratio)
        return torch.stack([box[0], box[1], half_width, half_width / ratio])


def peaks(heat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the maxima of heatmaps (n, h, w).

    The position between pixels is that of a parabola through the logarithms of the neighbours: the one-dimensional
    form of DARK (Zhang et al., arXiv:1910.06278).

    Returns:
        Positions (n, 2) as (x, y) from 0 to 1, corner to corner; and the maxima, (n,).
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
