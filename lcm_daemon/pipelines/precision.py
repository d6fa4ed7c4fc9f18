"""Precision by card: the float format that models run in on one device, and why. A recipe's own `dtype` goes first.

float16 is the rule on a GPU: tensor cores multiply it as fast as bfloat16, and it keeps three bits more. The exceptions
are listed below. Their sources:

- Rates: NVIDIA's CUDA C++ Programming Guide, "Arithmetic Instructions", results per clock cycle and multiprocessor. For
  16-bit float: none below 5.3, 2 at 6.1 (float32: 128), 128 at 6.0, 256 at 5.3, 6.2 and from 7.0.
- GTX 16xx: pytorch/pytorch issue 58123 (NaN), AUTOMATIC1111/stable-diffusion-webui issue 1918 (black and green
  pictures). The names of the chips TU116 and TU117, which share 7.5 with the RTX 20xx, are those that ComfyUI excludes
  (comfy/model_management.py, `should_use_fp16`), and T400 and T1000.
- Models that overflow in float16 run in bfloat16 from 8.0 on, which multiplies it natively: ComfyUI runs every full VAE
  like that (comfy/sd.py, `working_dtypes`); vladmandic/sdnext pull request 1874 measured half the time of float32.
- float16 accumulation: NVIDIA's whitepapers on Turing (appendix A), Ada and Blackwell: GeForce cards multiply float16
  twice as fast when they add in float16; data-centre and workstation cards do not.
- float8: torch's `_scaled_mm` requires 8.9, or 9.0 and later.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

Capability = tuple[int, int]


@dataclass(frozen=True)
class Precision:
    """A float format, and why it was chosen: a clause after "because", or ""."""

    dtype: torch.dtype
    reason: str = ""

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return f"{name}, because {self.reason}" if self.reason else name


@dataclass(frozen=True)
class _Rule:
    """Cards from the first to the last capability whose names contain the pattern."""

    first: Capability
    last: Capability
    name: str
    precision: Precision


_LATER: Capability = (99, 0)
_TU11X = r"GTX 16\d\d|\bT(400|500|550|600|1000|1200|2000)\b|MX[45]50|CMP 30HX"
_HALF = Precision(torch.float16)

NVIDIA: Sequence[_Rule] = (  # the first that fits decides
    _Rule((0, 0), (5, 2), "", Precision(torch.float32, "cards before Pascal do not compute in float16")),
    _Rule((5, 3), (6, 0), "", _HALF),  # Tegra X1, P100
    _Rule((6, 1), (6, 1), "", Precision(torch.float32, "Pascal cards compute float16 at 1/64 of the rate")),
    _Rule((6, 2), (7, 4), "", _HALF),  # Tegra X2, Volta
    _Rule((7, 5), (7, 5), _TU11X, Precision(torch.float32, "float16 gives NaN on GTX 16xx cards and their relatives")),
    _Rule((7, 5), _LATER, "", _HALF),
)
NATIVE_BFLOAT16: Capability = (8, 0)
FLOAT8: Sequence[tuple[Capability, Capability]] = (((8, 9), (8, 9)), ((9, 0), _LATER))  # Ada; Hopper, Blackwell
_FAST_ACCUMULATION = re.compile(r"GeForce RTX")


def of_card(name: str, capability: Capability) -> Precision:
    """Return the precision for an NVIDIA card. Driver and torch name it; later generations are like the last."""
    return next(rule.precision for rule in NVIDIA
                if rule.first <= capability <= rule.last and re.search(rule.name, name))


def of_device(device: torch.device) -> Precision:
    """Return the precision for a device that torch finds."""
    if device.type == "cpu":
        return _of_processor()
    if _is_nvidia(device):
        return of_card(torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device))
    return _HALF


def for_overflow(device: torch.device) -> torch.dtype:
    """Return the dtype of a model that overflows in float16, such as Stable Diffusion XL's own VAE."""
    native = _is_nvidia(device) and torch.cuda.get_device_capability(device) >= NATIVE_BFLOAT16
    return torch.bfloat16 if native else torch.float32


def computes_float8(device: torch.device) -> bool:
    """Whether tensor cores of this device multiply float8."""
    if not _is_nvidia(device):
        return False
    capability = torch.cuda.get_device_capability(device)
    return any(first <= capability <= last for first, last in FLOAT8)


def adds_float16_faster(device: torch.device) -> bool:
    """Whether products of float16 are faster where they are added in float16."""
    return _is_nvidia(device) and bool(_FAST_ACCUMULATION.search(torch.cuda.get_device_name(device)))


def _is_nvidia(device: torch.device) -> bool:
    """AMD cards have the type "cuda" too."""
    return device.type == "cuda" and torch.version.hip is None


def _of_processor() -> Precision:
    """bfloat16 where the processor multiplies it natively (AVX512-BF16 or AMX), else float32.

    Without these instructions oneDNN emulates bfloat16 and is slower than float32.
    """
    native = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    if any(getattr(torch.cpu, name, bool)() for name in native):
        return Precision(torch.bfloat16, "the processor multiplies it natively")
    return Precision(torch.float32)
