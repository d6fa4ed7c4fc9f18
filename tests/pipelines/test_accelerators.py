"""Accelerators: choice by what is installed, compilation in the background, verification, and the cache."""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import threading
from pathlib import Path

import pytest

from lcm_daemon.pipelines.accelerators.base import Accelerator, AcceleratorError, CompiledModule, Features
from lcm_daemon.recipes.registry import ACCELERATOR_CHOICES, ACCELERATORS
from tests.conftest import need
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import make_unet

with lazy_imports(globals()):
    import torch
    from torch import Tensor, nn

    from lcm_daemon.pipelines.accelerators import choose, load, openvino, versions
    from lcm_daemon.pipelines.accelerators import compile as compiling
    from lcm_daemon.pipelines.accelerators.cache import CompileCache, fingerprint
    from lcm_daemon.pipelines.accelerators.low_rank import LiveForm
    from lcm_daemon.pipelines.accelerators.manager import AcceleratedModule, AcceleratorManager
    from lcm_daemon.pipelines.unet import UNetPass
    from tests.rigs.torch_stand_ins import Scaled, ToyUNet

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
PATIENCE = 120.0  # seconds; a guard against hanging, nothing waits that long


class Fake(Accelerator):
    """Compiles into `wrap(module)`, when `gate` is open."""

    name = "fake"
    compiles_in_background = True

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(CPU, Features())
        self.gate, self.made, self._factor = threading.Event(), list[str](), factor
        self.gate.set()

    @classmethod
    def probe(cls, device: torch.device) -> str:
        return ""

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        self.gate.wait(PATIENCE)
        self.made.append(part)
        return lambda *tensors: module(*tensors) * self._factor


class Blocking(Fake):
    """Like accelerators that use torch's tracers."""

    name = "blocking"
    compiles_in_background = False


class Broken(Fake):
    name = "broken"

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        raise RuntimeError("no such kernel\nand forty more lines")


def none() -> Accelerator:
    return load("none")(CPU, Features())


def inputs(batch: int = 1) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 4, 8, 8), torch.full((1,), 0.5)


def manager_of(*choices: Accelerator) -> AcceleratorManager:
    return AcceleratorManager("auto", CPU, Features(), print, [*choices, none()])


# --- choosing ---


def test_every_name_of_a_recipe_has_its_accelerator() -> None:
    for name in ACCELERATORS:
        assert load(name).name == name


def test_none_is_always_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ACCELERATOR_CHOICES:
        for device in (CPU, CUDA, MPS):
            lines: list[str] = []
            chosen = [one.name for one in choose(name, device, Features(), lines.append)]
            assert chosen[-1] == "none"
            assert chosen.count("none") == 1
            assert all("\n" not in line for line in lines)
    assert [one.name for one in choose("none", CPU, Features(), pytest.fail)] == ["none"]


def test_what_is_missing_says_so_in_one_line_and_the_next_best_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    lines: list[str] = []
    assert [one.name for one in choose("openvino", CPU, Features(), lines.append)] == ["none"]
    assert lines == ['openvino: openvino is not installed; install it with: pip install "lcm-daemon[openvino]"']


def test_a_machine_without_a_compiler_falls_back_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    lines: list[str] = []
    assert "compile" not in [one.name for one in choose("compile", CPU, Features(), lines.append)]
    assert lines[0].startswith("compile: no C++ compiler")
    assert "install" in lines[0]


class Baking(Fake):
    """Compiled modules contain the weights of that moment, as with OpenVINO."""

    name = "baking"
    bakes_weights = True

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        return super()._compile(part, copy.deepcopy(module), example)


