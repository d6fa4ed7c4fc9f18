"""Which form on which device OpenVINO runs: the fastest one that is near enough, on a stand-in for its Core."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.errors import RecipeError
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import torch
    from torch import nn

    from lcm_daemon.pipelines import device as devices
    from lcm_daemon.pipelines.accelerators import openvino_devices
    from lcm_daemon.pipelines.accelerators.base import Features
    from lcm_daemon.pipelines.accelerators.cache import CompileCache
    from lcm_daemon.pipelines.accelerators.int8 import Int8
    from lcm_daemon.pipelines.accelerators.openvino import OpenVino
    from lcm_daemon.pipelines.accelerators.openvino_contenders import (
        Contender,
        attempts,
        list_contenders,
        read_winner,
        write_winner,
    )

NAMES = {"CPU": "Some Processor", "GPU.0": "Intel Arc", "GPU.1": "Intel Iris", "NPU": "Intel AI Boost"}


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """OpenVINO finds the devices of this mapping."""
    found = dict(NAMES)

    class Core:
        @property
        def available_devices(self) -> list[str]:
            return list(found)

        def get_property(self, device_name: str, property: str) -> str:  # noqa: A002 - openvino.Core has this name
            assert property == "FULL_DEVICE_NAME"
            return found[device_name]

    stand_in = ModuleType("openvino")
    vars(stand_in)["Core"] = Core
    monkeypatch.setitem(sys.modules, "openvino", stand_in)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: stand_in)
    monkeypatch.setattr(openvino_devices, "devices", openvino_devices.devices.__wrapped__)
    return found


class Run:
    """Stands for a compiled contender: its output, and seconds of each run on a clock of its own."""

    def __init__(self, output: float, seconds: float, clock: list[float]) -> None:
        self.output, self._seconds, self._clock = np.full(4, output), seconds, clock

    def run(self) -> None:
        self._clock[0] += self._seconds


def contest(monkeypatch: pytest.MonkeyPatch, *runs: tuple[Any, float, float]) -> str:
    compiler = pytest.importorskip("lcm_daemon.pipelines.accelerators.openvino_compile")
    clock = [0.0]
    monkeypatch.setattr(compiler.time, "perf_counter", lambda: clock[0])
    winner, seconds = compiler.choose({each: Run(output, cost, clock) for each, output, cost in runs})
    assert set(seconds) <= {each.name for each, _, _ in runs}
    return str(winner.name)


def test_the_fastest_contender_that_is_near_enough_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, int8 = Contender("float", "CPU", {}), Contender("int8", "CPU", {}, 0.05)
    gpu = Contender("float", "GPU", {}, 0.03)
    assert contest(monkeypatch, (cpu, 1.0, 0.2), (int8, 1.04, 0.1), (gpu, 1.01, 0.15)) == "int8 on CPU"
    assert contest(monkeypatch, (cpu, 1.0, 0.2), (int8, 1.06, 0.1), (gpu, 1.01, 0.15)) == "float on GPU"
    assert contest(monkeypatch, (cpu, 1.0, 0.2), (int8, 1.0, 0.195)) == "float on CPU"
    assert contest(monkeypatch, (cpu, 1.0, 0.2), (int8, float("nan"), 0.1)) == "float on CPU"
    assert contest(monkeypatch, (gpu, 1.0, 0.2)) == "float on GPU"


def test_contenders_are_what_the_model_and_the_machine_offer() -> None:
    module, int8 = nn.Conv2d(1, 1, 1), Int8({"": (0.0, 1.0)}, 0.05)
    names = [each.name for each in list_contenders(module, int8, ["CPU", "GPU.0", "NPU"])]
    assert names == ["float on CPU", "int8 on CPU", "float on GPU.0", "float on NPU"]
    assert [each.name for each in list_contenders(module, None, ["NPU"])] == ["float on NPU"]
    hints = [list_contenders(each, None, ["CPU"])[0].properties["INFERENCE_PRECISION_HINT"]
             for each in (module, nn.Conv2d(1, 1, 1).bfloat16())]
    assert hints == ["f32", "bf16"]


def test_after_a_crash_the_cpu_compiles_without_snippets_and_then_without_the_gpu() -> None:
    contenders = list_contenders(nn.Conv2d(1, 1, 1), None, ["CPU", "GPU"])
    tries = [[(each.device, each.properties.get("SNIPPETS_MODE")) for each in attempt]
             for attempt in attempts(contenders)]
    assert tries == [[("CPU", None), ("GPU", None)], [("CPU", "DISABLE"), ("GPU", None)], [("CPU", "DISABLE")]]


def test_the_winner_is_read_back_with_its_file(tmp_path: Path) -> None:
    winner = Contender("int8", "CPU", {"NUM_STREAMS": "1"}, 0.05)
    write_winner(tmp_path / "model.blob", winner, {winner.name: 0.02}, b"blob\nof\nlines")
    read, seconds, blob = read_winner(tmp_path / "model.blob")
    assert (vars(read), seconds, blob) == (vars(winner), {"int8 on CPU": 0.02}, b"blob\nof\nlines")


def test_a_recipe_may_name_a_device_of_openvino(core: dict[str, str], tmp_path: Path) -> None:
    def named(wanted: str, **more: Any) -> str:
        return devices.openvino_device(recipe_of(tmp_path, **{"device": wanted, "accelerate": "auto", **more}))

    assert [named(name) for name in ("auto", "cpu", "openvino:CPU", "openvino:NPU", "openvino:GPU", "openvino:GPU.1")
            ] == ["", "", "CPU", "NPU", "GPU.0", "GPU.1"]
    assert devices.choose_device(recipe_of(tmp_path, device="openvino:NPU", accelerate="auto")) == torch.device("cpu")
    with pytest.raises(RecipeError, match="needs accelerate: auto or openvino, not none"):
        named("openvino:NPU", accelerate="none")
    del core["NPU"]
    with pytest.raises(RecipeError, match=r"finds no NPU on this machine; there are: openvino:CPU, openvino:GPU\.0, "):
        named("openvino:NPU")


def test_gpus_are_tried_beside_the_cpu_unless_the_recipe_names_a_device(core: dict[str, str], tmp_path: Path) -> None:
    def tried(wanted: str) -> list[str]:
        made = OpenVino(torch.device("cpu"), Features(openvino_device=wanted), CompileCache("openvino", tmp_path))
        return made._devices

    assert tried("") == ["CPU", "GPU.0", "GPU.1"]
    assert tried("NPU") == ["NPU"]
    core.clear()
    core["CPU"] = "Some Processor"
    assert tried("") == ["CPU"]
