"""The sampler's numbers against diffusers' schedulers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler, LCMScheduler

from lcm_daemon.errors import RecipeError
from lcm_daemon.pipelines.sampler import Noise, NoiseSchedule, Sampler, denoise
from tests.pipelines.tiny import SCALED, TURBO, VELOCITY

SHAPE = (1, 4, 8, 8)
CONFIGS: dict[str, dict[str, Any]] = {
    "scaled": SCALED, "zero snr": VELOCITY, "linear": {**SCALED, "beta_schedule": "linear"},
    "cosine": {**SCALED, "beta_schedule": "squaredcos_cap_v2"}, "sample": {**SCALED, "prediction_type": "sample"},
    "25 levels": {**SCALED, "original_inference_steps": 25, "timestep_scaling": 5.0},
}


def model(sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """Stands for a UNet: smooth in both, and nowhere linear."""
    return torch.tanh(sample * 1.3 + 0.2) * (0.5 + torch.cos(timestep.float() / 300)) + 0.1


def ours(sampler: Sampler, latents: torch.Tensor, steps: int, strength: float, text: bool, seed: int) -> torch.Tensor:
    sample, noise = latents.clone(), Noise(*SHAPE[1:], torch.device("cpu")).seed(seed)
    denoise(model, sampler.plan(steps, strength, text), sample, noise, torch.empty(1))
    return sample


def theirs(scheduler: Any, latents: torch.Tensor, text: bool, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(SHAPE, generator=generator)
    first = scheduler.timesteps[:1]
    sample = noise * scheduler.init_noise_sigma if text else scheduler.add_noise(latents, noise, first)
    for timestep in scheduler.timesteps:
        output = model(scheduler.scale_model_input(sample, timestep), timestep)
        sample = scheduler.step(output, timestep, sample, generator=generator, return_dict=False)[0]
    return sample


@pytest.mark.parametrize("name", CONFIGS)
def test_the_noise_schedule_is_diffusers(name: str) -> None:
    expected = LCMScheduler.from_config(CONFIGS[name]).alphas_cumprod
    schedule = NoiseSchedule(CONFIGS[name])
    found = torch.tensor([schedule.signal(t) for t in range(1000)])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert schedule.signal(-1) == 1.0
    assert schedule.signal(0.5) == pytest.approx((schedule.signal(0) + schedule.signal(1)) / 2)


@pytest.mark.parametrize("strength", [1.0, 0.9, 0.74, 0.5, 0.26, 0.2])
@pytest.mark.parametrize("steps", range(1, 9))
def test_timesteps_are_diffusers_where_it_has_some(steps: int, strength: float) -> None:
    scheduler = LCMScheduler.from_config(SCALED)
    scheduler.set_timesteps(steps, strength=strength)
    assert Sampler("lcm", SCALED).timesteps(steps, strength) == pytest.approx(scheduler.timesteps.tolist())


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("name", CONFIGS)
def test_lcm_is_diffusers(name: str, steps: int, text: bool) -> None:
    torch.manual_seed(1)
    latents, strength = torch.randn(SHAPE), 1.0 if text else 0.64
    scheduler = LCMScheduler.from_config(CONFIGS[name])
    scheduler.set_timesteps(steps, strength=strength)
    expected = theirs(scheduler, latents, text, seed=5)
    found = ours(Sampler("lcm", CONFIGS[name]), latents, steps, strength, text, seed=5)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("config", [TURBO, {**TURBO, "prediction_type": "v_prediction"}], ids=["epsilon", "velocity"])
def test_euler_is_diffusers(config: dict[str, Any], steps: int, text: bool) -> None:
    torch.manual_seed(1)
    latents = torch.randn(SHAPE)
    scheduler = EulerDiscreteScheduler.from_config(config)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    expected = theirs(scheduler, latents, text, seed=5)
    found = ours(Sampler("euler", config), latents, steps, 1.0, text, seed=5)
    if not text:  # diffusers' sample is the variance-exploding one: it starts from latents + sigma * noise
        latents = latents / scheduler.init_noise_sigma
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


def test_one_euler_step_from_noise_is_the_clean_picture_at_999() -> None:
    torch.manual_seed(1)
    sampler = Sampler("euler", TURBO)
    plan = sampler.plan(1, 1.0, text=True)
    signal = sampler.schedule.signal(999)
    assert [step.timestep for step in plan.steps] == [999]
    assert plan.steps[0].sample == pytest.approx(signal**-0.5)
    assert plan.steps[0].output == pytest.approx(-((1 - signal) / signal) ** 0.5)


@pytest.mark.parametrize("kind", ["lcm", "euler"])
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_strength_has_no_jump(kind: str, steps: int) -> None:
    """A thousandth of the fader never moves a timestep by more than a whole level's share of it."""
    sampler = Sampler(kind, SCALED)
    sweep = [sampler.timesteps(steps, i / 1000) for i in range(1, 1001)]
    for before, after in itertools.pairwise(sweep):
        assert all(0 <= b - a <= 1.001 for a, b in zip(before, after, strict=True))
    assert sweep[-1][0] == 999
    assert sampler.timesteps(steps, 1e-9) == pytest.approx((-1.0,) * steps, abs=1e-4)


@pytest.mark.parametrize("kind", ["lcm", "euler"])
def test_the_result_moves_as_little_as_the_fader(kind: str) -> None:
    torch.manual_seed(1)
    sampler, latents = Sampler(kind, VELOCITY), torch.randn(SHAPE)
    # From 0.02 up: below it noise grows as a square root, and the pipeline fades the input in.
    sweep = [ours(sampler, latents, 2, i / 500, False, seed=0) for i in range(10, 501)]
    moves = [float((b - a).abs().mean()) for a, b in itertools.pairwise(sweep)]
    whole = float((sweep[-1] - sweep[0]).abs().mean())
    assert max(moves) < 0.03 * whole
    assert float((ours(sampler, latents, 2, 1e-6, False, seed=0) - latents).abs().max()) < 1e-2


def test_noise_is_a_seeds_own_and_stays() -> None:
    noise = Noise(*SHAPE[1:], torch.device("cpu"))
    first = noise.seed(3).clone()
    assert not torch.equal(noise.seed(4), first)
    assert torch.equal(noise.seed(3), first)
    assert torch.equal(first[:1], torch.randn(SHAPE, generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(first[0], first[1])


def test_plans_are_kept_in_bounds() -> None:
    sampler = Sampler("lcm", SCALED)
    for i in range(2000):
        sampler.plan(2, (i + 1) / 2000)
    assert sampler.plan.cache_info().currsize <= 256
    assert sampler.plan(2, 0.5) is sampler.plan(2, 0.5)


@pytest.mark.parametrize(("change", "words"), [
    ({"beta_schedule": "exp"}, "beta_schedule 'exp' is not one of linear, scaled_linear"),
    ({"prediction_type": "flow"}, "prediction_type 'flow' is not one of epsilon"),
    ({"rescale_betas_zero_snr": True}, "zero terminal signal needs v_prediction"),
    ({"clip_sample": True}, "clip_sample"),
])
def test_a_schedule_we_do_not_know_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Sampler("lcm", {**SCALED, **change})
