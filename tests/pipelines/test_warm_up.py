"""What a warm-up renders, and that nothing of it is seen later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import Values, make_picture, values
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of, write_controlnet

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.controlnet import LiveControlNet
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from lcm_daemon.pipelines.unet import UNetPass

SIZE = (64, 64)
Checkpoint = Callable[[str], Path]


def loaded(folder: Path, **changes: Any) -> LatentConsistency:
    pipeline = LatentConsistency(recipe_of(folder, **changes), SIZE)
    pipeline.load(lambda line: None)
    return pipeline


def paint(pipeline: LatentConsistency, pixels: Pixels, settings: Values) -> Pixels:
    out = solid(SIZE)
    pipeline.render(pixels, settings, out)
    return out


@pytest.mark.slow
def test_the_warm_up_leaves_no_trace(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frames are in no later one: the first frame is as without feedback."""
    back = values(feedback=0.5, smooth=0.5, noise="walking", noise_speed=10.0)
    monkeypatch.setattr(Recipe, "start_values", lambda recipe: back)
    pipeline = loaded(checkpoint("epsilon"))
    first = paint(pipeline, make_picture(SIZE), back)
    assert pipeline.renderer.model.noise.position == 0.0
    assert np.array_equal(first, paint(loaded(checkpoint("epsilon")), make_picture(SIZE), values()))


@pytest.mark.slow
def test_the_warm_up_runs_what_the_second_source_will(checkpoint: Checkpoint, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first frame in the show costs no first run of a network; before that frame it still has no effect."""
    maps: list[str] = []
    make_map = LiveControlNet.make_map

    def count(self: LiveControlNet, source: torch.Tensor) -> None:
        maps.append(self.control.name)
        make_map(self, source)

    monkeypatch.setattr(LiveControlNet, "make_map", count)
    folder = checkpoint("epsilon")
    control = ControlNet("edges", str(write_controlnet(tmp_path, folder)), "none", source="guide")
    pipeline = loaded(folder, controlnets=(control,))
    assert maps
    maps.clear()
    start, picture = pipeline.recipe.start_values(), make_picture(SIZE)
    first = paint(pipeline, picture, start)
    assert np.array_equal(first, paint(pipeline, picture, {**start, "control/edges/weight": 0.0}))
    assert not maps


@pytest.mark.slow
def test_after_a_broken_frame_the_last_one_stays_without_a_trace(checkpoint: Checkpoint) -> None:
    """As when half precision overflows: no black frame, and no effect on the next good one."""
    pipeline, other = (loaded(checkpoint("epsilon")) for _ in range(2))
    settings, picture = values(feedback=0.5, smooth=0.5), make_picture(SIZE)
    for _ in range(2):
        shown = paint(pipeline, picture, settings)
        assert np.array_equal(shown, paint(other, picture, settings))
    noise = pipeline.renderer.model.noise
    with torch.inference_mode():
        whole = noise.values.clone()
        noise.values.fill_(float("nan"))  # the seed does not change, so it is not written again
        for _ in range(2):
            assert np.array_equal(paint(pipeline, picture, settings)[..., :3], shown[..., :3])
        noise.values.copy_(whole)
    assert pipeline.renderer.broken.count == 2
    assert np.array_equal(paint(pipeline, picture, settings), paint(other, picture, settings))


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
    pipeline = loaded(checkpoint("epsilon"), stream_batch=True)
    assert set(batches) == {3}
    plain = loaded(checkpoint("epsilon"))
    found, expected = (paint(each, make_picture(SIZE), start).astype(int) for each in (pipeline, plain))
    assert np.abs(found - expected).max() <= 1
