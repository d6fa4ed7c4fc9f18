"""Preprocessor: a picture to the map that a ControlNet follows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch


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
