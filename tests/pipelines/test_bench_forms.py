"""The forms that the bench compares, and how it times frames in flight."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import values
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    from lcm_daemon.pipelines.bench_forms import TimedPipeline, forms_of
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency

Forms = dict[str, tuple[str, bool, int]]


@pytest.mark.parametrize(("device", "accelerate", "upgrade", "forms"), [
    ("cuda", "auto", "compile", {"accelerated": ("compile", True, 0), "recorded": ("fused", True, 0),
                                 "eager": ("none", False, 1)}),
    ("cuda", "auto", "", {"recorded": ("fused", True, 0), "eager": ("none", False, 1)}),
    ("cuda", "none", "compile", {"recorded": ("none", True, 0), "eager": ("none", False, 1)}),
    ("cuda", "tensorrt", "compile", {"accelerated": ("tensorrt", True, 0), "recorded": ("fused", True, 0),
                                     "eager": ("none", False, 1)}),
    ("cpu", "auto", "", {"accelerated": ("auto", True, 0), "eager": ("none", False, 1)}),
    ("cpu", "none", "", {"eager": ("none", False, 1)}),
    ("mps", "compile", "", {"accelerated": ("compile", True, 0), "eager": ("none", False, 1)}),
])
def test_what_plays_in_a_show_is_what_is_compared(device: str, accelerate: str, upgrade: str, forms: Forms) -> None:
    found = forms_of(Recipe("a", accelerate=accelerate), device, upgrade)
    assert {name: (form.accelerate, form.recorded, form.in_flight) for name, form in found.items()} == forms
    assert list(found) == list(forms), "the fastest first"


class Card:
    """Stands for a pipeline that renders two frames at a time, each 20 ms after the one before."""

    def __init__(self, pipeline: LatentConsistency) -> None:
        self._pipeline, self.under_way, self.most = pipeline, deque[float](), 0
        self._free_at = 0.0

    def submit(self, frame: Pixels, settings: Any, out: Pixels, guide: Any = None) -> Card:
        assert frame.base is not None, "a view of the memory that the pipeline knows"
        self._free_at = max(self._free_at, time.perf_counter()) + 0.02
        self.under_way.append(self._free_at)
        self.most = max(self.most, len(self.under_way))
        return self

    def wait(self) -> dict[str, float]:
        time.sleep(max(0.0, self.under_way.popleft() - time.perf_counter()))
        return {"render": 0.02}


@pytest.mark.slow
def test_frames_in_flight_are_timed_by_their_interval_and_by_their_latency(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = LatentConsistency(recipe_of(checkpoint("epsilon"), accelerate="none"), (64, 64))
    pipeline.load(lambda line: None)
    card, known = Card(pipeline), list[int]()
    pipeline.frames_in_flight = 2
    monkeypatch.setattr(pipeline, "submit", card.submit)
    monkeypatch.setattr(pipeline, "use_memory", lambda memory: known.append(memory.nbytes))
    timed = TimedPipeline(pipeline)
    rows = timed.play(np.zeros((64, 64, 4), np.uint8), values(), 6)
    assert known == [3 * 64 * 64 * 4]
    assert (len(rows), card.most, len(card.under_way)) == (6, 2, 0)
    assert 0.018 < np.median([row["frame"] for row in rows]) < 0.035
    assert 0.036 < np.median([row["latency"] for row in rows]) < 0.07, "one frame's time more than its own"
    form = timed.form("float32")
    assert form.label == "eager modules, float32, not recorded, 2 frames in flight"
    assert len(form.timed(np.zeros((64, 64, 4), np.uint8), values())) == 2, "the frames that fill it are not timed"


@pytest.mark.slow
def test_a_single_frame_in_flight_is_timed_by_part(checkpoint: Callable[[str], Path]) -> None:
    pipeline = LatentConsistency(recipe_of(checkpoint("epsilon"), accelerate="none"), (64, 64))
    pipeline.load(lambda line: None)
    (row,) = TimedPipeline(pipeline).play(np.zeros((64, 64, 4), np.uint8), values(), 1)
    assert row["frame"] == row["latency"] > row["outside"] > 0
    assert {"encode", "denoise", "decode"} <= set(row)
