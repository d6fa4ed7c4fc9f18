"""Small random checkpoints, one per kind of model for the whole run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines import cuda_graph, latent_consistency, stable_diffusion, warm_up
    from lcm_daemon.pipelines import device as devices
    from tests.rigs.card import Card, plugged_in

Values = dict[str, Value]

TEXT_ADDED = {"addition_embed_type": "text", "addition_embed_type_num_heads": 8}
KINDS = {
    "epsilon": lambda folder: tiny.write_checkpoint(folder),
    "velocity": lambda folder: tiny.write_checkpoint(folder, tiny.VELOCITY, TEXT_ADDED,
                                                     tiny.make_tiny_vae(8)),
    "embedded": lambda folder: tiny.write_checkpoint(folder, unet={"time_cond_proj_dim": 16}),
    "turbo": lambda folder: tiny.write_checkpoint(folder, tiny.TURBO),
    "kl": lambda folder: tiny.write_checkpoint(folder, vae=tiny.make_kl_vae()),
}


def inference_mode(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like `torch.inference_mode()` as a decorator, but imports torch when the function is called."""
    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        with torch.inference_mode():
            return function(*arguments, **named)

    return wrapped


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small models gain nothing from more threads, and their sums keep one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of one of KINDS, written when it is first asked for."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = KINDS[kind](tmp_path_factory.mktemp(kind) / "model")
        return made[kind]

    return get


@pytest.fixture(scope="module")
def card() -> Iterator[Card]:
    """A card for all tests of a module. Recordings need one warm-up; one and two steps are recorded at load."""
    with pytest.MonkeyPatch.context() as patch, plugged_in(patch) as card:
        patch.setattr(devices, "configure", lambda *arguments, **named: None)
        patch.setitem(devices._AVAILABLE, "cuda", lambda: True)
        patch.setattr(stable_diffusion, "fold_upsampling", lambda *arguments, **named: None)  # for the CPU alone
        for module in (cuda_graph, latent_consistency, warm_up):
            patch.setattr(module, "WARM_UPS", 1)
        patch.setattr(latent_consistency, "WARM_UP_FRAMES", 1)
        patch.setattr(warm_up, "_RECORD", 2)
        patch.setattr(latent_consistency, "RECORDED_STEPS", range(1, 3))
        yield card


@pytest.fixture
def picture() -> Pixels:
    return make_picture((64, 64))


def make_picture(size: Size, seed: int = 0) -> Pixels:
    """Coloured squares of 8 pixels, with an alpha of their own."""
    width, height = size
    small = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 4), dtype=np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1))


def values(**changes: Value) -> Values:
    """Every parameter, as the stage hands them over."""
    return {p.name: p.default for p in TABLE.values()} | changes
