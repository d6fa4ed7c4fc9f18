"""LoRA files: what they add to the layers of a model, for every kind of LoRA and every style of names.

(diffusers 0.42.1 reads these files too, but not all of them completely: from kohya's files it loses the alphas of
attention layers where they differ from layer to layer, and with transformers 5 the text encoder's attention. Kinds
other than LoRA it does not read.)
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open
from torch import Tensor, nn

from lcm_daemon.pipelines.lora_keys import Key, parse
from lcm_daemon.pipelines.lora_kinds import Factor, Layer, LayerChange, read_change
from lcm_daemon.pipelines.lora_names import LayerNames, find_layer, layers_of
from lcm_daemon.pipelines.lora_settings import AdapterSettings, read_settings

Factors = Mapping[Layer, Factor]
Place = tuple[nn.Module, str]  # a layer, and its "weight" or "bias"
FullChanges = Mapping[Place, Tensor]


@dataclass(frozen=True)
class LoraContent:
    """What a LoRA of weight 1 adds to a model.

    factors: To weights, as products.
    full: To weights and biases, in full: in their shape, in their dtype, on their device.
    skipped: One line about layers of the file that the model does not have; "" if it has all of them.
    """

    factors: Factors
    full: FullChanges = field(default_factory=dict)
    skipped: str = ""


class _Tensors(NamedTuple):
    """The tensors of one layer, by their parts, and the key of the first of them."""

    key: Key
    target: str
    layer: nn.Module
    parts: dict[str, Tensor]


def read_lora(file: Path, unet: nn.Module, text_encoders: Sequence[nn.Module]) -> LoraContent:
    """Read a .safetensors file for these models, which must be on their final device and in their final precision.

    Layers that the models do not have, or that the file describes in an unknown way, are skipped.

    Raises:
        ValueError: The file is not a LoRA, or most of its layers do not fit these models.
        OSError, SafetensorError: The file cannot be read.
    """
    return _Reader(layers_of(unet, text_encoders)).read(file)


class _Reader:
    """Reads one file. `_wrong` collects the layers that cannot be used, each with the reason."""

    def __init__(self, layers: LayerNames) -> None:
        self._layers = layers
        self._found: dict[nn.Module, _Tensors] = {}
        self._wrong: dict[str, str] = {}

    def read(self, file: Path) -> LoraContent:
        with safe_open(file, framework="pt") as content:
            settings = read_settings(file, content.metadata() or {})
            for name in content.keys():  # noqa: SIM118 (not a mapping)
                self._add(name, content.get_tensor(name))
        changes = dict(self._changes(settings))
        if not changes and not self._wrong:
            raise ValueError("it is empty")
        skipped = self._skipped(len(changes))
        return LoraContent({layer: change.factor for layer, change in changes.items()
                            if change.factor is not None and isinstance(layer, Layer)}, dict(_full(changes)), skipped)

    def _add(self, name: str, tensor: Tensor) -> None:
        try:
            key = parse(name)
        except ValueError as error:
            self._wrong.setdefault(name.rsplit(".", 2)[0], str(error))
            return
        found = find_layer(self._layers, key)
        if found is None:
            self._wrong.setdefault(key.path, f"no layer fits the key {name!r:.120}")
            return
        target, layer = found
        parts = self._found.setdefault(layer, _Tensors(key, target, layer, {})).parts
        if key.part in parts:
            raise ValueError(f"it contains several adapters: the layer {target}.{key.path} is there twice")
        parts[key.part] = tensor

    def _changes(self, settings: AdapterSettings) -> Iterator[tuple[nn.Module, LayerChange]]:
        for found in self._found.values():
            place = f"{found.target}.{found.key.path}"
            parts = {name: tensor.float() for name, tensor in found.parts.items()}  # one layer at a time
            if problem := _values_problem(parts.values()):
                self._wrong[place] = f"layer {place}: {problem}"
                continue
            try:
                yield found.layer, read_change(found.layer, parts, functools.partial(_scale, found, settings))
            except KeyError as error:
                self._wrong[place] = f"layer {place}: it lacks {error.args[0]}"
            except (ValueError, RuntimeError, IndexError) as error:
                self._wrong[place] = f"layer {place}: {str(error).splitlines()[0]:.120}"

    def _skipped(self, count: int) -> str:
        """The line about skipped layers. Raises ValueError if they are most of the file's layers."""
        if not self._wrong:
            return ""
        wrong, first = len(self._wrong), next(iter(self._wrong.values()))
        if wrong > count:
            raise ValueError(f"it is not for this model: {first}" if not count else
                             f"it is not for this model: {wrong} of its {wrong + count} layers do not fit; {first}")
        return f"{wrong} of its {wrong + count} layers {'is' if wrong == 1 else 'are'} skipped: {first}"


def _values_problem(parts: Collection[Tensor]) -> str:
    """Why a layer of any kind cannot be used; "" if it may be."""
    if not all(tensor.numel() for tensor in parts):
        return "one of its matrices is empty"
    return "" if all(bool(tensor.isfinite().all()) for tensor in parts) else (
        "it has values that are not numbers (NaN or infinite)")


def _scale(found: _Tensors, settings: AdapterSettings, rank: int) -> float:
    """alpha / rank; without an alpha by the settings. An alpha of a whole matrix means nothing."""
    if "alpha" in found.parts:
        return float(found.parts["alpha"]) / rank if rank else 1.0
    return settings.scale(found.target, found.key.path, rank)


def _full(changes: Mapping[nn.Module, LayerChange]) -> Iterator[tuple[Place, Tensor]]:
    for layer, change in changes.items():
        if change.weight is not None:
            yield (layer, "weight"), change.weight
        if change.bias is not None:
            yield (layer, "bias"), change.bias
