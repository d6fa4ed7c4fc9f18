"""What each kind of LoRA adds to a layer, by the formulas of lycoris-lora and peft.

With W (outputs, inputs) as the layer's weight, a convolution's flattened, and scale = alpha / rank:

- LoRA (Hu et al., arXiv:2106.09685, section 4.1): scale * up @ down. LoCon is the same for convolutions; with
  `lora_mid` (a Tucker decomposition) down is mid applied to a 1x1 convolution.
- LoHa (Hyeon-Woo et al., FedPara, arXiv:2108.06098): scale * (w1_a @ w1_b) * (w2_a @ w2_b), element by element.
- LoKr (Yeh et al., LyCORIS, arXiv:2309.14859, section 3.2): scale * kron(w1, w2), each whole or a product.
- DoRA (Liu et al., arXiv:2402.09353, equation 5): magnitude * (W + change) / norm(W + change) - W; the norms are those
  of the outputs, in old files those of the inputs.
- Full (`diff`, `w_norm`), biases (`diff_b`, `b_norm`), and IA3 (W times a vector; arXiv:2205.05638, section 3.3).

A product of LoHa or LoKr is again of low rank: the columns of its up are all products of a column of each up, and the
rows of its down likewise. It is kept like that where the rank is small, and written out where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Layer = nn.Linear | nn.Conv2d
Parts = Mapping[str, Tensor]  # of one layer, in float32
Scale = Callable[[int], float]  # by the rank; 0 for a whole matrix


@dataclass(frozen=True)
class Factor:
    """What a LoRA of weight 1 adds to one layer: up @ down, in float32.

    up: (outputs, rank), including the scale.
    down: (rank, inputs); for a convolution (rank, inputs * height * width).
    """

    up: Tensor
    down: Tensor


@dataclass(frozen=True)
class LayerChange:
    """What a LoRA of weight 1 adds to one layer.

    factor: To the weight, as a product.
    weight: To the weight, in full: in its shape, in its dtype, on its device.
    bias: To the bias, likewise.
    """

    factor: Factor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None


SMALL_RANK = 1 / 4  # of a layer's smaller side: products up to this rank are kept as such


def read_change(layer: nn.Module, parts: Parts, scale: Scale) -> LayerChange:
    """Make the change of one layer from its tensors.

    Raises:
        ValueError, RuntimeError: The tensors do not belong together, or not to this layer.
    """
    bias = next((parts[name] for name in ("diff_b", "b_norm") if name in parts), None)
    return LayerChange(*_weight(layer, parts, scale), None if bias is None else _shaped(bias, _tensor(layer, "bias")))


def _weight(layer: nn.Module, parts: Parts, scale: Scale) -> tuple[Factor | None, Tensor | None]:
    weight = _tensor(layer, "weight")
    if (whole := parts.get("diff", parts.get("w_norm"))) is not None:
        return None, _shaped(whole, weight)
    if "on_input" in parts and "weight" in parts:
        return None, _shaped(_scaled(weight.float(), parts), weight)
    product = next((read for sign, read in _PRODUCTS.items() if any(name.startswith(sign) for name in parts)), None)
    if product is None:
        if parts.keys() & {"diff_b", "b_norm"}:
            return None, None
        raise ValueError(f"it has only {', '.join(sorted(parts))}")
    if weight.ndim < 2:
        raise ValueError("a norm does not take this kind of change")
    change = product(parts, scale, weight)
    if "dora_scale" in parts or "magnitude" in parts:
        return None, _shaped(_dora(_whole(change, weight), parts, weight.float()), weight)
    return (change, None) if isinstance(change, Factor) else (None, _shaped(change, weight))


def _tensor(layer: nn.Module, name: str) -> Tensor:
    tensor = getattr(layer, name, None)
    if not isinstance(tensor, Tensor):
        raise ValueError(f"the layer has no {name}")
    return tensor.detach()


def _shaped(change: Tensor, like: Tensor) -> Tensor:
    """A change in the shape, the dtype, the layout and on the device of what it is added to."""
    if change.numel() != like.numel() or change.shape[:1] != like.shape[:1]:
        raise ValueError("it has another size")
    return torch.empty_like(like).copy_(change.reshape(like.shape))


def _lora(parts: Parts, scale: Scale, weight: Tensor) -> Factor:
    if "up" not in parts or "down" not in parts:
        raise ValueError("it lacks one of its two matrices")
    up, down = parts["up"].flatten(1), _applied(parts.get("mid"), parts["down"])
    _check(up, down, weight)
    return Factor(up * scale(len(down)), down)


def _applied(core: Tensor | None, down: Tensor) -> Tensor:
    """The rows of a product: those of `down`, or with a Tucker core (rank, rank, height, width) the core's of it."""
    return down.flatten(1) if core is None else torch.einsum("mn...,nj->mj...", core, down.flatten(1)).flatten(1)


