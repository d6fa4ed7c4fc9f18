"""Contenders: the forms of one module and the devices that OpenVINO could run it with. The fastest one wins.

The engine lists them, the compiler's process runs them alternately, and the winner's file starts with a line that says
which it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lcm_daemon.pipelines.accelerators.int8 import Int8

FLOAT, INT8 = "float", "int8"  # forms

# The manager's for modules in float16. GPUs and NPUs compute in it.
_DEVICE_TOLERANCE = 0.03


@dataclass(frozen=True, eq=False)
class Contender:
    """One form on one device.

    properties: OpenVINO's.
    tolerance: largest accepted distance from the module's own output, relative to its norm; 0: the manager's.
    """

    form: str
    device: str
    properties: Mapping[str, str]
    tolerance: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.form} on {self.device}"


def list_contenders(module: nn.Module, int8: Int8 | None, devices: Sequence[str]) -> list[Contender]:
    """List what is worth trying; the first one is the reference for the others."""
    contenders = []
    for device in devices:
        if device == "CPU":
            contenders.append(Contender(FLOAT, device, _cpu_properties(module)))
            if int8 is not None:
                contenders.append(Contender(INT8, device, _cpu_properties(module), int8.tolerance))
        else:  # float16 is the precision that a GPU or an NPU chooses by itself
            contenders.append(Contender(FLOAT, device, {"PERFORMANCE_HINT": "LATENCY"}, _DEVICE_TOLERANCE))
    return contenders


def attempts(contenders: Sequence[Contender]) -> list[list[Contender]]:
    """What to try one after another, because a compiler may crash.

    OpenVINO 2026.4 crashes on small float32 attention heads while it fuses them into snippets. A GPU's driver may
    crash too.
    """
    careful = [replace(each, properties={**each.properties, "SNIPPETS_MODE": "DISABLE"}) if each.device == "CPU" else
               each for each in contenders]
    on_cpu = [each for each in careful if each.device == "CPU"]
    return [[*contenders], careful, *([on_cpu] if 0 < len(on_cpu) < len(careful) else [])]


def write_winner(file: Path, winner: Contender, seconds: Mapping[str, float], blob: bytes) -> None:
    """Write a compiled model, after a line about it. seconds: of each contender, by name."""
    head = json.dumps({"winner": asdict(winner), "seconds": seconds, "digest": _digest(blob)})
    file.write_bytes(head.encode() + b"\n" + blob)


def read_winner(file: Path) -> tuple[Contender, Mapping[str, float], bytes]:
    """Read what `write_winner` wrote; raises ValueError, TypeError or KeyError if the file is damaged."""
    head, _, blob = file.read_bytes().partition(b"\n")
    content: dict[str, Any] = json.loads(head)
    if content.get("digest", "") not in ("", _digest(blob)):  # earlier versions have written none
        raise ValueError("its digest is another one")
    return Contender(**content["winner"]), content["seconds"], blob


def _digest(blob: bytes) -> str:
    """OpenVINO reads a damaged model without a word, or crashes."""
    return hashlib.blake2b(blob, digest_size=16).hexdigest()


def _cpu_properties(module: nn.Module) -> dict[str, str]:
    """One stream, for latency. No CPU pinning: the stage and the desk need these cores too."""
    half = any(parameter.dtype in (torch.bfloat16, torch.float16) for parameter in module.parameters())
    return {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(torch.get_num_threads()), "ENABLE_CPU_PINNING": "NO"}
