"""The pipeline with CUDA graphs, compared with one that runs every frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.pipelines.accelerators.base import Accelerator, CompiledModule, Features
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import Values, make_picture, values
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import torch
    from torch import nn

    from lcm_daemon.pipelines import latent_consistency
    from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
    from lcm_daemon.pipelines.latent_consistency import FrameRenderer, LatentConsistency
    from lcm_daemon.pipelines.unet import UNetPass
    from tests.rigs.cuda import Machine, install

SIZE = (64, 64)
Checkpoint = Callable[[str], Path]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(latent_consistency, "fold_upsampling", lambda *arguments, **named: None)  # for the CPU alone
    return install(monkeypatch)


def loaded(folder: Path, recorded: bool, **changes: Any) -> LatentConsistency:
    """On the CPU; recorded: as if it were CUDA."""
    pipeline = LatentConsistency(recipe_of(folder, accelerate="none", **changes), SIZE)
    pipeline.load(lambda line: None)
    pipeline.renderer._graphs = CudaGraphs(torch.device("cuda")) if recorded else None
    return pipeline


def paint(pipeline: LatentConsistency, pixels: Pixels, settings: Values) -> Pixels:
    out = solid(SIZE)
    pipeline.render(pixels, settings, out)
    return out


MOVES: list[Values] = [
    {}, {"strength": 0.4}, {"seed": 5}, {"prompt": "deep ocean"}, {"feedback": 0.5, "smooth": 0.6}, {"feedback": 0.3},
    {"smooth": 0.9}, {"steps": 3}, {"steps": 2}, {"mode": "text"}, {"seed": 8}, {"mode": "image"},
    {"guidance": 2.0}, {"guidance": 3.5, "negative_prompt": "fire"}, {"guidance": 1.0}, {"feedback": 0.0}, {"mix": 0.5},
]


@pytest.mark.compile
def test_recorded_frames_equal_frames_that_run(checkpoint: Checkpoint, machine: Machine) -> None:
    """Each change lasts long enough to warm up, record and replay; state advances by one a frame."""
    changes: dict[str, Any] = {"guidance": "classifier_free"}
    ours, plain = (loaded(checkpoint("kl"), recorded, **changes) for recorded in (True, False))
    settings = values(steps=2, prompt="red lava")
    machine.log.clear()
    for number, move in enumerate(move for move in MOVES for _ in range(WARM_UPS + 2)):
        settings.update(move)
        pixels = make_picture(SIZE, seed=number % 3)
        found, expected = (paint(pipeline, pixels, settings).astype(int) for pipeline in (ours, plain))
        assert np.abs(found - expected).max() <= 1, f"frame {number}, {move}"
    assert machine.log.count("begin") == 6, "one for each way of painting"
    assert machine.log.count("replay") > 40


@pytest.mark.slow
def test_a_recorded_frame_is_timed_as_one_part(checkpoint: Checkpoint, machine: Machine) -> None:
    pipeline, out = loaded(checkpoint("epsilon"), recorded=True), solid(SIZE)
    for _ in range(WARM_UPS + 2):
        assert list(pipeline.render(make_picture(SIZE), values(), out)) == ["frame"]


class AtLoad(Accelerator):
    """Stands for accelerators that compile at load. Returns the module itself."""

    name = "at load"

    @classmethod
    def probe(cls, device: torch.device) -> str:
        return ""

    def _compile(self, part: str, module: nn.Module, example: tuple[torch.Tensor | None, ...]) -> CompiledModule:
        return module


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_the_warm_up_records_the_first_frames_of_the_show(
        compiled: bool, checkpoint: Checkpoint, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both modes, at the recipe's own number of steps; the first frame of the show only launches."""
    original = FrameRenderer.warm_up

    def warm_up(self: FrameRenderer, progress: Callable[[str], None]) -> None:
        self._graphs = CudaGraphs(torch.device("cuda"))
        if compiled:
            self.acceleration.choices = [AtLoad(torch.device("cpu"), Features())]
        original(self, progress)

    monkeypatch.setattr(FrameRenderer, "warm_up", warm_up)
    pipeline = LatentConsistency(recipe_of(checkpoint("epsilon"), accelerate="none"), SIZE)
    pipeline.load(lambda line: None)
    assert pipeline.renderer.acceleration.installs == (3 if compiled else 0)
    for mode in ("image", "text"):
        machine.log.clear()
        paint(pipeline, make_picture(SIZE), {**pipeline.recipe.start_values(), "mode": mode})
        assert machine.log == ["replay"]


