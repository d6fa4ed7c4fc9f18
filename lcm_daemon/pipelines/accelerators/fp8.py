"""Linear layers of the UNet's transformer blocks in float8, then torch.compile."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import Accelerator, AcceleratorError, CompiledModule
from lcm_daemon.pipelines.accelerators.compile import Compile

# Of the 3 % by which a module in float16 may differ (`manager.py`), this is left to float8, the rest to the compiler.
TOLERANCE = 0.025


class Fp8(Accelerator):
    """Converts the layers that are faster on this card, and compiles the result; without Triton it stays eager.

    Layers that a live LoRA changes stay in 16 bits, because their weights move. Where no layer is faster, nothing is
    converted, and the next accelerator is tried: `compile`.
    """

    name = "fp8"

    @classmethod
    def probe(cls, device: torch.device) -> str:
        from lcm_daemon.pipelines import precision

        if device.type != "cuda":
            return f"it needs an NVIDIA GPU, and the device is {device.type}"
        if not torch.cuda.is_available() or not precision.computes_float8(device):
            return "it needs a card that multiplies float8: RTX 40xx, L4, L40, H100 or later"
        return "" if hasattr(torch, "_scaled_mm") else f"torch {torch.__version__} has no _scaled_mm"

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        lacks_compiler = Compile.probe(self.device)
        if part == "denoiser":
            module = self._convert(module, example, not lacks_compiler)
        elif lacks_compiler:
            raise AcceleratorError(f"fp8: {part} has no linear layers worth it, and {lacks_compiler}")
        if lacks_compiler:
            return module
        return Compile(self.device, self.features).compile(part, module, example)

    def _convert(self, module: nn.Module, example: tuple[Tensor | None, ...], has_triton: bool) -> nn.Module:
        from lcm_daemon.pipelines import accumulation
        from lcm_daemon.pipelines.float8 import convert
        from lcm_daemon.pipelines.float8_choice import Timings, choose
        from lcm_daemon.pipelines.fused_blocks import fuse

        accumulation.decide(self.device, module, example)
        dtype = next(module.parameters()).dtype
        moving = {id(layer.weight) for layer in self.features.moving}
        names = choose(module, example, moving, Timings(self.device, dtype, has_triton), TOLERANCE)
        if not names:
            raise AcceleratorError("fp8: no linear layer is faster in float8 here; the UNet stays in 16 bits")
        if has_triton:
            return convert(module, names, has_triton)
        made = convert(module, names, has_triton)
        fuse(made, has_triton=False)
        return made
