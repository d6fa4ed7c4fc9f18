"""The sampler's numbers against diffusers' schedulers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.registry import FAMILIES, STABLE_DIFFUSION
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import SCALED, TURBO, VELOCITY

with lazy_imports(globals()):
    import torch
    from diffusers import (
        DDIMScheduler,
        EulerAncestralDiscreteScheduler,
        EulerDiscreteScheduler,
        LCMScheduler,
        TCDScheduler,
    )
    from torch.fx.experimental.proxy_tensor import make_fx

    from lcm_daemon.pipelines.noise import MAX_STEPS, Noise
    from lcm_daemon.pipelines.sampler import Sampler, denoise
    from lcm_daemon.pipelines.schedule import NoiseSchedule

SHAPE = (1, 4, 8, 8)
EULER: dict[str, Any] = {"euler": EulerDiscreteScheduler, "euler_ancestral": EulerAncestralDiscreteScheduler}
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
    denoise(lambda x, t, step: model(x, t), steps, sample, sampler.plan(steps, strength, text).tensor, noise, text)
    return sample


def theirs(scheduler: Any, latents: torch.Tensor, text: bool, seed: int, **stepping: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(SHAPE, generator=generator)
    first = scheduler.timesteps[:1]
    sample: torch.Tensor = noise * scheduler.init_noise_sigma if text else scheduler.add_noise(latents, noise, first)
    for timestep in scheduler.timesteps:
        output = model(scheduler.scale_model_input(sample, timestep), timestep)
        sample = scheduler.step(output, timestep, sample, return_dict=False,
                                **{"generator": generator, **stepping})[0]
    return sample


def tail(scheduler: Any, count: int, steps: int) -> Any:
    """The last `steps` of `count`, as diffusers' image-to-image pipelines take them for a strength of steps / count."""
    scheduler.set_timesteps(count)
    scheduler.timesteps = scheduler.timesteps[count - steps:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(count - steps)
    return scheduler


@pytest.mark.parametrize("name", CONFIGS)
def test_the_noise_schedule_equals_diffusers(name: str) -> None:
    expected = LCMScheduler.from_config(CONFIGS[name]).alphas_cumprod
    schedule = NoiseSchedule(CONFIGS[name])
    found = torch.tensor([schedule.signal(t) for t in range(1000)])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert schedule.signal(-1) == 1.0
    assert schedule.signal(0.5) == pytest.approx((schedule.signal(0) + schedule.signal(1)) / 2)


@pytest.mark.parametrize("strength", [1.0, 0.9, 0.74, 0.5, 0.26, 0.2])
@pytest.mark.parametrize("steps", range(1, 9))
def test_timesteps_equal_diffusers_where_defined(steps: int, strength: float) -> None:
    scheduler = LCMScheduler.from_config(SCALED)
    scheduler.set_timesteps(steps, strength=strength)
    assert Sampler("lcm", SCALED).timesteps(steps, strength) == pytest.approx(scheduler.timesteps.tolist())


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("name", CONFIGS)
def test_lcm_equals_diffusers(name: str, steps: int, text: bool) -> None:
    torch.manual_seed(1)
    latents, strength = torch.randn(SHAPE), 1.0 if text else 0.64
    scheduler = LCMScheduler.from_config(CONFIGS[name])
    scheduler.set_timesteps(steps, strength=strength)
    expected = theirs(scheduler, latents, text, seed=5)
    found = ours(Sampler("lcm", CONFIGS[name]), latents, steps, strength, text, seed=5)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("strength", [1.0, 0.8, 0.5, 0.26])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("name", ["scaled", "zero snr", "linear", "sample"])
def test_tcd_equals_diffusers(name: str, steps: int, gamma: float, strength: float) -> None:
    torch.manual_seed(1)
    latents = torch.randn(SHAPE)
    scheduler = TCDScheduler.from_config(CONFIGS[name])
    scheduler.set_timesteps(steps, strength=strength)
    scheduler.set_begin_index(0)
    expected = theirs(scheduler, latents, False, seed=5, eta=gamma)
    found = ours(Sampler("tcd", {**CONFIGS[name], "gamma": gamma}), latents, steps, strength, False, seed=5)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


# (steps, of how many): diffusers quantises strength to steps / of how many; there it has an answer to compare with.
PARTS = [(1, 1), (1, 2), (1, 4), (2, 2), (2, 4), (3, 4), (4, 4), (4, 5), (4, 8), (8, 8)]


@pytest.mark.parametrize("to_one", [False, True])
@pytest.mark.parametrize(("steps", "count"), PARTS)
@pytest.mark.parametrize("name", ["scaled", "zero snr", "sample"])
def test_ddim_equals_diffusers(name: str, steps: int, count: int, to_one: bool) -> None:
    torch.manual_seed(1)
    latents = torch.randn(SHAPE)
    config = {**CONFIGS[name], "set_alpha_to_one": to_one}
    scheduler = tail(DDIMScheduler.from_config({**config, "clip_sample": False, "timestep_spacing": "trailing"}),
                     count, steps)
    expected = theirs(scheduler, latents, False, seed=5)
    found = ours(Sampler("ddim", config), latents, steps, steps / count, False, seed=5)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["euler", "euler_ancestral"])
