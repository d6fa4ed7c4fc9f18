"""The accelerators by name, as recipes give them. Importing this package imports no torch."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lcm_daemon.pipelines.accelerators.base import Accelerator, Features
from lcm_daemon.recipes.registry import ACCELERATORS

if TYPE_CHECKING:
    import torch

# By device, the best first: what "auto" takes, and what follows when the one asked for does not work here. On the CPU
# torch.compile takes a minute for what OpenVINO does in seconds, so it is for those who ask. On CUDA it is worth its
# minute, but nothing can play in the same process meanwhile: the recipe plays eagerly, and the stage has the compiled
# one loaded aside (_UPGRADES, `RecipeSwitcher.upgrade`).
_ORDER: Mapping[str, tuple[str, ...]] = {
    "cpu": ("openvino", "none"),
    "cuda": ("none",),
    "mps": ("none",),
}

_UPGRADES: Mapping[str, str] = {"cuda": "compile"}

Tell = Callable[[str], None]  # takes one line


def choose(name: str, device: torch.device, features: Features, tell: Tell) -> list[Accelerator]:
    """The accelerators to try on `device`, in order: the one asked for, then the next best; `none` is always the last.

    name: of ACCELERATORS, or "auto".   tell: gets one line for each that does not work here, with what would mend it.
    """
    order = _ORDER.get(device.type, ("none",))
    names = order if name == "auto" else ("none",) if name == "none" else (name, *order)
    chosen: list[Accelerator] = []
    for kind in map(load, dict.fromkeys(names)):
        if reason := kind.probe(device):
            tell(f"{kind.name}: {reason}")
        else:
            chosen.append(kind(device, features))
    return chosen


def upgrade(device: torch.device) -> str:
    """The accelerator that is worth loading once more for, aside; "" where there is none, or it does not work here."""
    name = _UPGRADES.get(device.type, "")
    return name if name and not load(name).probe(device) else ""


def load(name: str) -> type[Accelerator]:
    """The class of that name; the library behind it is imported when it compiles."""
    module, _, kind = ACCELERATORS[name].path.partition(":")
    found: type[Accelerator] = getattr(importlib.import_module(module), kind)
    return found


def versions() -> list[tuple[str, str, str]]:
    """(package, the version installed here or "", the versions that its adapter works with), for the doctor."""
    return [(package.package, _installed(package.package), package.versions)
            for entry in ACCELERATORS.values() for package in entry.packages]


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
