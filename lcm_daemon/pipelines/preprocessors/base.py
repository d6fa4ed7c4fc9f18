"""Base class of preprocessors. A preprocessor turns an image into the control map that a ControlNet follows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from lcm_daemon.recipes.weight_folders import read_json


@dataclass(frozen=True)
class PreprocessorConfig:
    """Where a preprocessor runs, and with what.

    Attributes:
        detector: folder or file of the preprocessor's own model; None if the recipe names none.
        device: device of the images.
        dtype: precision of the pipeline.
    """

    detector: Path | None
    device: torch.device
    dtype: torch.dtype


class Preprocessor(ABC):
    """Runs on the device of the images.

    Attributes:
        detector: example of the model that the recipe must name, for error messages; "" if it needs none.
        is_recordable: whether `map` may be part of a CUDA graph. It then launches the same kernels for each image,
            reads nothing back from the device, copies nothing to it, and keeps what it remembers at one address. A
            frame for which another preprocessor makes a map is rendered without a graph.
    """

    detector: ClassVar[str] = ""
    is_recordable: ClassVar[bool] = False

    @classmethod
    def load(cls, config: PreprocessorConfig) -> Preprocessor:
        """Build the preprocessor. Raises what reading a missing, damaged or foreign model raises."""
        return cls()

    def map(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the control map of an image.

        Args:
            image: (1, 3, h, w) from -1 to 1.

        Returns:
            Same shape and dtype, from 0 to 1.
        """
        if image.ndim != 4 or image.shape[:2] != (1, 3):
            raise ValueError(f"an image must be (1, 3, h, w), got {tuple(image.shape)}")
        return self._map(image)

    def save(self) -> Any | None:
        """As of `Remembering`: what the maps so far have left behind. Most preprocessors remember nothing."""
        return None

    def restore(self, saved: Any | None) -> None:  # noqa: B027 - as `save`
        """As of `Remembering`."""

    @abstractmethod
    def _map(self, image: torch.Tensor) -> torch.Tensor: ...


class NoPreprocessor(Preprocessor):
    """For images that are control maps already."""

    is_recordable = True

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        return image.mul(0.5).add_(0.5).clamp_(0.0, 1.0)


def read_pretrained(kind: Any, config: PreprocessorConfig, types: Sequence[str], unused: Sequence[str]) -> Any:
    """Load a transformers model from the detector's folder, ready to run.

    Args:
        kind: the model's class in transformers.
        config: names the folder, device and dtype.
        types: accepted values of "model_type" in the model's config.
        unused: parts of the names of weights that the model has but a file may lack.

    Raises:
        OSError: a file cannot be read.
        ValueError: the model does not fit; also other errors, which the libraries raise for damaged files.
    """
    folder = config.detector or Path()
    found = read_json(folder / "config.json").get("model_type")
    if found not in types:
        raise ValueError(f"its model_type {found!r} is not one of {', '.join(types)}")
    model, report = kind.from_pretrained(folder, dtype=config.dtype, use_safetensors=True, local_files_only=True,
                                         output_loading_info=True)
    absent = [key for key in report["missing_keys"] if not any(part in key for part in unused)]
    if absent or report["mismatched_keys"]:  # the library only fills them with random numbers
        raise ValueError(f"weights do not fit config.json: {(absent or list(report['mismatched_keys']))[0]}")
    return model.to(config.device).eval().requires_grad_(False)
