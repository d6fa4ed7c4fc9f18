"""Preprocessor: a picture to the map that a ControlNet follows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from lcm_daemon.pipelines.weights import read_json


@dataclass(frozen=True)
class Setting:
    """Where a preprocessor runs. detector: the folder or file of its own model, None where the recipe names none."""

    detector: Path | None
    device: torch.device
    dtype: torch.dtype


class Preprocessor(ABC):
    """Runs on the device that the pictures are on.

    detector: an example of the model that the recipe must name for it, as it is said in an error; "" for none.
    """

    detector: ClassVar[str] = ""

    @classmethod
    def load(cls, setting: Setting) -> Preprocessor:
        """Ready to run. Raises what reading a missing, damaged or foreign model raises."""
        return cls()

    def map(self, picture: torch.Tensor) -> torch.Tensor:
        """(1, 3, h, w) from -1 to 1 -> a map of the same shape and dtype, from 0 to 1."""
        if picture.ndim != 4 or picture.shape[:2] != (1, 3):
            raise ValueError(f"a picture is (1, 3, h, w), got {tuple(picture.shape)}")
        return self._map(picture)

    @abstractmethod
    def _map(self, picture: torch.Tensor) -> torch.Tensor: ...


class Plain(Preprocessor):
    """The picture is a map already."""

    def _map(self, picture: torch.Tensor) -> torch.Tensor:
        return picture.mul(0.5).add_(0.5).clamp_(0.0, 1.0)


def read_pretrained(kind: Any, setting: Setting, types: Sequence[str], unused: Sequence[str]) -> Any:
    """A transformers model from the detector's folder, of one of these "model_type"s, ready to run.

    unused: parts of the names of weights that the model has and a file may lack.
    Raises OSError, ValueError and what the libraries raise of damaged files.
    """
    folder = setting.detector or Path()
    found = read_json(folder / "config.json").get("model_type")
    if found not in types:
        raise ValueError(f"its model_type {found!r} is not one of {', '.join(types)}")
    model, report = kind.from_pretrained(folder, dtype=setting.dtype, use_safetensors=True, local_files_only=True,
                                         output_loading_info=True)
    absent = [key for key in report["missing_keys"] if not any(part in key for part in unused)]
    if absent or report["mismatched_keys"]:  # the library fills them with random numbers and goes on
        raise ValueError(f"weights do not fit config.json: {(absent or list(report['mismatched_keys']))[0]}")
    return model.to(setting.device).eval().requires_grad_(False)
