"""A copy of the built-in model whose weights are damaged: everything that its UNet computes is not a number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from lcm_daemon.recipes.reader import load_recipe

LENGTH_BYTES = 8  # of a safetensors file: the length of its header, little endian
NAN = b"\x00\x00\xc0\x7f"  # a quiet NaN as float32, little endian
TENSOR = "conv_out.bias"


def write_nan_model(folder: Path) -> Path:
    """Write the model into `folder`, which must not exist, and return it. Raises OSError."""
    shutil.copytree(load_recipe("builtin").model, folder, ignore=shutil.ignore_patterns("*.jpg", "int8.json"))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    entry = json.loads(content[LENGTH_BYTES:start])[TENSOR]
    first, last = (start + offset for offset in entry["data_offsets"])
    pattern = NAN if entry["dtype"] == "F32" else b"\x00\x7e" if entry["dtype"] == "F16" else b"\xc0\x7f"
    content[first:last] = pattern * ((last - first) // len(pattern))
    weights.write_bytes(content)
    return folder
