"""Reads a model whose files fit its class exactly, in a fraction of the time that the libraries' own readers take.

They convert the names of old checkpoints, spread weights over devices and quantise; each of these is looked for at
every load. A model that needs any of it is left to them, and so is every damaged file: their messages are better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from lcm_daemon.pipelines.load_errors import UNREADABLE
from lcm_daemon.pipelines.weights import read_json

_NAMES = ("diffusion_pytorch_model", "model")  # of weight files, by diffusers and by transformers
SMALL = 64 << 20  # bytes: files whose weights one thread converts
_RANDOM = (torch.Tensor.normal_, torch.Tensor.uniform_)


def read_quickly(kind: Any, folder: Path, dtype: torch.dtype, variant: str | None) -> Any:
    """Read a model of the class `kind` from a folder with one weight file; None if it takes the library's reader.

    variant: As of `from_pretrained`, such as "fp16".
    """
    try:
        config = read_json(folder / "config.json")
        file = _only_file(folder, variant)
        if file is None or "quantization_config" in config or getattr(kind, "_keep_in_fp32_modules", None):
            return None
        with _Uninitialised():
            model = kind.from_config(config) if hasattr(kind, "from_config") else kind(kind.config_class(**config))
        tensors = _matching(load_file(file), model.state_dict())
        if tensors is None:
            return None
        with _one_thread(file.stat().st_size < SMALL):
            model.load_state_dict({key: _converted(tensor, dtype) for key, tensor in tensors.items()}, assign=True)
            return model.to(dtype)
    except UNREADABLE:
        return None


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


def _only_file(folder: Path, variant: str | None) -> Path | None:
    ending = f".{variant}.safetensors" if variant else ".safetensors"
    return next((file for name in _NAMES if (file := folder / f"{name}{ending}").is_file()), None)


def _matching(tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> Mapping[str, Any] | None:
    """The tensors of a file if they are exactly those that are wanted; None otherwise."""
    kept = {key: tensor for key, tensor in tensors.items() if key in wanted or not key.endswith("position_ids")}
    if kept.keys() != wanted.keys() or any(kept[key].shape != wanted[key].shape for key in wanted):
        return None
    return kept


def _converted(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
