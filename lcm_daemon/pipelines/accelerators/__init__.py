"""Choice of accelerators by name and device. Importing this package does not import torch."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lcm_daemon.pipelines.accelerators.base import Accelerator, Features
from lcm_daemon.recipes.registry import ACCELERATORS, QUICK

if TYPE_CHECKING:
    import torch

# `import openvino` alone would send a line to Google and make ~/intel. This comes before every import of it, as all are
# in modules of this package.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

# Order of preference by device: what "auto" uses, and what follows if the requested accelerator does not work here. On
# the CPU, torch.compile takes a minute for what OpenVINO does in seconds, so it is used on request only. On CUDA it is
# worth its minute, but no module of the same process can play while it compiles: the recipe plays eagerly, and the
# stage loads the compiled one in a second engine (_UPGRADES, `RecipeSwitcher.upgrade`).
_ORDER: Mapping[str, tuple[str, ...]] = {
    "cpu": ("openvino", "none"),
    "cuda": ("fused", "none"),
    "mps": ("none",),
}

_UPGRADES: Mapping[str, tuple[str, ...]] = {"cuda": ("fp8", "compile")}  # the best first

_NEXT: Mapping[str, tuple[str, ...]] = {"fp8": ("compile",)}  # what follows an accelerator, before the device's order
_ALONE = ("fused", "none")  # the device's order does not follow these

ReportLine = Callable[[str], None]


def choose(name: str, device: torch.device, features: Features, report: ReportLine) -> list[Accelerator]:
    """Return the accelerators to try on `device`, best first.

    Args:
        name: a name of ACCELERATORS, or "auto".
        device: where the recipe runs.
        features: what the pipeline does that an accelerator has to know.
        report: called with one line for each accelerator that does not work here: what is missing, what to install.

    Returns:
        The requested accelerator, then the next best ones. The last one is always `none`.
    """
    order = _ORDER.get(device.type, ("none",))
    names = order if name == "auto" else (name, *_NEXT.get(name, ()), *(("none",) if name in _ALONE else order))
    chosen: list[Accelerator] = []
    for kind in map(load, dict.fromkeys(names)):
        if reason := kind.probe(device):
            if kind.name != QUICK:  # elsewhere than on CUDA it is `none`
                report(f"{kind.name}: {reason}")
        else:
            chosen.append(kind(device, features))
    return chosen


def find_upgrade(device: torch.device) -> str:
    """Name of the accelerator that is worth a second load in another engine; "" if none is, or it does not work."""
    names = _UPGRADES.get(device.type, ())
    return next((name for name in names if not load(name).probe(device)), "")


def load(name: str) -> type[Accelerator]:
    """Return the class of that name. Its library is imported when it compiles."""
    module, _, kind = ACCELERATORS[name].path.partition(":")
    found: type[Accelerator] = getattr(importlib.import_module(module), kind)
    return found


def versions() -> list[tuple[str, str, str]]:
    """List (package, installed version or "", versions that its adapter works with), for the doctor."""
    return [(package.package, _installed(package.package), package.versions)
            for entry in ACCELERATORS.values() for package in entry.packages]


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
