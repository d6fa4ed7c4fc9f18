"""Precision by card: the table, the switches of torch, and what doctor and recipes make of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lcm_daemon.recipes.recipe import Recipe
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch import Tensor, nn

    from lcm_daemon.pipelines import accumulation, components, precision
    from lcm_daemon.pipelines.device import choose_dtype, choose_precision

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
HALF, BRAIN, FULL = (torch.float16, torch.bfloat16, torch.float32)

CARDS = [  # name as torch gives it, capability, dtype, dtype of what overflows, float8, fast float16 accumulation
    ("NVIDIA GeForce GTX 980", (5, 2), FULL, FULL, False, False),
    ("NVIDIA GeForce GTX 1080 Ti", (6, 1), FULL, FULL, False, False),
    ("Tesla P40", (6, 1), FULL, FULL, False, False),
    ("Tesla P100-PCIE-16GB", (6, 0), HALF, FULL, False, False),
    ("Tesla V100-SXM2-16GB", (7, 0), HALF, FULL, False, False),
    ("NVIDIA GeForce GTX 1660 SUPER", (7, 5), FULL, FULL, False, False),
    ("NVIDIA GeForce GTX 1650 with Max-Q Design", (7, 5), FULL, FULL, False, False),
    ("NVIDIA T1000 8GB", (7, 5), FULL, FULL, False, False),
    ("Quadro T2000", (7, 5), FULL, FULL, False, False),
    ("NVIDIA GeForce MX450", (7, 5), FULL, FULL, False, False),
    ("Tesla T4", (7, 5), HALF, FULL, False, False),
    ("NVIDIA GeForce RTX 2080 Ti", (7, 5), HALF, FULL, False, True),
    ("NVIDIA A100-SXM4-40GB", (8, 0), HALF, BRAIN, False, False),
    ("NVIDIA GeForce RTX 3090", (8, 6), HALF, BRAIN, False, True),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", (8, 9), HALF, BRAIN, True, True),
    ("NVIDIA L4", (8, 9), HALF, BRAIN, True, False),
    ("NVIDIA RTX 6000 Ada Generation", (8, 9), HALF, BRAIN, True, False),
    ("NVIDIA H100 80GB HBM3", (9, 0), HALF, BRAIN, True, False),
    ("NVIDIA B200", (10, 0), HALF, BRAIN, True, False),
    ("NVIDIA GeForce RTX 5090", (12, 0), HALF, BRAIN, True, True),
]

Put = Callable[[str, tuple[int, int]], None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Let torch find a card."""
    def install(name: str, capability: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.version, "hip", None)

    return install


@pytest.mark.parametrize(("name", "capability", "dtype", "overflow", "float8", "fast"), CARDS)
def test_every_card_has_its_precision(name: str, capability: tuple[int, int], dtype: torch.dtype,
                                      overflow: torch.dtype, float8: bool, fast: bool, put: Put) -> None:
    put(name, capability)
    found = choose_precision(Recipe("test"), CUDA)
    assert found.dtype == dtype
    assert bool(found.reason) is (dtype == FULL), "an exception says why"
    assert precision.for_overflow(CUDA) == overflow
    assert precision.computes_float8(CUDA) is float8
    assert precision.adds_float16_faster(CUDA) is fast


def test_the_reason_is_read_as_one_sentence(put: Put) -> None:
    put("NVIDIA GeForce GTX 1660", (7, 5))
    assert str(choose_precision(Recipe("test"), CUDA)) == (
        "float32, because float16 gives NaN on GTX 16xx cards and their relatives")
    put("NVIDIA H100", (9, 0))
    assert str(choose_precision(Recipe("test"), CUDA)) == "float16"


@pytest.mark.parametrize("wanted", ["float16", "bfloat16", "float32"])
def test_the_recipe_goes_first(wanted: str, put: Put) -> None:
    put("NVIDIA GeForce GTX 1660", (7, 5))
    for device in (CUDA, CPU, torch.device("mps")):
        assert choose_dtype(Recipe("test", dtype=wanted), device) == getattr(torch, wanted)