def test_moved_weights_are_used_at_once_and_compiled_ones_return_with_them() -> None:
    manager, module, example = manager_of(Baking()), ToyUNet(), inputs()
    part = manager.accelerate("denoiser", module)
    weights = next(module.parameters())
    with torch.inference_mode():
        at_load = part(*example)
        assert manager.wait(PATIENCE)
        compiled = manager.installs
        weights.detach().mul_(2.0)
        manager.set_weights_moved(True)
        assert torch.equal(part(*example), module(*example))
        assert not torch.equal(part(*example), at_load)
        weights.detach().mul_(0.5)
        manager.set_weights_moved(False)
        assert torch.allclose(part(*example), at_load)
        part(*inputs(2))
        assert manager.wait(PATIENCE)
    assert manager.installs == compiled + 1


def test_module_compiled_while_weights_moved_is_compiled_again() -> None:
    baking, module, example = Baking(), ToyUNet(), inputs()
    baking.gate.clear()
    manager = manager_of(baking)
    part = manager.accelerate("denoiser", module)
    with torch.inference_mode():
        part(*example)
        manager.set_weights_moved(True)
        manager.set_weights_moved(False)
        baking.gate.set()
        assert manager.wait(PATIENCE)
        assert manager.installs == 0
        part(*example)
        assert manager.wait(PATIENCE)
    assert manager.installs == 1


class Live(Baking):
    """Bakes weights, but takes LoRA weights as an input."""

    name = "live"
    takes_live_form = True


class LiveAtLoad(Live):
    compiles_in_background = False


class Refusing(LiveAtLoad):
    """Compiles no live form."""

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        if isinstance(module, Scaled):
            raise RuntimeError("no such layer")
        return super()._compile(part, module, example)


def live_manager(choice: Accelerator) -> tuple[AcceleratorManager, AcceleratedModule, nn.Module, Tensor]:
    """A manager with one denoiser, whose LoRA's weight is the tensor."""
    manager, module, scales = manager_of(choice), ToyUNet(), torch.tensor([2.0])
    scaled = Scaled(copy.deepcopy(module))
    form = LiveForm(lambda: scaled, lambda: scales)
    return manager, manager.accelerate("denoiser", module, make_live=lambda: form), module, scales


def test_a_moved_fader_plays_the_compiled_live_form() -> None:
    live, example = Live(), inputs()
    manager, part, _, scales = live_manager(live)
    with torch.inference_mode():
        at_load = part(*example)
        assert manager.wait(PATIENCE)
        assert live.made == ["denoiser", "denoiser"]  # both forms, before a fader moves
        manager.set_weights_moved(True)
        assert torch.allclose(part(*example), 2.0 * at_load)
        scales.fill_(3.0)
        assert torch.allclose(part(*example), 3.0 * at_load)
        assert not manager.bypassed
        manager.set_weights_moved(False)
        assert torch.allclose(part(*example), at_load)
        assert manager.wait(PATIENCE)
    assert live.made == ["denoiser", "denoiser"]


def test_the_eager_module_plays_until_the_live_form_is_ready() -> None:
    live, example = Live(), inputs()
    live.gate.clear()
    manager, part, module, _ = live_manager(live)
    manager.set_weights_moved(True)
    with torch.inference_mode():
        assert torch.equal(part(*example), module(*example))
        live.gate.set()
        assert manager.wait(PATIENCE)
        assert torch.allclose(part(*example), 2.0 * module(*example))


def test_an_accelerator_that_compiles_at_load_compiles_the_live_form_alone() -> None:
    live, example = LiveAtLoad(), inputs()
    manager, part, module, scales = live_manager(live)
    with torch.inference_mode():
        assert torch.allclose(part(*example), 2.0 * module(*example))
        scales.fill_(0.5)
        manager.set_weights_moved(True)
        assert torch.allclose(part(*example), 0.5 * module(*example))
    assert live.made == ["denoiser"]


