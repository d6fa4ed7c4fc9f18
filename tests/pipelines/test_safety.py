"""The safety filter: diffusers' verdicts, and what is shown instead of a flagged frame."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.recipes import downloads
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import inference_mode
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from safetensors.torch import load_file, save_file
    from transformers import CLIPConfig

    from lcm_daemon.pipelines.safety import GREY, SafeFrames, SafetyFilter, SafetyPass
    from tests.rigs.torch_stand_ins import Brightness

CPU, SIZE, SIDE = torch.device("cpu"), (48, 32), 32


def make_checker(seed: int = 0) -> StableDiffusionSafetyChecker:
    torch.manual_seed(seed)
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
              "image_size": SIDE, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16)).eval()
    for name, parameter in checker.named_parameters():
        if parameter.ndim > 1 and "position" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return checker


def write(folder: Path, checker: StableDiffusionSafetyChecker) -> Path:
    checker.save_pretrained(folder / "safety_checker")
    (folder / "feature_extractor").mkdir()
    (folder / "feature_extractor" / "preprocessor_config.json").write_text(json.dumps(
        {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "size": SIDE}))
    return folder


class Guard:
    """A safety filter, and what it shows of one session."""

    def __init__(self, folder: Path, check: SafetyPass | None = None) -> None:
        self.filter, self.frames = SafetyFilter(Recipe("own", model=str(folder)), CPU, torch.float32), SafeFrames(SIZE)
        if check is not None:
            self.filter._check = check


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Guard]:
    """Pictures above grey are flagged."""
    folder = write(tmp_path / "model", make_checker())
    return lambda: Guard(folder, Brightness())


def shown(guard: Guard, level: int, bad: bool = False) -> int:
    """The level of the output after a frame of `level` was rendered."""
    out = solid(SIZE, (level, level, level, 255))
    guard.frames.judge(out, bool(guard.filter.verdict(torch.full((1, 3, 32, 48), 1.0 if bad else -1.0))))
    assert (out == out[0, 0]).all()
    return int(out[0, 0, 0])


# --- verdicts ---


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@inference_mode
def test_verdicts_equal_diffusers(seed: int) -> None:
    """Thresholds near the actual similarities, so that both verdicts occur, with and without special care."""
    checker = make_checker(seed)
    ours, pictures, found, expected = SafetyPass(checker), torch.randn(24, 3, SIDE, SIDE), [], []
    for number, pixels in enumerate(pictures):
        embedding = checker.visual_projection(checker.vision_model(pixels[None])[1])
        care, concepts = (torch.nn.functional.normalize(embedding) @ torch.nn.functional.normalize(each).T
                          for each in (checker.special_care_embeds, checker.concept_embeds))
        checker.special_care_embeds_weights.copy_(care[0] + (0.1 if number % 2 else -0.002))
        checker.concept_embeds_weights.copy_(concepts[0] + 0.0045 + 0.001 * (number % 12))
        found.append(bool(ours(pixels[None])))
        expected.append(not checker(pixels[None], [np.zeros(1)])[1][0])
    assert found == expected
    assert {True, False} == set(expected)


@inference_mode
def test_nan_is_not_safe() -> None:
    checker = make_checker()
    checker.concept_embeds_weights.fill_(2.0)
    checker.special_care_embeds_weights.fill_(2.0)
    verdict = SafetyPass(checker)
    assert bool(verdict(torch.zeros(1, 3, SIDE, SIDE)))
    assert not bool(verdict(torch.full((1, 3, SIDE, SIDE), float("nan"))))


# --- what is shown ---


def test_a_flagged_frame_is_never_shown(make: Callable[..., Guard]) -> None:
    guard = make()
    frames = [(10, False), (20, True), (30, True), (40, False), (50, True), (60, False), (70, False)]
    assert [shown(guard, *frame) for frame in frames] == [10, 10, 10, 40, 40, 60, 70]


def test_grey_is_shown_before_the_first_safe_frame(make: Callable[..., Guard]) -> None:
    guard = make()
    assert [shown(guard, 10, bad=True) for _ in range(3)] == [GREY[0]] * 3


def test_a_skipped_frame_shows_the_last_safe_one(make: Callable[..., Guard]) -> None:
    guard, out = make(), solid(SIZE)
    shown(guard, 10)
    guard.frames.show_last(out)
    assert (out[..., :3] == 10).all()
    shown(guard, 20, bad=True)
    guard.frames.show_last(out)
    assert (out[..., :3] == 10).all()


@pytest.mark.slow
def test_an_unrendered_frame_replaces_the_last_safe_one(make: Callable[..., Guard]) -> None:
    guard = make()
    shown(guard, 10)
    guard.frames.accept(solid(SIZE, (200, 200, 200, 255)))
    assert shown(guard, 20, bad=True) == 200
    assert shown(guard, 30) == 30


def test_the_callers_buffer_is_its_own(make: Callable[..., Guard]) -> None:
    guard = make()
    out: Pixels = solid(SIZE, (10, 10, 10, 255))
    guard.frames.judge(out, False)
    out[:] = 99  # painted over by the next frame
    assert shown(guard, 20, bad=True) == 10


def test_the_real_checker_runs(tmp_path: Path) -> None:
    guard = Guard(write(tmp_path, make_checker()))
    guard.filter._check.checker.concept_embeds_weights.fill_(2.0)
    guard.filter._check.checker.special_care_embeds_weights.fill_(2.0)
    assert shown(guard, 10) == 10
    guard.filter._check.checker.concept_embeds_weights.fill_(-2.0)
    assert shown(guard, 20) == 10


# --- files ---


def test_the_published_names_are_read(tmp_path: Path) -> None:
    """The published file is older than transformers' shorter names, and in half precision alone."""
    checker = make_checker()
    file = write(tmp_path, checker) / "safety_checker" / "model.safetensors"
    weights = {("vision_model." + name if name.startswith("vision_model.") and ".vision_model." not in name else name):
               tensor.half() for name, tensor in load_file(file).items()}
    assert "vision_model.vision_model.post_layernorm.weight" in weights
    save_file(weights, file.with_name("model.fp16.safetensors"), metadata={"format": "pt"})
    file.unlink()
    guard = SafetyFilter(Recipe("own", model=str(tmp_path)), CPU, torch.float32)
    expected: dict[str, Any] = checker.state_dict()
    for name, tensor in guard._check.checker.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-3, rtol=1e-3)


def test_a_missing_checker_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RecipeError, match=f"recipe own: not on this machine: {downloads.SAFETY.source}/safety_checker; "
                                          f"fetch it with: hf download {downloads.SAFETY.source} safety_checker/"):
        SafetyFilter(Recipe("own", model=str(tmp_path)), CPU, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["weights", "config", "lost"])
def test_a_damaged_checker_is_one_line(damage: str, tmp_path: Path) -> None:
    folder = write(tmp_path, make_checker()) / "safety_checker"
    if damage == "weights":
        (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    elif damage == "config":
        (folder / "config.json").write_text("{")
    else:
        weights = load_file(folder / "model.safetensors")
        del weights["visual_projection.weight"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RecipeError, match="recipe own: the safety checker at ") as caught:
        SafetyFilter(Recipe("own", model=str(tmp_path)), CPU, torch.float32)
    assert "\n" not in str(caught.value)
