"""torch.compile: static shapes, one graph if the module allows it, files below the user's cache folder.

Inductor chooses most kernels by rules ("default"). The tuned form measures several of each, which takes minutes and is
wrong on a busy card: only `lcm-daemon prepare` makes it, and an engine loads it where that was done.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lcm_daemon.core.paths import cache_folder
from lcm_daemon.pipelines import accumulation
from lcm_daemon.pipelines.accelerators.base import Accelerator, CompiledModule
from lcm_daemon.pipelines.accelerators.cache_manifest import CacheManifest
from lcm_daemon.recipes.prepared import Prepared
from lcm_daemon.recipes.recipe import Recipe

VARIANTS = 64  # limit of compiled variants of one function; batch and prompt sizes soon exceed torch's own limit, 8

_FOLDER = "TORCHINDUCTOR_CACHE_DIR"
_COMPILERS: Mapping[str, tuple[str, ...]] = {  # that inductor searches for if CXX is not set
    "win32": ("cl", "clang-cl", "icx-cl"),
    "darwin": ("clang++", "g++"),
    "linux": ("g++", "clang++"),
}
_INSTALL: Mapping[str, str] = {
    "win32": "the Visual Studio Build Tools with C++",
    "darwin": "the command line tools (xcode-select --install)",
    "linux": "a compiler (apt install g++)",
}


class Compile(Accelerator):
    """Inductor: generates C++ on the CPU, Triton kernels on CUDA."""

    name = "compile"

    @classmethod
    def probe(cls, device: torch.device) -> str:
        probe = _PROBES.get(device.type)
        return probe() if probe else f"it runs on CPU and CUDA only, and the device is {device.type}"

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        manifest = _use_folder(self.device)
        compiled = self._compile_in_folder(part, module, example)
        if manifest is not None:
            with contextlib.suppress(OSError):  # a full disk: the files that were written are not known as whole
                manifest.note()
        return compiled

    def _compile_in_folder(
        self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]
    ) -> CompiledModule:
        import torch._dynamo
        import torch._inductor.config

        if part == "denoiser":
            accumulation.decide(self.device, module, example)
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, VARIANTS)
        # Frozen weights are laid out for the kernels once, and are constants from then on.
        frozen = self.device.type == "cpu" and not self.features.live_weights
        with torch._inductor.config.patch(freezing=frozen):
            try:
                return self._compile_graph(module, example, fullgraph=True)
            except torch._dynamo.exc.Unsupported:
                return self._compile_graph(module, example, fullgraph=False)

    def _compile_graph(
        self, module: nn.Module, example: tuple[Tensor | None, ...], fullgraph: bool
    ) -> CompiledModule:
        """Compile without CUDA graphs: the pipeline captures the whole frame in one, instead of one per module."""
        mode = "max-autotune-no-cudagraphs" if self.device.type == "cuda" and self.features.tuned else None
        compiled: Any = torch.compile(module, dynamic=False, fullgraph=fullgraph, mode=mode)
        compiled(*example)
        result: CompiledModule = compiled
        return result


def _use_folder(device: torch.device) -> CacheManifest | None:
    """Let inductor use our folder, unless the user has named another one; return what is noted of our folder.

    By default torch uses a folder below the system's temporary folder, which a restart empties. A folder with damaged
    files is deleted before the first compilation of this process.
    """
    folder, named = inductor_folder(device), os.environ.get(_FOLDER, tempfile.gettempdir())
    if named == str(folder):
        return CacheManifest(folder)
    if not named.startswith(tempfile.gettempdir()):
        return None
    manifest = CacheManifest(folder)
    if manifest.drop_if_damaged():
        Prepared.read().forget(folder)
    os.environ[_FOLDER] = str(folder)
    return manifest


def torch_version() -> str:
    """Version of torch, as `recipes.prepared.installed_torch` returns it."""
    return str(torch.__version__)


def card_name(device: torch.device) -> str:
    """The device that compiled code is for: a card's name, or the instructions of the processor."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else device.type


def inductor_folder(device: torch.device) -> Path:
    """Folder of the compiled files for this torch on this device."""
    return cache_folder() / "inductor" / re.sub(r"[^\w.+-]+", "-", f"{torch_version()}-{card_name(device)}")


def is_tuned(recipe: Recipe, device: torch.device) -> bool:
    """Whether `lcm-daemon prepare` has made the tuned form of this recipe, as it is rendered, for this device."""
    if not _find_tuned(recipe, device):
        return False
    _use_folder(device)  # which may have to be deleted
    return _find_tuned(recipe, device)


def _find_tuned(recipe: Recipe, device: torch.device) -> bool:
    form = Prepared.read().find(recipe, torch_version(), card_name(device))
    return form is not None and form.tuned


def _probe_cpu() -> str:
    system = sys.platform if sys.platform in _COMPILERS else "linux"
    names = (os.environ["CXX"],) if os.environ.get("CXX") else _COMPILERS[system]
    if any(shutil.which(name) for name in names):
        return ""
    return f"no C++ compiler ({', '.join(names)}) was found in PATH; install {_INSTALL[system]}"


def _probe_cuda() -> str:
    if importlib.util.find_spec("triton") is None:
        package = "triton-windows" if sys.platform == "win32" else "triton"
        return f"{package} is not installed; install it with: pip install {package}"
    names = (os.environ["CC"],) if os.environ.get("CC") else ("cc", "gcc", "clang")
    if sys.platform == "linux" and not any(shutil.which(name) for name in names):
        return f"no C compiler ({', '.join(names)}) was found in PATH; Triton needs one: apt install gcc"
    return ""


_PROBES: Mapping[str, Callable[[], str]] = {"cpu": _probe_cpu, "cuda": _probe_cuda}
