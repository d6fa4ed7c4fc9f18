"""The settings of peft's adapters, which say what the file's tensors do not: alphas and rank-stabilised scales.

diffusers writes them into the header of the file, peft into adapter_config.json beside it. Without them the alphas of
such a file are unknown, and the LoRA would be as much too weak or too strong as its alpha differs from its rank.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEADER = "lora_adapter_metadata"  # in files from diffusers: the settings of each model, as JSON
_FILE = "adapter_config.json"
_KINDS = ("LORA", "LOHA", "LOKR")


@dataclass(frozen=True)
class AdapterSettings:
    """Settings by name. content: of all models; of one with its name before, as in "unet.lora_alpha"."""

    content: Mapping[str, Any]

    def scale(self, target: str, path: str, rank: int) -> float:
        """The scale of a layer whose tensors have no alpha: alpha / rank, or alpha / sqrt(rank) (arXiv:2312.03732).

        Without settings 1, as in diffusers and lycoris-lora.

        Args:
            target: The model.
            path: The layer's path in it.
            rank: Of the layer's product; 0 if there is none.

        Raises:
            ValueError: The settings are not those of an adapter.
        """
        try:
            scale = self._scale(target, path, rank)
        except (AttributeError, TypeError, ArithmeticError, re.error) as error:
            raise ValueError(f"its settings are damaged: {error}") from error
        if not math.isfinite(scale):
            raise ValueError(f"its settings are damaged: the scale is {scale}")
        return scale

    def _scale(self, target: str, path: str, rank: int) -> float:
        rank = rank or int(self._by_pattern(target, "rank_pattern", path, self._get(target, "r", 1)))
        alpha = self._get(target, "lora_alpha", self._get(target, "alpha", rank))
        alpha = self._by_pattern(target, "alpha_pattern", path, alpha)
        return float(alpha) / (rank**0.5 if self._get(target, "use_rslora", False) else rank)

    def _get(self, target: str, name: str, default: Any) -> Any:
        value = self.content.get(f"{target}.{name}", self.content.get(name))
        return default if value is None else value

    def _by_pattern(self, target: str, name: str, path: str, default: Any) -> Any:
        """A value that a pattern gives for a path, as peft looks them up (`peft.utils.other.get_pattern_key`)."""
        patterns: Mapping[str, Any] = self._get(target, name, {})
        return next((value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", path)), default)


def read_settings(file: Path, header: Mapping[str, str]) -> AdapterSettings:
    """The settings of a LoRA file. header: the texts beside its tensors.

    Raises:
        ValueError, OSError: They are damaged, or of a kind of adapter that is not supported.
    """
    beside = file.with_name(_FILE)
    place = _HEADER if _HEADER in header else _FILE
    try:
        if _HEADER in header:
            content = json.loads(header[_HEADER])
        elif file.name.startswith("adapter_model") and beside.exists():
            content = json.loads(beside.read_text(encoding="utf-8"))
        else:
            return AdapterSettings({})
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError("its settings are not a mapping")
    kind = content.get("peft_type", "LORA")
    if kind not in _KINDS:
        raise ValueError(f"it is an adapter of the kind {kind}; supported are {', '.join(_KINDS)}")
    return AdapterSettings(content)
