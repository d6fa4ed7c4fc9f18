"""No accelerator: the module runs in torch as it is. Always available, and used while another one compiles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import Accelerator, CompiledModule


class NoAccelerator(Accelerator):
    """Returns the module itself."""

    name = "none"
    compiles_in_background = True

    @classmethod
    def probe(cls, device: torch.device) -> str:
        return ""

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        return module