def test_amd_cards_apple_and_processors_are_as_before(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("AMD Radeon RX 7900 XTX", (6, 1))
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert choose_dtype(Recipe("test"), CUDA) == HALF
    assert precision.for_overflow(CUDA) == FULL
    assert not precision.computes_float8(CUDA)
    assert choose_dtype(Recipe("test"), torch.device("mps")) == HALF
    for native, dtype in ((True, BRAIN), (False, FULL)):
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, name, lambda native=native: native, raising=False)
        assert choose_dtype(Recipe("test"), CPU) == dtype


@pytest.mark.parametrize(("second", "upcast", "wanted", "used"), [
    (True, True, HALF, BRAIN), (True, True, FULL, FULL), (True, True, BRAIN, BRAIN), (True, False, HALF, HALF),
    (False, True, HALF, HALF)])
def test_a_vae_that_overflows_gets_a_wider_range(
        second: bool, upcast: bool, wanted: torch.dtype, used: torch.dtype, put: Put,
        monkeypatch: pytest.MonkeyPatch) -> None:
    put("NVIDIA GeForce RTX 4090", (8, 9))
    found: list[torch.dtype] = []
    monkeypatch.setattr(components, "read_json", lambda file: {"force_upcast": upcast, "_class_name": "AutoencoderKL"})
    monkeypatch.setattr(components, "read_pretrained", lambda kind, folder, dtype: found.append(dtype))
    weights: Any = SimpleNamespace(second=second, vae_config=Path("vae/config.json"))
    loader = components._Loader(Recipe("test"), weights, CUDA, wanted, print)
    loader._read_vae(Path("vae"))
    assert found == [used]


# --- float16 accumulation ---


@pytest.fixture
def _switched_off() -> Iterator[None]:
    yield
    accumulation.switch(False)


def summing(error: float, dtype: torch.dtype) -> nn.Module:
    """A module whose result differs by `error` while the products are added in float16."""
    class Summing(nn.Linear):
        def forward(self, tensor: Tensor) -> Tensor:
            on = torch.backends.cuda.matmul.allow_fp16_accumulation
            return super().forward(tensor) * (1.0 + (error if on else 0.0))

    return Summing(4, 4).to(dtype).requires_grad_(False)


@pytest.mark.usefixtures("_switched_off")
@pytest.mark.parametrize(("card", "dtype", "error", "used"), [
    ("NVIDIA GeForce RTX 4090", HALF, 0.005, True), ("NVIDIA GeForce RTX 4090", HALF, 0.2, False),
    ("NVIDIA GeForce RTX 4090", HALF, float("nan"), False), ("NVIDIA GeForce RTX 4090", BRAIN, 0.0, False),
    ("NVIDIA GeForce RTX 4090", FULL, 0.0, False), ("NVIDIA H100 80GB HBM3", HALF, 0.0, False)])
def test_float16_accumulation_is_for_geforce_and_for_results_that_stay(
        card: str, dtype: torch.dtype, error: float, used: bool, put: Put) -> None:
    put(card, (8, 9))
    accumulation.decide(CUDA, summing(error, dtype), (torch.ones(1, 4, dtype=dtype),))
    assert torch.backends.cuda.matmul.allow_fp16_accumulation is used


@pytest.mark.slow
def test_tf32_is_on_for_every_reader_and_nothing_warns() -> None:
    """In a process of its own: torch warns once."""
    code = """if True:
        import warnings
        warnings.simplefilter("error")
        import torch
        from lcm_daemon.pipelines import device
        device.torch.cuda.set_device = lambda wanted: None
        device.configure(torch.device("cuda"))
        new = getattr(torch.backends.cuda.matmul, "fp32_precision", "tf32")
        assert new == "tf32", new
        warnings.simplefilter("ignore")
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    """
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
