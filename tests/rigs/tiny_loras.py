"""Random LoRAs: one set of factors, written in every key style of the field, and given to peft itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from diffusers import StableDiffusionXLPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer
    from safetensors.torch import load_file, save_file
    from torch import nn

TARGETS = ("unet", "text_encoder", "text_encoder_2")
Place = tuple[str, str]  # target, and the layer's path in it


@dataclass(frozen=True)
class Factor:
    up: torch.Tensor
    down: torch.Tensor
    alpha: float


@dataclass(frozen=True)
class RandomLora:
    """For every linear and convolutional layer of some models, with ranks and alphas that differ."""

    factors: Mapping[Place, Factor]

    def attach(self, models: Sequence[Any], name: str) -> None:
        """As a peft adapter of that name, at weight 0."""
        for target, model in zip(TARGETS, models, strict=False):
            own = {path: factor for (where, path), factor in self.factors.items() if where == target}
            if own:
                inject_adapter_in_model(_config(own), model, adapter_name=name)
                _fill(model, own, name)

    def of(self, target: str) -> RandomLora:
        return RandomLora({place: factor for place, factor in self.factors.items() if place[0] == target})


def make_lora(models: Sequence[Any], seed: int = 0, even: bool = False) -> RandomLora:
    """even: alpha is the rank everywhere, which is what files without alphas mean."""
    generator = torch.Generator().manual_seed(seed)
    factors: dict[Place, Factor] = {}
    for target, model in zip(TARGETS, models, strict=False):
        for path, layer in model.named_modules():
            if not isinstance(layer, nn.Linear | nn.Conv2d):
                continue
            rank = 1 + len(factors) % 4
            alpha = rank if even else (float(rank), 1.0, 2.5)[len(factors) % 3]
            inside = layer.weight.shape[2:]
            up = torch.randn(len(layer.weight), rank, *[1] * len(inside), generator=generator) * 0.1
            down = torch.randn(rank, *layer.weight.shape[1:], generator=generator) * 0.1
            factors[target, path] = Factor(up.half().float(), down.half().float(), alpha)  # as files have them
    return RandomLora(factors)


def set_peft(models: Sequence[Any], weights: Mapping[str, float]) -> None:
    """peft's own way to these weights."""
    for layer in _peft_layers(models):
        for name in layer.scaling:
            layer.set_scale(name, weights[name])
        layer.set_adapter(list(layer.scaling))


def _peft_layers(models: Sequence[Any]) -> list[Any]:
    return [layer for model in models for layer in model.modules() if isinstance(layer, LoraLayer)]


def _config(factors: Mapping[str, Factor]) -> LoraConfig:
    ranks = {f"^{path}": len(factor.down) for path, factor in factors.items()}
    alphas = {f"^{path}": factor.alpha for path, factor in factors.items()}
    return LoraConfig(r=1, lora_alpha=1, rank_pattern=ranks, alpha_pattern=alphas, target_modules=list(factors))


def _fill(model: Any, factors: Mapping[str, Factor], name: str) -> None:
    for path, factor in factors.items():
        layer = model.get_submodule(path)
        layer.lora_A[name].weight.data.copy_(factor.down)
        layer.lora_B[name].weight.data.copy_(factor.up)
        layer.set_scale(name, 0.0)


def write_kohya(lora: RandomLora, file: Path, models: Sequence[Any],
                rename: Callable[[str], str] = lambda path: path) -> Path:
    """As kohya's scripts do. rename: a UNet's layer paths to those of the original implementation."""
    first = "lora_te1_" if len(models) > 2 else "lora_te_"
    starts = dict(zip(TARGETS, ("lora_unet_", first, "lora_te2_"), strict=True))
    tensors: dict[str, torch.Tensor] = {}
    for (target, path), factor in lora.factors.items():
        path = rename(path) if target == "unet" else _with_text_model(path)
        key = starts[target] + path.replace(".", "_")
        tensors |= {f"{key}.lora_up.weight": factor.up, f"{key}.lora_down.weight": factor.down,
                    f"{key}.alpha": torch.tensor(factor.alpha)}
    save_file({key: tensor.half().contiguous() for key, tensor in tensors.items()}, file)
    return file


def write_full(lora: RandomLora, file: Path, models: Sequence[Any]) -> Path:
    """A file of kohya's scripts whose changes are not products: DoRA in every layer, and biases."""
    tensors = load_file(write_kohya(lora, file, models))
    for name in [name.removesuffix(".alpha") for name in tensors if name.endswith(".alpha")]:
        outputs = len(tensors[f"{name}.lora_up.weight"])
        tensors[f"{name}.dora_scale"] = torch.linspace(0.5, 1.5, outputs).view(outputs, 1)
    tensors["lora_unet_conv_in.diff_b"] = torch.full((len(models[0].conv_in.bias),), 0.5)
    save_file(tensors, file)
    return file


def _with_text_model(path: str) -> str:
    """transformers 5 dropped it from the plain text encoder's paths; files keep it."""
    return path if path.startswith(("text_model.", "text_projection")) else f"text_model.{path}"


def write_peft(lora: RandomLora, file: Path, models: Sequence[Any]) -> Path:
    """As diffusers saves peft's adapters, their configuration in the header."""
    return _write(lora, file, models, lambda state: state, header=True)


def write_bare(lora: RandomLora, file: Path, models: Sequence[Any]) -> Path:
    """The same without that header, and so without alphas."""
    return _write(lora, file, models, lambda state: state, header=False)


def write_diffusers(lora: RandomLora, file: Path, models: Sequence[Any]) -> Path:
    """As diffusers did before: without alphas."""
    return _write(lora, file, models, convert_state_dict_to_diffusers, header=False)


def _write(lora: RandomLora, file: Path, models: Sequence[Any], convert: Callable[[Any], Any],
           header: bool) -> Path:
    lora.attach(models, "written")
    arguments: dict[str, Any] = {}
    for target, model in zip(TARGETS, models, strict=False):
        if not lora.of(target).factors:
            continue
        config = model.peft_config["written"].to_dict()
        config["target_modules"] = sorted(config["target_modules"])
        arguments[f"{target}_lora_layers"] = convert(get_peft_model_state_dict(model, adapter_name="written"))
        if header:
            arguments[f"{target}_lora_adapter_metadata"] = {key: value for key, value in config.items() if value}
    StableDiffusionXLPipeline.save_lora_weights(file.parent, weight_name=file.name, **arguments)
    return file


def write_processors(lora: RandomLora, file: Path) -> Path:
    """As the UNet's attention processors were saved at first."""
    tensors: dict[str, torch.Tensor] = {}
    for (target, path), factor in lora.factors.items():
        if target == "unet" and "attn" in path:
            key = path.replace(".to_", ".processor.to_").removesuffix(".0") + "_lora"
            tensors |= {f"{key}.up.weight": factor.up, f"{key}.down.weight": factor.down}
    save_file(tensors, file)
    return file