def test_where_no_live_form_compiles_the_module_does_and_its_loras_play_eagerly(
    caplog: pytest.LogCaptureFixture
) -> None:
    refusing, example = Refusing(), inputs()
    manager, part, module, _ = live_manager(refusing)
    with torch.inference_mode():
        part(*example)
        part(*example)
        assert (refusing.made, part.name) == (["denoiser"], "live")
        next(module.parameters()).detach().mul_(2.0)
        manager.set_weights_moved(True)
        assert manager.bypassed
        assert torch.equal(part(*example), module(*example))
    assert "live: denoiser plays eagerly while a LoRA's fader is off its loaded weight" in caplog.messages


def test_a_part_without_loras_stays_compiled_while_they_move() -> None:
    baking, example = Baking(), inputs()
    manager, module = manager_of(baking), ToyUNet()
    part = manager.accelerate("decoder", module, moves=False)
    with torch.inference_mode():
        at_load = part(*example)
        assert manager.wait(PATIENCE)
        manager.set_weights_moved(True)
        next(module.parameters()).detach().mul_(2.0)  # which a part that does not move would never see
        assert torch.allclose(part(*example), at_load)
        assert not manager.bypassed


def test_versions_for_the_doctor() -> None:
    rows = {package: (installed, supported) for package, installed, supported in versions()}
    assert rows["torch"][0] == torch.__version__.split("+")[0] or rows["torch"][0] == torch.__version__
    assert {"openvino", "torch-tensorrt", "stable-fast", "stable-fast-pruna", "onediff"} <= set(rows)
    assert all(supported for _, supported in rows.values())


# --- playing while compiling ---


def test_the_eager_module_plays_until_the_compiled_one_is_ready() -> None:
    fake, module, example = Fake(), ToyUNet(), inputs()
    fake.gate.clear()
    manager = manager_of(fake)
    part = manager.accelerate("denoiser", module)
    with torch.inference_mode():
        expected = module(*example)
        assert torch.equal(part(*example), expected)
        assert manager.active_names() == {"denoiser": "none"}
        fake.gate.set()
        assert manager.wait(PATIENCE)
        assert manager.active_names() == {"denoiser": "fake"}
        assert torch.allclose(part(*example), expected)
    assert fake.made == ["denoiser"]


def test_nothing_is_compiled_while_the_model_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcm_daemon.pipelines.accelerators.manager.FIRST_PICTURES", 0.0)
    fake = Fake()
    manager = manager_of(fake)
    with manager.held(), torch.inference_mode():
        manager.accelerate("denoiser", ToyUNet())(*inputs())
        assert not manager.wait(0.05)
        assert fake.made == []
    assert manager.wait(PATIENCE)
    assert fake.made == ["denoiser"]


def test_each_shape_is_compiled_once() -> None:
    fake = Fake()
    manager = manager_of(fake)
    part = manager.accelerate("denoiser", ToyUNet())
    extra = torch.ones(1, 4, 8, 8)
    with torch.inference_mode():
        for _ in range(3):
            part(*inputs())
            part(*inputs(2))
            part(*inputs(), None, extra)
    assert manager.wait(PATIENCE)
    assert fake.made == ["denoiser"] * 3


def test_what_cannot_be_compiled_says_so_and_the_next_best_runs(caplog: pytest.LogCaptureFixture) -> None:
    fake = Fake()
    manager = manager_of(Broken(), fake)
    part = manager.accelerate("decoder", ToyUNet())
    with torch.inference_mode():
        part(*inputs())
    assert manager.wait(PATIENCE)
    assert part.name == "fake"
    assert "broken: decoder cannot be compiled: RuntimeError: no such kernel" in caplog.messages


@pytest.mark.parametrize("factor", [1.1, float("nan")])
def test_a_result_that_is_not_torchs_is_not_used(factor: float, caplog: pytest.LogCaptureFixture) -> None:
    manager = manager_of(Fake(factor))
    module, example = ToyUNet(), inputs()
    part = manager.accelerate("denoiser", module)
    with torch.inference_mode():
        part(*example)
        assert manager.wait(PATIENCE)
        assert torch.equal(part(*example), module(*example))
    assert part.name == "none"
    assert any("differs from torch's result by" in line for line in caplog.messages)


