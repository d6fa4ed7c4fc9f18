"""float16 accumulation: GeForce cards multiply float16 twice as fast where the products are added in float16.

The sums have 11 bits then and end at 65504, so it is only used where a model's result stays nearly the same. The
switch is torch's (`allow_fp16_accumulation`, torch 2.7), for the whole process; it concerns matrix products in float16.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines import precision

log = logging.getLogger(__name__)

TOLERANCE = 0.02  # largest accepted distance of the results, relative to the norm


def decide(device: torch.device, module: nn.Module, example: tuple[Tensor | None, ...]) -> None:
    """Switch float16 accumulation on if the card gains from it and `module` keeps its result; else off."""
    if not precision.adds_float16_faster(device) or not _has_switch():
        return
    if next((weight.dtype for weight in module.parameters()), None) != torch.float16:
        return
    switch(False)
    exact = module(*example).float()
    switch(True)
    distance = float((module(*example).float() - exact).norm() / exact.norm().clamp_min(1e-6))
    if not distance <= TOLERANCE:  # NaN fails too
        switch(False)
        log.info("float16 accumulation changes the result by %.1f %%; it is not used", 100 * distance)


def switch(on: bool) -> None:
    """Switch it, where torch has the switch."""
    if _has_switch():
        torch.backends.cuda.matmul.allow_fp16_accumulation = on


def _has_switch() -> bool:
    return hasattr(torch.backends.cuda.matmul, "allow_fp16_accumulation")
