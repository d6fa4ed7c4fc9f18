"""Segmentation: what is where, in the colours of the ADE20K data set, by any such model that transformers loads.

The models tell apart the 150 classes of the scene parsing benchmark (Zhou et al., arXiv:1608.05442): wall, building,
sky, floor, tree, ... ControlNets for segmentation were trained on its colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor, PreprocessorConfig, read_pretrained
from lcm_daemon.pipelines.preprocessors.model_input import Normalizer, read_config, resize
from lcm_daemon.pipelines.scaling import Shape

_MODEL_TYPES = ("upernet", "segformer", "beit", "dpt", "data2vec-vision", "mobilevitv2")  # values of "model_type"
_UNUSED = ("auxiliary_head.", "pooler.")
_STEP = 32  # pixels: models of this kind shrink an image by 4 to 32

# The colour of each class, in hexadecimal digits, as the data set's own tools and mmsegmentation have them.
_COLOURS = """
    787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33
    ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff
    08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff
    eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff
    0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad
    0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2
    00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa
    8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3
    ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff
    00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""


class Segmentation(Preprocessor):
    """The most probable class of each pixel, as its colour."""

    detector = "openmmlab/upernet-convnext-tiny"
    is_recordable = True

    def __init__(self, model: Any, image_config: Mapping[str, Any], config: PreprocessorConfig) -> None:
        self._model, self._dtype = model, config.dtype
        self._sides = _sides(image_config)
        self._normalizer = Normalizer(image_config, config.device)
        self._colours = torch.tensor([list(bytes.fromhex(colour)) for colour in _COLOURS.split()],
                                     device=config.device) / 255

    @classmethod
    def load(cls, config: PreprocessorConfig) -> Segmentation:
        model = read_pretrained(transformers.AutoModelForSemanticSegmentation, config, _MODEL_TYPES, _UNUSED)
        classes = len(_COLOURS.split())
        if model.config.num_labels != classes:
            raise ValueError(f"it tells {model.config.num_labels} classes apart; use a model for ADE20K's {classes}")
        return cls(model, read_config(config.detector or Path()), config)

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        pixels = self._normalizer.normalize(resize(image, self._sides or _whole_steps(image)), self._dtype)
        logits = self._model(pixel_values=pixels).logits.float()
        logits = functional.interpolate(logits, image.shape[-2:], mode="bilinear")
        colours = functional.embedding(logits.argmax(1), self._colours)
        return colours.permute(0, 3, 1, 2).to(image.dtype)


def _sides(config: Mapping[str, Any]) -> Shape | None:
    """Height and width of the model's input, where its preprocessor_config.json says both."""
    size = config.get("size") or {}
    size = {"height": size, "width": size} if isinstance(size, int) else size
    return (int(size["height"]), int(size["width"])) if "height" in size and "width" in size else None


def _whole_steps(image: torch.Tensor) -> Shape:
    """The image's own size in whole steps, for models that take any size."""
    height, width = (max(round(side / _STEP), 1) * _STEP for side in image.shape[-2:])
    return height, width