def test_a_cached_result_that_is_wrong_is_made_again() -> None:
    class Cached(Blocking):
        damaged = True

        def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
            compiled = super()._compile(part, module, example)
            return (lambda *tensors: compiled(*tensors) * 2.0) if self.damaged else compiled

        def drop_damaged(self, error: Exception) -> bool:
            was, self.damaged = self.damaged, False
            return was

    manager = manager_of(Cached())
    part = manager.accelerate("denoiser", ToyUNet())
    with torch.inference_mode():
        part(*inputs())
    assert part.name == "blocking"


def test_accelerators_that_cannot_compile_in_the_background_compile_at_load() -> None:
    blocking = Blocking()
    manager = manager_of(blocking)
    part = manager.accelerate("denoiser", ToyUNet())
    with torch.inference_mode():
        part(*inputs())
        assert (part.name, blocking.made) == ("blocking", ["denoiser"])
        manager.loading = False
        part(*inputs(2))
    assert manager.wait(0.0)
    assert blocking.made == ["denoiser"]


def test_inputs_that_come_too_late_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Such as a longer prompt: its frames play uncompiled for good, so it must not be silent."""
    manager = manager_of(Blocking())
    part = manager.accelerate("denoiser", ToyUNet())
    with torch.inference_mode():
        part(*inputs())
        manager.loading = False
        for batch in (1, 2, 3):
            part(*inputs(batch))
    [warning] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith("blocking: the denoiser gets inputs of a size that was not there when the recipe loaded")


def test_none_starts_no_thread() -> None:
    before = threading.active_count()
    part = AcceleratorManager("none", CPU, Features(), print).accelerate("denoiser", ToyUNet())
    with torch.inference_mode():
        part(*inputs())
    assert threading.active_count() == before


def test_an_example_without_tensors_is_refused() -> None:
    with pytest.raises(ValueError, match="denoiser"):
        none().compile("denoiser", ToyUNet(), (None,))


# --- the compilers that are here ---


@pytest.fixture
def cached(tmp_path: Path) -> openvino.OpenVino:
    need(importlib.util.find_spec("openvino") is not None, "openvino is not installed")
    return openvino.OpenVino(CPU, Features(), CompileCache("openvino", tmp_path))


def unet_inputs(residuals: bool) -> tuple[Tensor | None, ...]:
    """As the denoiser takes them, with or without what ControlNets add."""
    shapes = ((1, 32, 8, 8), (1, 32, 8, 8), (1, 32, 4, 4), (1, 64, 4, 4), (1, 64, 4, 4)) if residuals else ()
    return (torch.randn(1, 4, 8, 8), torch.tensor([500.0]), torch.randn(1, 16, 32), None, None, None, None,
            *(torch.randn(shape) for shape in shapes))


@pytest.mark.compile
@pytest.mark.parametrize("residuals", [False, True])
def test_openvino_computes_what_torch_computes(cached: openvino.OpenVino, residuals: bool) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        module = UNetPass(make_unet().eval())
        compiled = cached.compile("denoiser", module, unet_inputs(residuals))
        for _ in range(2):
            fresh = unet_inputs(residuals)
            torch.testing.assert_close(compiled(*fresh), module(*fresh), rtol=1e-3, atol=1e-3)


@pytest.mark.compile
def test_openvino_keeps_weights_of_16_bits(cached: openvino.OpenVino, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        module = UNetPass(make_unet().eval()).bfloat16()
        before = {name: weight.clone() for name, weight in module.named_parameters()}
        compiled, fresh = cached.compile("denoiser", module, unet_inputs(False)), unet_inputs(False)
        expected = copy.deepcopy(module).float()(*fresh)
        assert float((compiled(*fresh) - expected).norm() / expected.norm()) < 0.03
        assert all(torch.equal(weight, before[name]) for name, weight in module.named_parameters())
    weights = sum(weight.numel() for weight in module.parameters())
    assert next((tmp_path / "openvino").glob("*.blob")).stat().st_size < 3 * weights


@pytest.mark.compile
def test_the_second_start_reads_the_cache_and_a_damaged_file_is_made_again(
    cached: openvino.OpenVino, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    module, example = ToyUNet(), inputs()
    with torch.inference_mode():
        cached.compile("denoiser", module, example)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(openvino, "trace", lambda *_: pytest.fail("compiled again"))
            torch.testing.assert_close(cached.compile("denoiser", module, example)(*example), module(*example),
                                       rtol=1e-3, atol=1e-3)
        file = next((tmp_path / "openvino").glob("*.blob"))
        whole = file.read_bytes()
        middle = len(whole) // 2
        for damaged in (b"not a model", whole[:middle] + b"?" + whole[middle + 1:]):
            file.write_bytes(damaged)
            compiled = cached.compile("denoiser", module, example)
            torch.testing.assert_close(compiled(*example), module(*example), rtol=1e-3, atol=1e-3)
            assert file.stat().st_size == len(whole)
            assert caplog.messages[-2].startswith(f"openvino: the cached model {file} is damaged (")


@pytest.mark.slow
def test_a_compiler_that_crashes_is_one_line(cached: openvino.OpenVino, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "crash"
    script.write_text("#!/bin/sh\nkill -SEGV $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(openvino.sys, "executable", str(script))
    with torch.inference_mode(), pytest.raises(AcceleratorError) as error:
        cached.compile("denoiser", ToyUNet(), inputs())
    assert str(error.value) == "denoiser: OpenVINO's compiler crashed (signal 11)"
    assert list((tmp_path / "openvino").iterdir()) == []


@pytest.mark.compile
@pytest.mark.parametrize("live", [False, True])
def test_compile_computes_what_torch_computes(live: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need(not compiling.Compile.probe(CPU), compiling.Compile.probe(CPU))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    module, example = ToyUNet(), inputs()
    with torch.inference_mode():
        compiled = compiling.Compile(CPU, Features(live_weights=live)).compile("denoiser", module, example)
        torch.testing.assert_close(compiled(*example), module(*example), rtol=1e-4, atol=1e-4)
        if live:
            module.layer.weight.mul_(2.0)
            torch.testing.assert_close(compiled(*example), module(*example), rtol=1e-4, atol=1e-4)


# --- the cache ---


def test_the_fingerprint_is_of_weights_shapes_and_versions() -> None:
    module, example = ToyUNet(), inputs()
    with torch.no_grad():
        first = fingerprint(module, example, "1")
        assert fingerprint(module, inputs(), "1") == first
        different = {fingerprint(module, inputs(2), "1"), fingerprint(module, example, "2"),
                     fingerprint(module.bfloat16(), example, "1")}
        module.float()
        module.layer.weight[0, 0, 0, 0] += 1e-3
        different.add(fingerprint(module, example, "1"))
    assert len(different - {first}) == 4


def test_files_appear_whole_and_the_oldest_go(tmp_path: Path) -> None:
    cache = CompileCache("toy", tmp_path, limit=250)
    for age, name in enumerate(("a", "b", "c")):
        with cache.work_folder() as place:
            (place / "made").write_bytes(bytes(100))
            assert cache.find(name) is None
            file = cache.store(place / "made", name)
        os.utime(file, (age, age))
    assert sorted(file.name for file in cache.folder.iterdir()) == ["b", "c"]
    assert cache.find("b") == cache.folder / "b"


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    cache = CompileCache("toy", tmp_path)
    old, fresh = cache.folder / "old", cache.folder / "fresh"
    for place in (old, fresh):
        place.mkdir(parents=True)
    (old / "traced.pt").write_bytes(b"half")
    os.utime(old, (0, 0))
    with cache.work_folder():
        assert (old.exists(), fresh.exists()) == (False, True)


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