@pytest.mark.slow
def test_the_warm_up_leaves_no_trace(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frames are in no later one: the first frame is as without feedback."""
    back = values(feedback=0.5, smooth=0.5, noise="walking", noise_speed=10.0)
    monkeypatch.setattr(Recipe, "start_values", lambda recipe: back)
    pipeline = loaded(checkpoint("epsilon"), recorded=False)
    first = paint(pipeline, make_picture(SIZE), back)
    assert pipeline.renderer._noise.position == 0.0
    assert np.array_equal(first, paint(loaded(checkpoint("epsilon"), recorded=False), make_picture(SIZE), values()))


@pytest.mark.slow
@pytest.mark.parametrize("recorded", [False, True])
def test_after_a_broken_frame_the_last_one_stays_without_a_trace(recorded: bool, checkpoint: Checkpoint,
                                                         machine: Machine) -> None:
    """As when half precision overflows: no black frame, and no effect on the next good one."""
    pipeline, other = (loaded(checkpoint("epsilon"), recorded) for _ in range(2))
    settings, picture = values(feedback=0.5, smooth=0.5), make_picture(SIZE)
    for _ in range(WARM_UPS + 2):
        shown = paint(pipeline, picture, settings)
        assert np.array_equal(shown, paint(other, picture, settings))
    noise = pipeline.renderer._noise
    whole = noise.values.clone()
    with torch.inference_mode():
        noise.values.fill_(float("nan"))  # the seed does not change, so it is not written again
        for _ in range(2):
            assert np.array_equal(paint(pipeline, picture, settings)[..., :3], shown[..., :3])
        noise.values.copy_(whole)
    assert np.array_equal(paint(pipeline, picture, settings), paint(other, picture, settings))


@pytest.mark.slow
def test_a_broken_frame_shows_no_flagged_frame(checkpoint: Checkpoint) -> None:
    """The last good frame may be one that the safety filter held back."""
    pipeline, out = loaded(checkpoint("epsilon"), recorded=False), solid(SIZE)
    shows: list[str] = []

    class Guard:
        def check(self, picture: torch.Tensor, out: Pixels) -> None:
            shows.append("checked")

        def show_last(self, out: Pixels) -> None:
            shows.append("last safe")

    pipeline.renderer._safety = Guard()  # type: ignore[assignment]
    paint(pipeline, make_picture(SIZE), values())
    with torch.inference_mode():
        pipeline.renderer._noise.values.fill_(float("nan"))
    pipeline.render(make_picture(SIZE), values(), out)
    assert shows == ["checked", "last safe"]


@pytest.mark.slow
def test_a_stream_batch_warms_up_with_its_own_batch_and_starts_empty(checkpoint: Checkpoint,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Its batch has one sample for each step of the recipe, and no frame of the warm-up comes out later."""
    start = values(steps=3, seed=4)
    monkeypatch.setattr(Recipe, "start_values", lambda recipe: start)
    batches: list[int] = []
    forward = UNetPass.forward

    def count(self: UNetPass, sample: torch.Tensor, *rest: Any) -> torch.Tensor:
        batches.append(len(sample))
        return forward(self, sample, *rest)

    monkeypatch.setattr(UNetPass, "forward", count)
    pipeline = loaded(checkpoint("epsilon"), recorded=False, stream_batch=True)
    assert set(batches) == {3}
    plain = loaded(checkpoint("epsilon"), recorded=False)
    found, expected = (paint(each, make_picture(SIZE), start).astype(int) for each in (pipeline, plain))
    assert np.abs(found - expected).max() <= 1
