"""TensorRT, stable-fast and OneDiff: calls checked against the real packages' names, behaviour on stand-ins."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lcm_daemon.pipelines.accelerators import choose, load
from lcm_daemon.pipelines.accelerators.base import Features
from tests.rigs import accelerator_names, native_names
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch import nn

    from tests.rigs.torch_stand_ins import ToyWithNone

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PACKAGES = {"tensorrt": "torch_tensorrt", "sfast": "stable_fast_pruna", "onediff": "onediff"}
OWNERS = {
    "tensorrt": {"torch_tensorrt": "torch_tensorrt"},
    "sfast": {"diffusion_pipeline_compiler": "diffusion_pipeline_compiler",
              "diffusion_pipeline_compiler.CompilationConfig": "CompilationConfig"},
    "onediff": {"infer_compiler": "infer_compiler"},
}


def names_of(name: str) -> dict[str, Any]:
    """The package's names; torch_tensorrt.compile passes unknown keywords to dynamo.compile."""
    fixture: dict[str, Any] = accelerator_names.load()[PACKAGES[name]]
    names = fixture["names"]
    if name == "tensorrt":
        names["torch_tensorrt"]["compile"]["keywords"] += [*names["dynamo"]["compile"]["keywords"], "**"]
    return fixture


def names_of_version(version: str) -> dict[str, Any]:
    names: dict[str, Any] = accelerator_names.load()[version]["names"]
    return names


@pytest.mark.parametrize("name", list(PACKAGES))
def test_every_call_is_one_that_the_real_package_takes(name: str) -> None:
    fixture, source = names_of(name), sys.modules[load(name).__module__].__file__
    assert source is not None
    calls = list(native_names.uses(Path(source), OWNERS[name]))
    assert any(call.positional is not None for call in calls)
    assert native_names.mistakes(fixture, calls) == []


def test_the_settings_are_fields_of_stable_fasts_configuration() -> None:
    fields = names_of("sfast")["names"]["CompilationConfig"]["Default"]["keywords"]
    assert {"enable_cuda_graph", "preserve_parameters"} <= set(fields)


def test_what_onediff_is_asked_for_is_exported() -> None:
    assert {"compile", "OneflowCompileOptions"} <= set(names_of("onediff")["names"]["exported"])
    assert "*" in names_of("onediff")["names"]["infer_compiler.__init__"]


class Seen:
    """Arguments of the last call of a stand-in."""

    module: nn.Module
    options: dict[str, Any]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Seen:
    seen = Seen()

    def compile_2_11(exported_program: Any, inputs: Any = None, *, use_explicit_typing: bool = True) -> None: ...

    def compile_any(module: nn.Module, *_: Any, **options: Any) -> nn.Module:
        seen.module, seen.options = module, options
        return module

    def compile_unet(module: nn.Module, config: Any) -> nn.Module:
        seen.module, seen.options = module, vars(config)
        return module

    def package(name: str, **content: Any) -> None:
        made = ModuleType(name)
        vars(made).update(content)
        monkeypatch.setitem(sys.modules, name, made)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, made)

    monkeypatch.setenv("LCM_DAEMON_CACHE", str(tmp_path))
    package("torch_tensorrt", compile=compile_any)
    package("torch_tensorrt.dynamo", compile=compile_2_11)
    package("onediff")
    package("onediff.infer_compiler", compile=compile_any, OneflowCompileOptions=lambda **named: named)
    package("sfast")
    package("sfast.compilers")
    package("sfast.compilers.diffusion_pipeline_compiler", compile_unet=compile_unet,
            CompilationConfig=SimpleNamespace(Default=SimpleNamespace))
    return seen


@pytest.mark.parametrize("name", list(PACKAGES))
def test_the_compiled_module_is_called_with_tensors_alone(name: str, seen: Seen) -> None:
    module = ToyWithNone()
    with torch.inference_mode():
        example = (torch.randn(1, 4, 8, 8), None, torch.tensor([0.5]))
        compiled = load(name)(CUDA, Features()).compile("denoiser", module, example)
        assert torch.equal(compiled(*example), module(*example))
    assert seen.module is not module


def test_tensorrt_keeps_its_engines_in_our_cache(seen: Seen, tmp_path: Path) -> None:
    with torch.inference_mode():
        example = (torch.ones(1, 4, 8, 8), None, torch.ones(1))
        load("tensorrt")(CUDA, Features()).compile("denoiser", ToyWithNone(), example)
    assert Path(seen.options["engine_cache_dir"]).parent == tmp_path
    assert not any(tensor.is_inference() for tensor in seen.options["arg_inputs"])


def test_tensorrt_keeps_the_precision_of_the_module(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Explicit types where that is a setting (2.11); 2.13 has no other types, and drops `enabled_precisions`."""
    settings = {version: names_of_version(version)["dynamo"]["compile"]["keywords"]
                for version in ("torch_tensorrt 2.11.0", "torch_tensorrt")}
    assert ["use_explicit_typing" in keywords for keywords in settings.values()] == [True, False]
    example = (torch.ones(1, 4, 8, 8), None, torch.ones(1))
    load("tensorrt")(CUDA, Features()).compile("denoiser", ToyWithNone(), example)
    assert (seen.options["use_explicit_typing"], "enabled_precisions" in seen.options) == (True, False)
    monkeypatch.setattr(sys.modules["torch_tensorrt.dynamo"], "compile", lambda exported_program, inputs=None: None)
    load("tensorrt")(CUDA, Features()).compile("denoiser", ToyWithNone(), example)
    assert "use_explicit_typing" not in seen.options


def test_bakes_weights() -> None:
    assert [name for name in PACKAGES if load(name).bakes_weights] == [n for n in PACKAGES if n != "sfast"]


@pytest.mark.parametrize("name", list(PACKAGES))
def test_without_an_nvidia_gpu_one_line_says_so(name: str) -> None:
    lines: list[str] = []
    assert name not in [one.name for one in choose(name, CPU, Features(), lines.append)]
    assert lines[0] == f"{name}: it needs an NVIDIA GPU, and the device is cpu"
