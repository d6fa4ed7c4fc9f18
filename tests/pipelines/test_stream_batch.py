"""The stream batch gives what denoising one frame after another gives, steps - 1 frames later."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.recipes.registry import FAMILIES, STABLE_DIFFUSION
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import SCALED

with lazy_imports(globals()):
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    from lcm_daemon.pipelines.noise import Noise
    from lcm_daemon.pipelines.sampler import Sampler, StepPlan, denoise
    from lcm_daemon.pipelines.stream_batch import StreamBatch

SHAPE = (4, 8, 8)
CPU = torch.device("cpu")
NOISE = Noise(*SHAPE, CPU).seed(5)


def model(sample: torch.Tensor, timesteps: torch.Tensor, step: int) -> torch.Tensor:
    """Stands for a UNet; each sample by its own timestep."""
    waves = torch.tanh(sample * 1.3 + 0.2) + 0.1 * sample.mean(dim=(1, 2, 3), keepdim=True)
    return waves * (0.5 + torch.cos(timesteps / 300))[:, None, None, None] + 0.1


def frame(number: int) -> torch.Tensor:
    return torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(number))


def sequential(latents: torch.Tensor, plan: StepPlan, text: bool = False) -> torch.Tensor:
    sample = latents.clone()
    denoise(model, len(plan.steps), sample, plan.tensor, NOISE, text)
    return sample


def stream(batch: StreamBatch, latents: torch.Tensor, plan: StepPlan, text: bool = False) -> torch.Tensor:
    for _ in range(batch.passes()):
        batch.step(model, latents, plan.tensor, NOISE, text)
    return batch.finished.clone()


@pytest.mark.parametrize("kind", FAMILIES[STABLE_DIFFUSION].samplers)
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_a_still_input_gives_the_same_result_from_the_first_frame(steps: int, kind: str) -> None:
    batch, plan = StreamBatch(steps, SHAPE, CPU), Sampler(kind, SCALED).plan(steps, 0.7)
    expected = sequential(frame(0), plan)
    for _ in range(2 * steps + 2):
        torch.testing.assert_close(stream(batch, frame(0), plan), expected)


@pytest.mark.parametrize("kind", FAMILIES[STABLE_DIFFUSION].samplers)
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_a_moving_input_has_the_stated_latency(steps: int, kind: str) -> None:
    batch, plan = StreamBatch(steps, SHAPE, CPU), Sampler(kind, SCALED).plan(steps, 0.7)
    assert batch.latency == steps - 1
    for i in range(20):
        expected = sequential(frame(max(i - batch.latency, 0)), plan)
        torch.testing.assert_close(stream(batch, frame(i), plan), expected)


def test_a_moving_strength_applies_to_each_frame_as_a_whole() -> None:
    batch, sampler = StreamBatch(3, SHAPE, CPU), Sampler("lcm", SCALED)
    plans = [sampler.plan(3, 0.3 + i / 40) for i in range(20)]
    for i in range(20):
        past = max(i - 2, 0)
        torch.testing.assert_close(stream(batch, frame(i), plans[i]), sequential(frame(past), plans[past]))


def test_one_pass_of_the_model_a_frame() -> None:
    batch, plan = StreamBatch(4, SHAPE, CPU), Sampler("lcm", SCALED).plan(4, 0.7)
    passes: list[tuple[int, Any]] = []

    def counted(sample: torch.Tensor, timesteps: torch.Tensor, step: int) -> torch.Tensor:
        passes.append((len(sample), timesteps.tolist()))
        return model(sample, timesteps, step)

    stream(batch, frame(0), plan)
    for i in range(5):
        assert batch.passes() == 1
        batch.step(counted, frame(i), plan.tensor, NOISE)
    assert passes == [(4, pytest.approx([step.timestep for step in plan.steps]))] * 5


def test_text_mode_ignores_the_latents() -> None:
    batch, plan = StreamBatch(2, SHAPE, CPU), Sampler("lcm", SCALED).plan(2, 1.0, text=True)
    expected = sequential(frame(0), plan, text=True)
    for _ in range(4):
        found = stream(batch, torch.full((1, *SHAPE), float("nan")), plan, text=True)
        torch.testing.assert_close(found, expected)


def test_a_broken_frame_leaves_the_batch() -> None:
    batch, plan = StreamBatch(3, SHAPE, CPU), Sampler("lcm", SCALED).plan(3, 0.7)
    stream(batch, frame(0), plan)
    stream(batch, torch.full((1, *SHAPE), float("nan")), plan)
    found = [stream(batch, frame(1), plan) for _ in range(3)]
    assert torch.isnan(found[1]).any()
    torch.testing.assert_close(found[2], sequential(frame(1), plan))


def test_after_clearing_no_old_frame_is_shown() -> None:
    batch, plan = StreamBatch(4, SHAPE, CPU), Sampler("lcm", SCALED).plan(4, 0.7)
    for i in range(6):
        stream(batch, frame(i), plan)
    batch.clear()
    torch.testing.assert_close(stream(batch, frame(100), plan), sequential(frame(100), plan))


@pytest.mark.slow
def test_a_recorded_step_follows_the_strength() -> None:
    sampler, batch, other = Sampler("tcd", SCALED), StreamBatch(3, SHAPE, CPU), StreamBatch(3, SHAPE, CPU)

    def push(latents: torch.Tensor, factors: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        batch.step(model, latents, factors, noise)
        return batch.finished

    recorded = make_fx(push)(frame(0), sampler.plan(3, 0.9).tensor, NOISE)
    for i in range(6):  # the recording writes to the first batch's memory, as a graph does
        plan = sampler.plan(3, 0.2 + i / 10)
        other.step(model, frame(i), plan.tensor, NOISE)
        found = recorded(frame(i), plan.tensor, NOISE)
        if i >= 2:
            torch.testing.assert_close(found, other.finished)
