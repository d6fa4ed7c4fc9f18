"""Copies of the built-in model whose weights are damaged: some are not numbers, or all are so large that pictures are
not numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.recipes.reader import load_recipe

LENGTH_BYTES = 8  # of a safetensors file: the length of its header, little endian
WEIGHTS = "diffusion_pytorch_model.safetensors"
TYPES = {"F16": np.float16, "F32": np.float32}

Numbers = NDArray[np.floating[Any]]


def write_model_of_nan(folder: Path) -> Path:
    """Write a model one of whose tensors is NaN into `folder`, which must not exist. Return it. Raises OSError."""
    return _write(folder, "unet", lambda name, values: values * np.nan if name == "conv_out.bias" else values)


def write_model_that_paints_nan(folder: Path) -> Path:
    """Write a model whose weights are numbers, and whose decoder overflows: every one of its weights is the largest
    number of its type. As `write_model_of_nan`."""
    return _write(folder, "vae", lambda name, values: np.copysign(np.finfo(values.dtype).max, values))


def _write(folder: Path, part: str, damage: Callable[[str, Numbers], Numbers]) -> Path:
    """damage: Returns the values of a tensor in place of those that it had, by its name."""
    shutil.copytree(load_recipe("builtin").model, folder, ignore=shutil.ignore_patterns("*.jpg", "int8.json"))
    weights = folder / part / WEIGHTS
    content = bytearray(weights.read_bytes())
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    for name, entry in json.loads(content[LENGTH_BYTES:start]).items():
        if entry.get("dtype") in TYPES:
            first, last = (start + offset for offset in entry["data_offsets"])
            values = np.frombuffer(bytes(content[first:last]), TYPES[entry["dtype"]])
            content[first:last] = damage(name, values).astype(values.dtype).tobytes()
    weights.write_bytes(content)
    return folder