def _check(up: Tensor, down: Tensor, weight: Tensor) -> None:
    if up.shape != (len(weight), len(down)) or down.shape[1] != weight[0].numel():
        raise ValueError("it has another size")


def _loha(parts: Parts, scale: Scale, weight: Tensor) -> Factor | Tensor:
    ups, downs = [], []
    for number in (1, 2):
        up, down, core = parts[f"hada_w{number}_a"], parts[f"hada_w{number}_b"], parts.get(f"hada_t{number}")
        ups.append(up if core is None else up.T)  # with a core it is written the other way round
        downs.append(_applied(core, down))
        _check(ups[-1], downs[-1], weight)
    factor = scale(len(downs[0]))
    if _is_small(len(downs[0]) * len(downs[1]), weight):
        return Factor(torch.einsum("oi,oj->oij", *ups).flatten(1) * factor,
                      torch.einsum("ik,jk->ijk", *downs).flatten(0, 1))
    first, second = (up.to(weight.device) @ down.to(weight.device) for up, down in zip(ups, downs, strict=True))
    return first * second * factor


def _lokr(parts: Parts, scale: Scale, weight: Tensor) -> Factor | Tensor:
    (up, down, first), (second_up, second_down, second) = (_kron_factor(parts, number) for number in (1, 2))
    factor = scale(second or first)
    if (len(up) * len(second_up), down.shape[1] * second_down.shape[1]) != (len(weight), weight[0].numel()):
        raise ValueError("it has another size")
    if _is_small(len(down) * len(second_down), weight):
        return Factor(torch.kron(up, second_up) * factor, torch.kron(down, second_down))
    device = weight.device
    return torch.kron(up.to(device) @ down.to(device), second_up.to(device) @ second_down.to(device)) * factor


def _kron_factor(parts: Parts, number: int) -> tuple[Tensor, Tensor, int]:
    """One of the two matrices as a product of two, and its rank in the file; 0 if it is whole there."""
    name = f"lokr_w{number}"
    if name in parts:
        whole = parts[name].flatten(1)
        rows, columns = whole.shape
        return (torch.eye(rows), whole, 0) if rows <= columns else (whole, torch.eye(columns), 0)
    up, down, core = parts[f"{name}_a"], parts[f"{name}_b"], parts.get(f"lokr_t{number}")
    return up if core is None else up.T, _applied(core, down), len(down)


def _is_small(rank: int, weight: Tensor) -> bool:
    return rank <= SMALL_RANK * min(len(weight), weight[0].numel())


_PRODUCTS: Mapping[str, Callable[[Parts, Scale, Tensor], Factor | Tensor]] = {
    "up": _lora, "down": _lora, "hada_w": _loha, "lokr_w": _lokr,
}


def _whole(change: Factor | Tensor, weight: Tensor) -> Tensor:
    """A change of a weight in its shape, in float32, on its device."""
    if isinstance(change, Factor):
        change = change.up.to(weight.device) @ change.down.to(weight.device)
    return change.reshape(weight.shape)


def _dora(change: Tensor, parts: Parts, weight: Tensor) -> Tensor:
    """The change with a magnitude of its own for each output (or input) instead of the one that comes of it."""
    moved = weight + change
    magnitude = parts["magnitude"].flatten() if "magnitude" in parts else parts["dora_scale"]
    axis = 0 if len(magnitude) == len(weight) else 1
    if magnitude.numel() != weight.shape[axis]:
        raise ValueError("its magnitudes have another size")
    others = [number for number in range(weight.ndim) if number != axis]
    norms: Tensor = torch.linalg.vector_norm(moved, dim=others, keepdim=True) + torch.finfo(torch.float32).eps
    return moved * (magnitude.to(weight.device).reshape(norms.shape) / norms) - weight


def _scaled(weight: Tensor, parts: Parts) -> Tensor:
    """IA3: the weight times a vector over its inputs or its outputs."""
    factors = parts["weight"].flatten().to(weight.device)
    axis = 1 if bool(parts["on_input"]) else 0
    if len(factors) != weight.shape[axis]:
        raise ValueError("it has another size")
    return weight * factors.view([-1 if number == axis else 1 for number in range(weight.ndim)])