@pytest.mark.parametrize(("steps", "count"), PARTS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_euler_equals_diffusers_image_to_image(prediction: str, steps: int, count: int, kind: str) -> None:
    torch.manual_seed(1)
    latents, config = torch.randn(SHAPE), {**TURBO, "prediction_type": prediction}
    scheduler = tail(EULER[kind].from_config(config), count, steps)
    expected = theirs(scheduler, latents, False, seed=5)
    found = ours(Sampler(kind, config), latents, steps, steps / count, False, seed=5)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["euler", "euler_ancestral"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("config", [TURBO, {**TURBO, "prediction_type": "v_prediction"}], ids=["epsilon", "velocity"])
def test_euler_equals_diffusers_from_noise(config: dict[str, Any], steps: int, kind: str) -> None:
    torch.manual_seed(1)
    latents, scheduler = torch.randn(SHAPE), EULER[kind].from_config(config)
    scheduler.set_timesteps(steps)
    expected = theirs(scheduler, latents, True, seed=5)
    found = ours(Sampler(kind, config), latents, steps, 1.0, True, seed=5)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


def test_hyper_sd_in_one_step_starts_at_800() -> None:
    scheduler = LCMScheduler.from_config(SCALED)
    scheduler.set_timesteps(timesteps=[800])
    expected = theirs(scheduler, torch.zeros(SHAPE), True, seed=5)
    sampler = Sampler("lcm", {**SCALED, "first_timestep": 800})
    found = ours(sampler, torch.zeros(SHAPE), 1, 1.0, True, seed=5)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert sampler.timesteps(1, 0.5)[0] == pytest.approx(801 / 2 - 1, abs=0.5)


def test_lcm_on_every_timestep_is_dmd2() -> None:
    """Its card asks for timesteps=[999, 749, 499, 249]."""
    scheduler = LCMScheduler.from_config(SCALED)
    scheduler.set_timesteps(timesteps=[999, 749, 499, 249])
    expected = theirs(scheduler, torch.zeros(SHAPE), True, seed=5)
    found = ours(Sampler("lcm", {**SCALED, "original_inference_steps": 1000}), torch.zeros(SHAPE), 4, 1.0, True, seed=5)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_sdxl_lightning_in_one_step_predicts_the_sample() -> None:
    config = {**TURBO, "prediction_type": "sample"}
    scheduler = EulerDiscreteScheduler.from_config(config)
    scheduler.set_timesteps(1)
    expected = theirs(scheduler, torch.zeros(SHAPE), True, seed=5)
    found = ours(Sampler("euler", config), torch.zeros(SHAPE), 1, 1.0, True, seed=5)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_one_euler_step_from_noise_is_the_clean_image_at_999() -> None:
    torch.manual_seed(1)
    sampler = Sampler("euler", TURBO)
    plan = sampler.plan(1, 1.0, text=True)
    signal = sampler.schedule.signal(999)
    assert [step.timestep for step in plan.steps] == [999]
    assert plan.steps[0].sample == pytest.approx(signal**-0.5)
    assert plan.steps[0].output == pytest.approx(-((1 - signal) / signal) ** 0.5)


@pytest.mark.parametrize("kind", FAMILIES[STABLE_DIFFUSION].samplers)
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_strength_has_no_jump(kind: str, steps: int) -> None:
    """A thousandth of the fader never moves a timestep by more than a whole level's share of it."""
    sampler = Sampler(kind, SCALED)
    sweep = [sampler.timesteps(steps, i / 1000) for i in range(1, 1001)]
    for before, after in itertools.pairwise(sweep):
        assert all(0 <= b - a <= 1.001 for a, b in zip(before, after, strict=True))
    assert sweep[-1][0] == 999
    assert sampler.timesteps(steps, 1e-9) == pytest.approx((-1.0,) * steps, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES[STABLE_DIFFUSION].samplers)
def test_a_small_move_of_strength_is_a_small_change(kind: str) -> None:
    torch.manual_seed(1)
    sampler, latents = Sampler(kind, VELOCITY), torch.randn(SHAPE)
    # From 0.02 up: below it noise grows as a square root, and the pipeline fades the input in.
    sweep = [ours(sampler, latents, 2, i / 500, False, seed=0) for i in range(10, 501)]
    moves = [float((b - a).abs().mean()) for a, b in itertools.pairwise(sweep)]
    whole = float((sweep[-1] - sweep[0]).abs().mean())
    assert max(moves) < 0.03 * whole
    assert float((ours(sampler, latents, 2, 1e-6, False, seed=0) - latents).abs().max()) < 1e-2


def test_a_plan_as_a_tensor() -> None:
    plan = Sampler("lcm", SCALED).plan(3, 0.7)
    rows = plan.tensor
    assert rows.shape == (1 + MAX_STEPS, 4)
    assert rows.dtype == torch.float32
    assert rows[0].tolist() == pytest.approx([plan.steps[0].timestep, plan.signal, 0.0, plan.noise])
    for row, step in zip(rows[1:4].tolist(), plan.steps, strict=True):
        assert row == pytest.approx([step.timestep, step.sample, step.output, step.noise])
    assert not rows[4:].any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES[STABLE_DIFFUSION].samplers)
def test_a_captured_run_follows_the_strength(kind: str) -> None:
    """A recording at one strength and seed works for all others: no number of the plan is frozen into it."""
    torch.manual_seed(1)
    latents, noise, sampler = torch.randn(SHAPE), Noise(*SHAPE[1:], torch.device("cpu")), Sampler(kind, VELOCITY)

    def whole(sample: torch.Tensor, factors: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        denoise(lambda x, t, step: model(x, t), 3, sample, factors, values)
        return sample

    recorded = make_fx(whole)(latents.clone(), sampler.plan(3, 0.9).tensor, noise.seed(1))
    found = recorded(latents.clone(), sampler.plan(3, 0.4).tensor, noise.seed(2))
    torch.testing.assert_close(found, ours(sampler, latents, 3, 0.4, False, seed=2))


def test_the_model_gets_timestep_and_step() -> None:
    seen: list[tuple[int, float]] = []
    plan = Sampler("lcm", SCALED).plan(3, 0.8)
    factors = plan.tensor

    def predict(sample: torch.Tensor, timestep: torch.Tensor, step: int) -> torch.Tensor:
        assert timestep.shape == (1,)
        assert timestep.untyped_storage().data_ptr() == factors.untyped_storage().data_ptr()
        seen.append((step, float(timestep)))
        return sample

    denoise(predict, 3, torch.zeros(SHAPE), factors, torch.zeros(MAX_STEPS, *SHAPE[1:]))
    assert [step for step, _ in seen] == [0, 1, 2]
    assert [timestep for _, timestep in seen] == pytest.approx([step.timestep for step in plan.steps])


def test_text_mode_ignores_the_last_frame() -> None:
    sampler = Sampler("euler", TURBO)
    spoilt, clean = torch.full(SHAPE, float("nan")), torch.zeros(SHAPE)
    assert torch.equal(ours(sampler, spoilt, 2, 1.0, True, 3), ours(sampler, clean, 2, 1.0, True, 3))


def test_half_precision_outputs_are_added_in_full() -> None:
    sampler, noise = Sampler("lcm", SCALED), Noise(*SHAPE[1:], torch.device("cpu")).seed(0)
    full, half = torch.ones(SHAPE), torch.ones(SHAPE)
    denoise(lambda x, t, step: torch.full_like(x, 0.5), 2, full, sampler.plan(2, 0.5).tensor, noise)
    denoise(lambda x, t, step: torch.full_like(x, 0.5, dtype=torch.bfloat16), 2, half, sampler.plan(2, 0.5).tensor,
            noise)
    assert torch.equal(half, full)


def test_the_cache_of_plans_is_limited() -> None:
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
    ({"original_inference_steps": 0}, "original_inference_steps: 0 is not a whole number from 1 to 1000"),
    ({"num_train_timesteps": 1.5}, "num_train_timesteps: 1.5 is not a whole number"),
    ({"num_train_timesteps": "many"}, "num_train_timesteps: 'many' is not a whole number"),
    ({"num_train_timesteps": 20}, "original_inference_steps 50 is more than 20 training timesteps allow"),
    ({"beta_end": 1.0}, "beta_end: 1.0 is not a number from 1e-06 to 0.999"),
    ({"beta_end": float("nan")}, "beta_end: nan is not a number"),
    ({"rescale_betas_zero_snr": "yes"}, "rescale_betas_zero_snr: 'yes' is not true or false"),
])
def test_an_unknown_schedule_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Sampler("lcm", {**SCALED, **change})


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(RecipeError, match="sampler 'heun' is not one of lcm, euler"):
        Sampler("heun", SCALED)
