"""Fewer kernels without a compiler: the blocks of `fused_blocks.py`, for modules that are recorded as they are."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines import structure
from lcm_daemon.pipelines.accelerators.base import Accelerator, CompiledModule, Features
from lcm_daemon.pipelines.accelerators.compile import Compile

log = logging.getLogger(__name__)


class Fused(Accelerator):
    """Arranges a structural copy of the module: it is ready at once, sees live LoRAs, and takes every shape."""

    name = "fused"
    any_shape = True

    def __init__(self, device: torch.device, features: Features) -> None:
        super().__init__(device, features)
        self._made: dict[nn.Module, nn.Module] = {}
        self._lacks_triton = ""  # why Triton's kernels are not used
        if device.type == "cuda" and (lack := Compile.probe(device)):
            self._lacks_triton = lack
            log.info("fused: GroupNorm stays torch's, which is slower: %s", lack)

    @classmethod
    def probe(cls, device: torch.device) -> str:
        return "" if device.type == "cuda" else f"it is for CUDA, and the device is {device.type}"

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        from lcm_daemon.pipelines import accumulation
        from lcm_daemon.pipelines.fused_blocks import fuse

        if part == "denoiser":  # nothing else has matrix products worth it
            accumulation.decide(self.device, module, example)
        if module not in self._made:
            made = structure.share(module)
            self._made[module] = made if fuse(made, not self._lacks_triton) else module
        return self._made[module]
