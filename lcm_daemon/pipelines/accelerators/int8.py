"""Modules whose layers compute in int8, as accelerators see them: fake-quantised copies of float modules.

The ranges of the layers' inputs are measured once on real pictures, and lie beside the weights in int8.json. The
weights' own scales are computed here, so a merged LoRA is quantised with them. A compiler that knows int8 replaces
the pairs of quantisation and layer by integer kernels; to every other one they are rounding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.accelerators.low_rank import LowRankForm, LowRankLayer
from lcm_daemon.pipelines.accelerators.upsampling import Upsampling, phase_kernels, run_phases

FILE = "int8.json"

_LEVELS = 255  # of inputs, from 0
# Without VNNI, processors add the products of neighbouring inputs in pairs of 16 bits (vpmaddubsw), which must not
# overflow: 255 * (127 + 1) is just below 2**15. The kernels pair inputs within groups of four.
WEIGHT_LIMIT = 127
_GROUP = 4
_SMALLEST = 1e-12  # step of an input or a weight that is always 0


@dataclass(frozen=True)
class Int8:
    """How one part of a model is quantised.

    ranges: by path of a layer in the module, the smallest and the largest value of its input.
    tolerance: largest accepted distance of its output from the float module's, relative to the output's norm.
    """

    ranges: Mapping[str, tuple[float, float]]
    tolerance: float


def read_int8(folder: Path) -> Mapping[str, Int8]:
    """Read how the parts whose weights lie in `folder` are quantised, by part; empty without such a file.

    Raises:
        RecipeError: the file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {part: Int8({path: (float(low), float(high)) for path, (low, high) in entry["ranges"].items()},
                           float(entry["tolerance"])) for part, entry in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"{file}: not a file that the step int8 of examples/train_builtin writes: {error}") from error


def quantise(module: nn.Module, int8: Int8) -> int:
    """Replace layers by quantised ones, in place. The weights are shared, not copied.

    Args:
        module: a copy whose structure may change.
        int8: layers that `module` does not have are skipped.

    Returns:
        Number of replaced layers.
    """
    found = 0
    for path, (low, high) in int8.ranges.items():
        holder, name = _find(module, path)
        layer = getattr(holder, name, None)
        make = next((make for kind, make in _KINDS.items() if isinstance(layer, kind)), None)
        if holder is not None and make is not None:
            setattr(holder, name, make(layer, low, high))
            found += 1
    return found


def _find(module: nn.Module, path: str) -> tuple[nn.Module | None, str]:
    """The module that holds the layer at `path`, and its name there."""
    if isinstance(module, LowRankForm):
        module = module.module
    parent, _, name = path.rpartition(".")
    try:
        holder = module.get_submodule(parent)
    except AttributeError:
        return None, name
    layer = getattr(holder, name, None)
    return (layer, "base") if isinstance(layer, LowRankLayer) else (holder, name)


class _Int8Layer(nn.Module):
    """A layer whose input and weights are rounded to what int8 represents."""

    def __init__(self, layer: Any, low: float, high: float) -> None:
        super().__init__()
        low, high = min(low, 0.0), max(high, 0.0)  # 0 must be exact: it is what convolutions pad with
        self._step = max((high - low) / _LEVELS, _SMALLEST)
        self._zero = round(-low / self._step)
        self.weight, self.bias = layer.weight, layer.bias
        self._steps = weight_steps(layer.weight)

    def _round(self, values: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(values, self._step, self._zero, 0, _LEVELS)


class _Int8Conv2d(_Int8Layer):
    """Stands for a convolution."""

    def __init__(self, layer: nn.Conv2d, low: float, high: float) -> None:
        super().__init__(layer, low, high)
        self._settings: Any = layer.stride, layer.padding, layer.dilation, layer.groups

    def forward(self, values: Tensor) -> Tensor:
        return functional.conv2d(self._round(values), _round_weight(self.weight, self._steps), self.bias,
                                 *self._settings)


class _Int8Upsampling(_Int8Layer):
    """Stands for an `Upsampling`: four convolutions, each with steps of its own."""

    def __init__(self, layer: Upsampling, low: float, high: float) -> None:
        super().__init__(layer, low, high)
        self._each = [weight_steps(kernel) for kernel in phase_kernels(layer.weight)]

    def forward(self, small: Tensor) -> Tensor:
        kernels = phase_kernels(self.weight)
        rounded = [_round_weight(kernel, steps) for kernel, steps in zip(kernels, self._each, strict=True)]
        return run_phases(self._round(small), rounded, self.bias)


def weight_steps(weight: Tensor) -> Tensor:
    """The step of each output of weights (outputs, inputs, ...): no pair of a group adds up to more than the limit."""
    size = weight.detach().float().abs().flatten(2) if weight.dim() > 2 else weight.detach().float().abs()[..., None]
    padded = functional.pad(size, (0, 0, 0, -size.shape[1] % _GROUP))
    pairs = torch.unflatten(padded, 1, (-1, _GROUP)).topk(2, dim=2).values.sum(2)
    return (pairs.flatten(1).amax(1) / WEIGHT_LIMIT).clamp_min(_SMALLEST).cpu()


def _round_weight(weight: Tensor, steps: Tensor) -> Tensor:
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return weight  # OpenVINO's compiler needs both forms, and rounds the weights itself (`openvino_forms`)
    zeros = torch.zeros(len(steps), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -WEIGHT_LIMIT, WEIGHT_LIMIT)


_KINDS: Mapping[type[nn.Module], Callable[[Any, float, float], _Int8Layer]] = {
    nn.Conv2d: _Int8Conv2d, Upsampling: _Int8Upsampling}
