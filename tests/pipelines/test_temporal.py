"""Steadiness: feedback that does not drift, an average with the right step response, a skip that does not flutter."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.pipelines.base import FrameValues
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.nn import functional

    from lcm_daemon.pipelines.temporal import (
        REFRESH_FRAMES,
        SETTLE_FRAMES,
        FrameFeedback,
        LatentSmoothing,
        SimilarityFilter,
    )

SIZE = (48, 40)
SHAPE = (1, 3, 40, 48)
CPU = torch.device("cpu")
CHANNELS = (2, 3)
AMOUNT = torch.tensor(0.5)


def picture(seed: int) -> torch.Tensor:
    """Coarse shapes, each channel with its own mean and contrast, inside -1..1."""
    torch.manual_seed(seed)
    waves = functional.interpolate(torch.rand(1, 3, 5, 6) - 0.5, SHAPE[2:], mode="bilinear", align_corners=False)
    return waves * torch.tensor([1.0, 0.6, 0.3])[:, None, None] + torch.tensor([0.3, -0.2, 0.1])[:, None, None]


def drifting(x: torch.Tensor) -> torch.Tensor:
    """A model with a bias: more contrast in red, warmer, bluer shadows, softer edges."""
    x = x * torch.tensor([1.08, 1.0, 0.9])[:, None, None] + torch.tensor([0.03, -0.02, 0.04])[:, None, None]
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False).clamp(-1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("amount", [0.3, 0.7, 0.95])
def test_two_hundred_rounds_do_not_drift(amount: float) -> None:
    feedback, share, source = FrameFeedback(SIZE, CPU), torch.tensor(amount), picture(0)
    naive = source.clone()
    for _ in range(200):
        seen = source.clone()
        feedback.mix(seen, share)
        feedback.store(drifting(seen), AMOUNT)
        naive = torch.lerp(source, drifting(naive), amount)
    for found, wanted in ((seen.mean(CHANNELS), source.mean(CHANNELS)), (seen.std(CHANNELS), source.std(CHANNELS))):
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
    worst = float((naive.mean(CHANNELS) - source.mean(CHANNELS)).abs().max())
    assert worst > 0.01, "without the matching it drifts; else this shows nothing"


def test_the_previous_result_has_its_share_in_the_next() -> None:
    """Images of equal mean and deviation: the mixture is the plain one, scaled to their deviation."""
    one, other = picture(1), picture(2)
    other = (other - other.mean(CHANNELS, keepdim=True)) / other.std(CHANNELS, keepdim=True)
    other = other * one.std(CHANNELS, keepdim=True) + one.mean(CHANNELS, keepdim=True)
    feedback, seen = FrameFeedback(SIZE, CPU), one.clone()
    feedback.store(other, AMOUNT)
    feedback.mix(seen, torch.tensor(0.4))
    plain = 0.6 * one + 0.4 * other
    mean = one.mean(CHANNELS, keepdim=True)
    expected = (plain - mean) * one.std(CHANNELS, keepdim=True) / plain.std(CHANNELS, keepdim=True) + mean
    torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kept", "forgotten", "amount"), [(True, False, 0.0), (True, True, 0.9), (False, False, 0.9)])
def test_without_feedback_the_input_is_unchanged(kept: bool, forgotten: bool, amount: float) -> None:
    feedback, seen = FrameFeedback(SIZE, CPU), picture(1)
    if kept:
        feedback.store(picture(2), AMOUNT)
    if forgotten:
        feedback.clear()
    feedback.mix(seen, torch.tensor(amount))
    torch.testing.assert_close(seen, picture(1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("last", ["flat", "negative", "nan", "huge"])
def test_no_previous_result_causes_harm(last: str) -> None:
    source = picture(3)
    spoilt = {"flat": torch.full(SHAPE, 0.5), "negative": 2 * source.mean(CHANNELS, keepdim=True) - source,
              "nan": torch.full(SHAPE, float("nan")), "huge": picture(4) * 1e30}[last]
    feedback = FrameFeedback(SIZE, CPU)
    for _ in range(5):
        seen = source.clone()
        feedback.store(spoilt, AMOUNT)
        feedback.mix(seen, torch.tensor(0.5))
        assert torch.isfinite(seen).all()
        assert float(seen.abs().max()) <= 1.0
        torch.testing.assert_close(seen.mean(CHANNELS), source.mean(CHANNELS), atol=0.05, rtol=0)
    if last == "flat":  # it has no shapes to give, so the input keeps its own
        torch.testing.assert_close(seen, source, atol=1e-3, rtol=0)


@pytest.mark.parametrize("amount", [0.0, 0.9])
def test_a_flat_input_stays_flat(amount: float) -> None:
    feedback, seen = FrameFeedback(SIZE, CPU), torch.full(SHAPE, 0.25)
    feedback.store(picture(1), AMOUNT)
    feedback.mix(seen, torch.tensor(amount))
    torch.testing.assert_close(seen, torch.full(SHAPE, 0.25), atol=1e-5, rtol=0)


def test_half_precision_images_in_any_layout() -> None:
    feedback, source = FrameFeedback(SIZE, CPU), picture(1)
    seen = source.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    feedback.store(picture(2).to(torch.bfloat16), AMOUNT)
    feedback.mix(seen, torch.tensor(0.5))
    torch.testing.assert_close(seen.float().mean(CHANNELS), source.mean(CHANNELS), atol=1e-2, rtol=0)


def test_a_recorded_feedback_follows_the_fader() -> None:
    def one_frame(seen: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
        feedback.mix(seen, amount)
        return seen

    feedback = FrameFeedback(SIZE, CPU)
    feedback.store(picture(2), AMOUNT)
    recorded = make_fx(one_frame)(picture(1), torch.tensor(0.2))
    expected = one_frame(picture(1), torch.tensor(0.8))
    torch.testing.assert_close(recorded(picture(1), torch.tensor(0.8)), expected)
    feedback.clear()
    torch.testing.assert_close(recorded(picture(1), torch.tensor(0.8)), picture(1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("amount", [0.0, 0.5, 0.95])
def test_the_step_response_of_smooth(amount: float) -> None:
    smooth, share = LatentSmoothing((4, 5, 6), CPU), torch.tensor(amount)
    smooth.average(torch.zeros(1, 4, 5, 6), share)
    for n in range(1, 30):
        latents = torch.ones(1, 4, 5, 6)
        smooth.average(latents, share)
        torch.testing.assert_close(latents, torch.full_like(latents, 1 - amount**n), atol=1e-6, rtol=0)


def test_smoothing_starts_from_the_first_latents() -> None:
    smooth, share = LatentSmoothing((4, 5, 6), CPU), torch.tensor(0.9)
    for start in (3.0, -2.0):
        latents = torch.full((1, 4, 5, 6), start)
        smooth.average(latents, share)
        torch.testing.assert_close(latents, torch.full_like(latents, start))
        smooth.clear()


def test_smoothing_drops_a_broken_frame() -> None:
    smooth, share = LatentSmoothing((4, 5, 6), CPU), torch.tensor(0.5)
    smooth.average(torch.ones(1, 4, 5, 6), share)
    smooth.average(torch.full((1, 4, 5, 6), float("nan")), share)
    for _ in range(30):
        latents = torch.ones(1, 4, 5, 6)
        smooth.average(latents, share)
    torch.testing.assert_close(latents, torch.ones_like(latents))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_smoothing_passes_a_broken_frame_on_and_continues_from_the_last_good_one(broken: float) -> None:
    smooth, share = LatentSmoothing((4, 5, 6), CPU), torch.tensor(0.5)
    latents = torch.full((1, 4, 5, 6), broken)
    smooth.average(latents, share)  # nothing good before: there is nothing to average with
    first = torch.full((1, 4, 5, 6), 4.0)
    smooth.average(first, share)
    assert (first == 4.0).all()
    latents[:] = 1.0
    latents[0, 0, 0, 0] = broken
    smooth.average(latents, share)
    assert not latents.isfinite().all(), "the output must be able to detect it"
    after = torch.full((1, 4, 5, 6), 2.0)
    smooth.average(after, share)
    assert (after == 3.0).all()


def test_feedback_continues_with_the_last_good_result() -> None:
    kept, spoilt = FrameFeedback(SIZE, CPU), FrameFeedback(SIZE, CPU)
    for feedback in (kept, spoilt):
        feedback.store(picture(1), AMOUNT)
    spoilt.store(torch.full(SHAPE, float("nan")), AMOUNT)
    seen = [picture(2), picture(2)]
    kept.mix(seen[0], torch.tensor(0.5))
    spoilt.mix(seen[1], torch.tensor(0.5))
    assert torch.equal(*seen)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_always_runs_changes_no_bit_at_zero_and_looks_back_from_then_on(dtype: torch.dtype) -> None:
    """As parts of a recording: up from 0 there is nothing to look back to, as where they run on demand."""
    feedback, smooth = FrameFeedback(SIZE, CPU, always=True), LatentSmoothing((3, 40, 48), CPU, always=True)
    on_demand, zero = FrameFeedback(SIZE, CPU), torch.tensor(0.0)
    for number, amount in enumerate([zero, zero, AMOUNT, AMOUNT, zero, AMOUNT, AMOUNT]):
        given = picture(number).to(dtype)
        seen, latents, expected = given.clone(), given.float().clone(), given.clone()
        feedback.mix(seen, amount)
        smooth.average(latents, amount)
        if amount > 0.0:
            on_demand.mix(expected, amount)
        looks_back = number in (3, 6)
        assert torch.equal(seen, given) is not looks_back
        assert torch.equal(latents, given.float()) is not looks_back
        torch.testing.assert_close(seen, expected, atol=1e-6 if dtype == torch.float32 else 1e-3, rtol=0)
        feedback.store(given, amount)
        on_demand.store(given, amount)
        if amount == 0.0:
            on_demand.clear()


# --- SimilarityFilter ---


def values(**changed: object) -> FrameValues:
    return FrameValues.of({p.name: p.default for p in TABLE.values()} | {"similarity_skip": 4.0} | changed)


def camera(level: float, seed: int = 0, noise: float = 0.0) -> Pixels:
    field = np.full((128, 160, 4), 100.0 + level)
    if noise:
        field += np.random.default_rng(seed).normal(0.0, noise, field.shape)
    return field.clip(0, 255).astype(np.uint8)


def settled(similarity: SimilarityFilter, level: float = 0.0, **changed: object) -> None:
    for _ in range(SETTLE_FRAMES + 2):
        similarity.skip(camera(level), values(**changed))


def test_a_still_input_is_skipped_once_it_has_settled() -> None:
    similarity = SimilarityFilter(refresh=1000)
    found = [similarity.skip(camera(0.0), values()) for _ in range(50)]
    first = found.index(True)
    assert SETTLE_FRAMES <= first <= SETTLE_FRAMES + 2
    assert all(found[first:])
    assert similarity.skipped == 50 - first


def test_a_frame_is_rendered_at_regular_intervals() -> None:
    similarity = SimilarityFilter()
    settled(similarity)
    found = [similarity.skip(camera(0.0), values()) for _ in range(5 * (REFRESH_FRAMES + 1))]
    painted = np.flatnonzero(~np.array(found))
    assert len(painted) == 5
    assert set(np.diff(painted)) == {REFRESH_FRAMES + 1}


def test_a_difference_around_the_threshold_does_not_flutter() -> None:
    """3 levels against a threshold of 4: not still enough to begin skipping, too little to stop."""
    still, moving = SimilarityFilter(refresh=1000), SimilarityFilter(refresh=1000)
    settled(still)
    assert all(still.skip(camera(3.0 * (i % 2)), values()) for i in range(100))
    assert not any(moving.skip(camera(3.0 * (i % 2)), values()) for i in range(100))


def test_a_change_is_rendered_at_once_and_until_it_settles() -> None:
    similarity = SimilarityFilter()
    settled(similarity)
    assert similarity.skip(camera(0.0), values())
    assert not similarity.skip(camera(10.0), values())
    assert not any(similarity.skip(camera(10.0), values()) for _ in range(SETTLE_FRAMES))


def test_slow_changes_add_up() -> None:
    similarity = SimilarityFilter(refresh=10_000)
    settled(similarity)
    found = [similarity.skip(camera(i * 0.5), values()) for i in range(40)]
    assert 0 < found.index(False) <= 10


def test_a_small_thing_that_moves_counts() -> None:
    """A hand of 20 by 20 pixels, 60 levels brighter, is a mean of 1.2 levels of the whole picture."""
    similarity = SimilarityFilter()
    settled(similarity)
    pixels = camera(0.0)
    pixels[100:120, 10:30] += 60
    assert not similarity.skip(pixels, values())


def test_the_cameras_own_noise_does_not_count() -> None:
    similarity = SimilarityFilter(refresh=1000)
    found = [similarity.skip(camera(0.0, seed=i, noise=1.5), values()) for i in range(60)]
    assert all(found[SETTLE_FRAMES + 2:])


@pytest.mark.parametrize("change", [
    {"strength": 0.61}, {"prompt": "fire"}, {"prompt": Blend((("a", 0.5), ("b", 0.5)))}, {"lora/neon": 0.1},
])
def test_a_frame_with_other_values_is_rendered(change: dict[str, object]) -> None:
    similarity = SimilarityFilter()
    settled(similarity)
    assert similarity.skip(camera(0.0), values())
    assert not similarity.skip(camera(0.0), values(**change))


def test_walking_noise_is_never_skipped() -> None:
    for speed, skips in ((0.2, False), (0.0, True)):
        similarity = SimilarityFilter()
        settled(similarity, noise="walking", noise_speed=speed)
        assert similarity.skip(camera(0.0), values(noise="walking", noise_speed=speed)) is skips


@pytest.mark.parametrize("name", ["feedback", "smooth"])
def test_feedback_and_smoothing_get_time_to_settle(name: str) -> None:
    """At 0.9 a change is 98 % through after 37 frames."""
    similarity = SimilarityFilter()
    found = [similarity.skip(camera(0.0), values(**{name: 0.9})) for _ in range(60)]
    assert found.index(True) == pytest.approx(SETTLE_FRAMES + 38 + 1, abs=1)


def test_the_guide_counts_like_the_input() -> None:
    similarity = SimilarityFilter()
    for _ in range(SETTLE_FRAMES + 2):
        similarity.skip(camera(0.0), values(), camera(1.0))
    assert similarity.skip(camera(0.0), values(), camera(1.0))
    assert not similarity.skip(camera(0.0), values(), camera(20.0))
    settled(similarity)
    assert not similarity.skip(camera(0.0), values(), camera(1.0))


def test_at_zero_it_is_off_and_starts_again() -> None:
    similarity = SimilarityFilter()
    settled(similarity)
    assert not any(similarity.skip(camera(0.0), values(similarity_skip=0.0)) for _ in range(20))
    assert not similarity.skip(camera(0.0), values())


@pytest.mark.parametrize("size", [(64, 64), (5, 3), (1080, 1920), (130, 129)])
def test_every_size_is_compared_to_its_edges(size: tuple[int, int]) -> None:
    similarity = SimilarityFilter()
    black = np.zeros((*size, 4), np.uint8)
    for _ in range(SETTLE_FRAMES + 2):
        similarity.skip(black, values())
    assert similarity.skip(black, values())
    corner = black.copy()
    corner[-max(size[0] // 8, 1):, -max(size[1] // 8, 1):, 0] = 200
    assert not similarity.skip(corner, values())


def test_a_comparison_takes_little_time() -> None:
    similarity, pixels = SimilarityFilter(), camera(0.0)
    best = min(_seconds(similarity, pixels) for _ in range(20))
    assert best < 0.005


def _seconds(similarity: SimilarityFilter, pixels: Pixels) -> float:
    begun = time.perf_counter()
    similarity.skip(pixels, values())
    return time.perf_counter() - begun
