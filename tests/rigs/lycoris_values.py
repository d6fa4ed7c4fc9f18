"""Right values of LoRAs of every kind, made by lycoris-lora itself: `lycoris_values.safetensors`.

To make them again, where lycoris-lora 3.4.0 is installed: `python -m tests.rigs.lycoris_values`. The tests read the
file alone, so that they do not need that package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.rigs.lazy_imports import lazy_imports, resolve

with lazy_imports(globals()):
    import torch
    from safetensors.torch import load_file, save_file
    from torch import Tensor, nn

FILE = Path(__file__).with_name("lycoris_values.safetensors")
KINDS = ("locon", "locon mid", "loha", "loha of high rank", "loha mid", "lokr", "lokr both", "lokr mid", "lokr whole",
         "dora", "dora of inputs", "dora loha", "full", "ia3", "ia3 of inputs")
LAYERS = ("linear", "conv", "point", "norm")


def make_layers() -> nn.Module:
    """A linear layer, a strided convolution, a 1x1 convolution and a norm, always the same."""
    torch.manual_seed(0)
    module = nn.Module()
    module.linear, module.point = nn.Linear(16, 24), nn.Conv2d(16, 32, 1)
    module.conv, module.norm = nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.GroupNorm(4, 16)
    return module.eval().requires_grad_(False)


def make_inputs() -> Mapping[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn((3, 16) if name == "linear" else (2, 16, 3, 3), generator=generator) for name in LAYERS}


def read(kind: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a LoRA file of this kind, and what the layers then make of `make_inputs`."""
    own = {key.split("|", 1)[1]: tensor for key, tensor in load_file(FILE).items() if key.startswith(f"{kind}|")}
    outputs = {key.removeprefix("output|"): tensor for key, tensor in own.items() if key.startswith("output|")}
    return {key: tensor for key, tensor in own.items() if not key.startswith("output|")}, outputs


def _makers() -> Mapping[str, Callable[[str, nn.Module], Any]]:
    from lycoris.modules.full import FullModule
    from lycoris.modules.ia3 import IA3Module
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule

    def of(kind: Any, **settings: Any) -> Callable[[str, nn.Module], Any]:
        return lambda name, layer: kind(f"lora_unet_{name}", layer, **settings)

    return {
        "locon": of(LoConModule, lora_dim=4, alpha=3.0),
        "locon mid": of(LoConModule, lora_dim=4, alpha=1.0, use_tucker=True),
        "loha": of(LohaModule, lora_dim=2, alpha=1.0),
        "loha of high rank": of(LohaModule, lora_dim=5, alpha=2.0),
        "loha mid": of(LohaModule, lora_dim=2, alpha=3.0, use_tucker=True),
        "lokr": of(LokrModule, lora_dim=2, alpha=1.0, factor=2),
        "lokr both": of(LokrModule, lora_dim=1, alpha=0.5, decompose_both=True),
        "lokr mid": of(LokrModule, lora_dim=2, alpha=3.0, factor=4, use_tucker=True),
        "lokr whole": of(LokrModule, lora_dim=2, alpha=1.0, factor=4, full_matrix=True),
        "dora": of(LoConModule, lora_dim=4, alpha=2.0, weight_decompose=True),
        "dora of inputs": of(LoConModule, lora_dim=4, alpha=2.0, weight_decompose=True, wd_on_out=False),
        "dora loha": of(LohaModule, lora_dim=2, alpha=1.0, weight_decompose=True),
        "full": of(FullModule),
        "ia3": of(IA3Module),
        "ia3 of inputs": of(IA3Module, train_on_input=True),
    }


def main() -> None:
    from lycoris.modules.norms import NormModule

    tensors: dict[str, Tensor] = {}
    for kind, make in _makers().items():
        for name, x in make_inputs().items():
            layer = getattr(make_layers(), name)
            module = (NormModule(f"lora_unet_{name}", layer) if name == "norm" else make(name, layer)).eval()
            if module.name == "full":
                module.org_bias = module.org_bias[0]  # 3.4.0 keeps it in a list, and then adds to that
            with torch.no_grad():
                _randomise(module)
                tensors[f"{kind}|output|{name}"] = module(x).contiguous()
            tensors |= {f"{kind}|lora_unet_{name}.{key}": tensor.detach().clone().contiguous()
                        for key, tensor in _state(module).items()}
    save_file(tensors, FILE)


def _state(module: Any) -> Mapping[str, Tensor]:
    """As lycoris-lora saves it. A full module says it right only while it is installed in a model."""
    if module.name == "full":
        return {"diff": module.weight, "diff_b": module.bias}
    state: Mapping[str, Tensor] = module.state_dict()
    return state


def _randomise(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(2)
    for name, tensor in module.named_parameters():
        draw = torch.rand(tensor.shape, generator=generator)
        if name == "dora_scale":
            tensor.mul_(0.5 + draw)
        else:
            tensor.copy_(0.6 * draw - 0.3)


if __name__ == "__main__":
    resolve(sys.modules[__name__], {})
    main()
