"""A frame at SD-Turbo's real size, with random weights: nothing is downloaded."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lcm_daemon.recipes.reader import load_recipe
from tests.cuda.rig import Place, cards, contrast, loaded, values_of
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    from lcm_daemon.pipelines import random_weights

pytestmark = pytest.mark.slow


def test_a_frame_at_sd_turbos_real_size(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(load_recipe("sd-turbo"), device=place.device)
    if not place.is_card:
        monkeypatch.setattr(random_weights, "ARCHITECTURES", small(random_weights.ARCHITECTURES))
        recipe = replace(recipe, size=(64, 64))
    pipeline = loaded(replace(recipe, accelerate="none"), random_weights.random_components)
    parameters = sum(weight.numel() for weight in pipeline.renderer.components.unet.parameters())
    assert (parameters > 8e8) == place.is_card
    pictures, seen, times = cards(pipeline.size), list[np.ndarray[Any, Any]](), list[float]()
    for number in range(30 if place.is_card else 2):
        out = np.zeros_like(pictures[0])
        begun = time.perf_counter()
        pipeline.render(pictures[number % len(pictures)], values_of(recipe, steps=1, seed=number), out)
        times.append(time.perf_counter() - begun)
        seen.append(out)
    print(f"{1000 * float(np.median(times)):.2f} ms a frame, one after another")
    assert pipeline.renderer.broken.count == 0, "no frame overflowed in half precision"
    assert pipeline.renderer.refused == ""
    assert contrast(seen[-1]) > 1
    assert len({picture.tobytes() for picture in seen}) == len(seen), "each seed and card gives another picture"


def small(architectures: Any) -> Any:
    """The same architectures at a thousandth of their size."""
    one = architectures["stabilityai/sd-turbo"]
    unet = {**one.unet, "block_out_channels": (32, 64, 64, 64), "attention_head_dim": (1, 2, 2, 2),
            "cross_attention_dim": 32, "layers_per_block": 1}
    text = {**one.text, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return {"stabilityai/sd-turbo": replace(one, unet=unet, text=text)}
