"""Imports of diffusers and transformers without what they import but an engine never uses.

Together these are more than half of what an engine would import before its first picture. Five means, by cost:

- Packages that import all of their models are deferred, and so is torch's compiler: `deferred_modules`.
- torch.distributed is not available while the libraries are imported: an engine is one process, and the libraries then
  leave out what they have for several.
- peft (for LoRAs, which an engine reads by itself) and scipy (for training and a few schedulers) are not found.
- The list of all installed packages, which diffusers makes at import, is made when it is read.
- transformers does not run itself a second time, for which it reads all of its files.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections import UserDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lcm_daemon.pipelines.deferred_modules import Deferral, deferring

_HIDDEN = ("peft", "scipy")
_BARE = Deferral(bare=True)
_CLIP = "models.clip.modeling_clip"
_DEFERRED: Mapping[str, Deferral] = {
    "accelerate": Deferral(names=("PartialState", "dispatch_model", "infer_auto_device_map", "init_empty_weights")),
    "accelerate.hooks": Deferral(names=(
        "AlignDevicesHook", "CpuOffload", "add_hook_to_module", "remove_hook_from_module")),
    "accelerate.utils": Deferral(names=(
        "extract_model_from_parallel", "get_balanced_memory", "get_max_memory", "infer_auto_device_map",
        "load_offloaded_weights", "offload_weight", "reduce", "save_offload_index", "send_to_device",
        "set_module_tensor_to_device")),
    "accelerate.utils.modeling": Deferral(names=("clean_device_map", "get_max_layer_size")),
    "diffusers.hooks": _BARE,
    "diffusers.models.autoencoders": _BARE,
    "diffusers.models.controlnets": _BARE,
    "diffusers.models.transformers": _BARE,
    "diffusers.models.unets": _BARE,
    "diffusers.quantizers": Deferral(bare=True, names=("DiffusersAutoQuantizer", "DiffusersQuantizer")),
    "transformers": Deferral(bare=True, names=("AutoImageProcessor",), homes={
        "CLIPTextModel": _CLIP, "CLIPTextModelWithProjection": _CLIP, "CLIPVisionModel": _CLIP,
        "CLIPVisionModelWithProjection": _CLIP, "PreTrainedModel": "modeling_utils"}),
    "transformers.generation": Deferral(bare=True, names=("CompileConfig", "GenerationConfig")),
    "transformers.models": _BARE,
    "transformers.quantizers": Deferral(bare=True, names=("HfQuantizer",)),
    "transformers.quantizers.auto": Deferral(names=("get_hf_quantizer",)),
    "torch._dynamo": Deferral(marks=("allow_in_graph", "assume_constant_result"), wraps=("disable",)),
    "torch._dynamo._trace_wrapped_higher_order_op": Deferral(names=("TransformGetItemToIndex",)),
    "requests": Deferral(),
}


@contextmanager
def light_imports() -> Iterator[None]:
    """While this is open, imports are light. Afterwards everything is found again."""
    hidden = [name for name in _HIDDEN if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # importlib reads this as "not to be found"
    try:
        with deferring(_DEFERRED), _one_process(), _late_list_of_packages(), _transformers_once():
            yield
    finally:
        for name in hidden:
            del sys.modules[name]
            _announce(name)


@contextmanager
def _one_process() -> Iterator[None]:
    """While this is open, torch.distributed says that it is not available."""
    import torch.distributed

    before = torch.distributed.is_available
    torch.distributed.is_available = lambda: False
    try:
        yield
    finally:
        torch.distributed.is_available = before


class _Packages(UserDict[str, list[str]]):
    """`importlib.metadata.packages_distributions()`, made when it is first read."""

    def __init__(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name != "data":
            raise AttributeError(name)
        self.data = dict(importlib.metadata.packages_distributions())
        return self.data


@contextmanager
def _late_list_of_packages() -> Iterator[None]:
    before: Any = importlib.metadata.packages_distributions
    importlib.metadata.packages_distributions = _Packages
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = before


@contextmanager
def _transformers_once() -> Iterator[None]:
    """While this is open, transformers takes itself where it would be loaded from its files another time."""
    name = "direct_transformers_import"
    places = [importlib.import_module(place) for place in ("transformers.utils", "transformers.utils.import_utils")]
    before = [(place, getattr(place, name)) for place in places if hasattr(place, name)]
    for place, _ in before:
        setattr(place, name, lambda *_, **__: sys.modules["transformers"])
    try:
        yield
    finally:
        for place, function in before:
            setattr(place, name, function)


def _announce(name: str) -> None:
    """Let both libraries look for a package again: they remember for good what they have not found."""
    is_there = importlib.util.find_spec(name) is not None
    of_diffusers: Any = sys.modules.get("diffusers.utils.import_utils")
    if hasattr(of_diffusers, f"_{name}_available"):
        setattr(of_diffusers, f"_{name}_available", is_there)
    of_transformers: Any = sys.modules.get("transformers.utils.import_utils")
    getattr(getattr(of_transformers, f"is_{name}_available", None), "cache_clear", lambda: None)()
