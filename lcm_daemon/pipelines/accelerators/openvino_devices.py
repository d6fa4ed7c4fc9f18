"""OpenVINO's devices: the CPU, Intel GPUs ("GPU", or "GPU.0" and "GPU.1") and the NPU of Intel's recent processors."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache


@cache
def devices() -> Mapping[str, str]:
    """Every device of this machine with its full name; empty without OpenVINO. Starting its drivers takes a moment."""
    if importlib.util.find_spec("openvino") is None:
        return {}
    import openvino

    core = openvino.Core()
    return {name: str(core.get_property(name, "FULL_DEVICE_NAME")) for name in core.available_devices}


def gpus() -> list[str]:
    """The GPUs."""
    return [name for name in devices() if name.split(".")[0] == "GPU"]


def find(wanted: str) -> str:
    """The name that OpenVINO knows a device by; "" if this machine has none of that name.

    "GPU" is the first of several, which are called "GPU.0" and "GPU.1".
    """
    return next((name for name in devices() if wanted in (name, name.removesuffix(".0"))), "")
