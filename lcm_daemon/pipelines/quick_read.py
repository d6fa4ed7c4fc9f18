"""Reads a model whose weights fit its class exactly, in a fraction of the time that the libraries' own readers take.

They convert the names of old checkpoints, spread weights over devices and quantise; each of these is looked for at
every load. A model that needs any of it is left to them, and so is every damaged file: their messages are better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from lcm_daemon.pipelines.load_errors import UNREADABLE
from lcm_daemon.recipes.weight_folders import read_json

SMALL = 64 << 20  # bytes: files whose weights one thread converts
_RANDOM = (torch.Tensor.normal_, torch.Tensor.uniform_)


def read_quickly(kind: Any, folder: Path, dtype: torch.dtype, files: Sequence[Path]) -> Any:
    """Read a model of the class `kind` from a folder; None if it takes the library's reader.

    files: The folder's weights, as `recipes.weight_folders` finds them.
    """
    try:
        config = read_json(folder / "config.json")
        if "quantization_config" in config or getattr(kind, "_keep_in_fp32_modules", None):
            return None
        model = make_empty(kind, config)
        tensors = _matching({key: tensor for file in files for key, tensor in load_file(file).items()},
                            model.state_dict())
        return None if tensors is None else fill(model, tensors, dtype)
    except UNREADABLE:
        return None


def make_empty(kind: Any, config: Mapping[str, Any]) -> Any:
    """A model of a class of diffusers or transformers by the content of its config.json, with weights of any value."""
    with _Uninitialised():
        return kind.from_config(config) if hasattr(kind, "from_config") else kind(kind.config_class(**config))


def fill(model: Any, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
    """Give a model these weights, by its own names, in this precision. Raises RuntimeError if one is missing."""
    with _one_thread(sum(tensor.nbytes for tensor in tensors.values()) < SMALL):
        model.load_state_dict({key: _converted(tensor, dtype) for key, tensor in tensors.items()}, assign=True)
        # What no file contains, such as the frequencies of a language model's positions: diffusers converts it too,
        # transformers keeps it as it was computed.
        return model.to(dtype) if hasattr(model, "from_config") else model


@contextmanager
def _one_thread(wanted: bool) -> Iterator[None]:
    """Let torch use one thread: waking the others for every small tensor takes longer than what they do."""
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Uninitialised(TorchFunctionMode):
    """While this is open, new layers get no random weights: those of the file replace them."""

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or func in _RANDOM:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _matching(tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> Mapping[str, Any] | None:
    """The tensors of a file if they are exactly those that are wanted; None otherwise."""
    kept = {key: tensor for key, tensor in tensors.items() if key in wanted or not key.endswith("position_ids")}
    if kept.keys() != wanted.keys() or any(kept[key].shape != wanted[key].shape for key in wanted):
        return None
    return kept


def _converted(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
