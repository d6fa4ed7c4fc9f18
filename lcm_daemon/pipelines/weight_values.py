"""Checks weights as they are read: NaN, infinity and the integers of quantised files are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import nn

from lcm_daemon.recipes.safetensors_header import TensorInfo

_INTEGERS = ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "F4", "F6_E2M3", "F6_E3M2")
_Model = TypeVar("_Model")


def off_the_file(model: _Model) -> _Model:
    """Copy weights on the CPU, which in the file's precision are still parts of its mapped file; return the model.

    A file that is overwritten or cut off while such a model plays would change it, or end the process (SIGBUS).
    """
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.device.type == "cpu":
                tensor.data = tensor.data.clone()
    return model


def check_numbers(model: _Model) -> _Model:
    """Return a model that is on its final device and in its final precision, off its file.

    The sums of all parameters are compared at once: one answer from the device. In float32 no sum of usual weights
    overflows.

    Raises:
        ValueError: A weight is NaN or infinite. Merges that went wrong have such, and play as black pictures.
    """
    tensors = {name: tensor for name, tensor in model.named_parameters() if tensor.is_floating_point()} if isinstance(
        model, nn.Module) else {}
    if not tensors or next(iter(tensors.values())).is_meta:
        return model
    sums = torch.stack([tensor.detach().sum(dtype=torch.float32) for tensor in tensors.values()])
    wrong = [name for name, is_number in zip(tensors, torch.isfinite(sums).tolist(), strict=True) if not is_number]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(f"it has values that are not numbers (NaN or infinite) in {wrong[0]}{more}")
    return off_the_file(model)


def refuse_integers(header: Mapping[str, TensorInfo], prefixes: Sequence[str] = ()) -> None:
    """Raise ValueError if a file's weights are quantised: they would be read as they are, without their scales.

    prefixes: Of the names that count; all of them without any.
    """
    for name, info in header.items():
        if info.dtype in _INTEGERS and name.endswith(".weight") and (not prefixes or name.startswith(tuple(prefixes))):
            raise ValueError(f"it is quantised, which is not supported: {name} is of the type {info.dtype}")
