"""No accelerator: torch as it is. Always there, and what plays while another compiles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import Accelerator, Compiled


class NoAccelerator(Accelerator):
    """The module itself."""

    name = "none"
    beside = True

    @classmethod
    def probe(cls, device: torch.device) -> str:
        return ""

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> Compiled:
        return module
