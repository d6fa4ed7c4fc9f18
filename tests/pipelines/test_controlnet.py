"""ControlNets compared with diffusers' own pipelines, and their live values."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import inference_mode
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import diffusers
    import torch
    from diffusers import ControlNetModel, EulerDiscreteScheduler, LCMScheduler, UNet2DConditionModel

    from lcm_daemon.pipelines.control_passes import ControlNetPass
    from lcm_daemon.pipelines.controlnet import SETTLE_PLANS, ControlNets, ControlPlan
    from lcm_daemon.pipelines.numbers import Numbers

SIZE = (64, 48)
SD, XL = {}, {"addition_embed_type": "text_time", "addition_time_embed_dim": 8,
              "projection_class_embeddings_input_dim": 6 * 8 + 32}
STEPS = 4


def make_controlnet(unet: UNet2DConditionModel, seed: int, **config: Any) -> ControlNetModel:
    """An untrained ControlNet's last layers are zeros. Here they must have an effect."""
    torch.manual_seed(seed)
    network = ControlNetModel.from_unet(unet, load_weights_from_unet=False, **config).eval()
    for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block,
                  network.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return network


class Stage:
    """ControlNets with their networks and what is given to them; untouched networks beside them for diffusers."""

    def __init__(self, kind: dict[str, Any], controls: Sequence[ControlNet], recorded: bool = False,
                 **config: Any) -> None:
        torch.manual_seed(0)
        self.kind, self.controls, self.unet = kind, controls, tiny.make_unet(**kind).eval()
        self.networks = [make_controlnet(self.unet, seed, **config) for seed, _ in enumerate(controls)]
        self.theirs = [make_controlnet(self.unet, seed, **config) for seed, _ in enumerate(controls)]
        named = {control.name: network for control, network in zip(controls, self.networks, strict=True)}
        parts: Any = SimpleNamespace(unet=self.unet, controlnets=named, device=torch.device("cpu"),
                                     dtype=torch.float32)
        self.recipe = Recipe("own", controlnets=tuple(controls))
        self.controlnets = ControlNets(parts, self.recipe, SIZE, Numbers(torch.device("cpu")), recorded)
        self.plan = ControlPlan()
        self.maps = [torch.rand(1, 3, SIZE[1], SIZE[0]) for _ in controls]
        self.calls = [0 for _ in controls]
        for number, live in enumerate(self.controlnets.controlnets):
            live.module.register_forward_hook(lambda *_, number=number: self._count(number))

    def _count(self, number: int) -> None:
        self.calls[number] += 1

    def values(self, **changes: Value) -> FrameValues:
        """`edge` is that ControlNet's weight, `edge_start` its start; `steps` is that parameter."""
        faders = {name: name.replace("_", "/") if "_" in name else f"{name}/weight" for name in changes}
        moved = {name if name in TABLE else f"control/{faders[name]}": value for name, value in changes.items()}
        return FrameValues.of(self.recipe.start_values() | {"steps": 1} | moved)

    def update(self, seed: int = 0, samples: int = 1, **changes: Value) -> ControlPlan:
        """One frame, up to its maps."""
        torch.manual_seed(seed)
        self.plan = self.controlnets.prepare(self.values(**changes), samples, has_guide=False)
        self.controlnets.run(self.plan, torch.rand(1, 3, SIZE[1], SIZE[0]) * 2 - 1, None)
        return self.plan

    def residuals(self, step: int = 0, batch: int = 1, seed: int = 9) -> list[torch.Tensor]:
        """Copies, since the sums are written over."""
        torch.manual_seed(seed)
        made = self.controlnets.residuals(self.plan, step, torch.randn(batch, 4, 6, 8), torch.tensor([500.0]),
                                          torch.randn(batch, 5, 32))
        return [each.clone() for each in made]


def same(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> bool:
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


# --- against diffusers ---


def pipeline_of(stage: Stage, kind: str) -> Any:
    several = len(stage.theirs) > 1
    schedule = EulerDiscreteScheduler.from_config(tiny.TURBO) if "XL" in kind else LCMScheduler.from_config(tiny.SCALED)
    common = {"vae": tiny.make_tiny_vae(), "unet": stage.unet, "scheduler": schedule, "text_encoder": None,
              "tokenizer": None, "controlnet": stage.theirs if several else stage.theirs[0]}
    if "XL" in kind:
        return getattr(diffusers, kind)(**common, text_encoder_2=None, tokenizer_2=None)
    return getattr(diffusers, kind)(**common, safety_checker=None, feature_extractor=None,
                                    requires_safety_checker=False)


def passes(stage: Stage, kind: str, guidance: float) -> list[dict[str, Any]]:
    """Inputs of the UNet in diffusers' pipeline, step by step."""
    pipeline, seen = pipeline_of(stage, kind), []
    pipeline.set_progress_bar_config(disable=True)

    def note(_: Any, given: Any, named: dict[str, Any]) -> None:
        seen.append({**named, "sample": given[0], "timestep": given[1]})

    hook = pipeline.unet.register_forward_pre_hook(note, with_kwargs=True)
    one = len(stage.maps) == 1
    maps, weights, starts, ends = stage.maps, *(
        [getattr(control, key) for control in stage.controls] for key in ("weight", "start", "end"))
    texts = {"prompt_embeds": torch.randn(1, 5, 32), "negative_prompt_embeds": torch.randn(1, 5, 32)}
    if "XL" in kind:
        texts |= {"pooled_prompt_embeds": torch.randn(1, 32), "negative_pooled_prompt_embeds": torch.randn(1, 32)}
    images = {"image": maps[0] if one else maps}
    if "Img2Img" in kind:
        images = {"image": torch.rand(1, 3, SIZE[1], SIZE[0]), "control_image": maps[0] if one else maps,
                  "strength": 0.7}
    try:
        pipeline(**texts, **images, num_inference_steps=STEPS, guidance_scale=guidance, width=SIZE[0], height=SIZE[1],
                 controlnet_conditioning_scale=weights[0] if one else weights, control_guidance_start=starts,
                 control_guidance_end=ends, output_type="latent")
    finally:
        hook.remove()
    return seen


EDGE = ControlNet("edge", "", "none", weight=0.7)
LATE = ControlNet("late", "", "none", weight=1.4, start=0.3)
EARLY = ControlNet("early", "", "none", weight=0.5, end=0.6)


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("controls", [(EDGE,), (LATE,), (EDGE, LATE, EARLY)], ids=["one", "window", "several"])
@pytest.mark.parametrize(("kind", "family"), [
    ("StableDiffusionControlNetPipeline", SD), ("StableDiffusionControlNetImg2ImgPipeline", SD),
    ("StableDiffusionXLControlNetPipeline", XL), ("StableDiffusionXLControlNetImg2ImgPipeline", XL),
])
@inference_mode
def test_residuals_equal_diffusers(kind: str, family: dict[str, Any], controls: tuple[ControlNet, ...],
                                 guidance: float) -> None:
    stage = Stage(family, controls)
    seen = passes(stage, kind, guidance)
    plan = stage.update(steps=len(seen))
    for live, chart in zip(stage.controlnets.controlnets, stage.maps, strict=True):  # each has its own map
        live.make_map(chart * 2 - 1)
    for step, one in enumerate(seen):
        added = one["added_cond_kwargs"] or {}
        found = stage.controlnets.residuals(plan, step, one["sample"], one["timestep"].reshape(1),
                                            one["encoder_hidden_states"], added.get("text_embeds"),
                                            added.get("time_ids"))
        expected = (*one["down_block_additional_residuals"], one["mid_block_additional_residual"])
        if not found:
            assert not any(each.any() for each in expected)
            continue
        assert expected[-1].std() > 1e-3, "residuals of nothing would prove nothing"
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@inference_mode
def test_a_network_trained_on_bgr_gets_bgr() -> None:
    stage = Stage(SD, (EDGE,), controlnet_conditioning_channel_order="bgr")
    chart, sample, states = torch.rand(1, 3, 48, 64), torch.randn(1, 4, 6, 8), torch.randn(1, 5, 32)
    mine = ControlNetPass(stage.networks[0])
    found = mine(sample, torch.tensor([7.0]), states, mine.embed(chart))
    down, middle = stage.theirs[0](sample, torch.tensor([7.0]), states, chart, return_dict=False)
    torch.testing.assert_close(found, (*down, middle))


# --- live ---


def test_the_weight_moves_without_a_new_tensor() -> None:
    stage = Stage(SD, (EDGE,))
    stage.update(edge=1.0)
    full, weight = stage.residuals(), stage.controlnets._weights
    place = stage.controlnets._sums[False, 1][0].data_ptr()
    stage.update(edge=0.25)
    torch.testing.assert_close(stage.residuals(), [each * 0.25 for each in full])
    assert stage.controlnets._weights is weight
    assert stage.controlnets._sums[False, 1][0].data_ptr() == place


def test_nothing_runs_at_weight_zero_or_outside_the_window() -> None:
    stage = Stage(SD, (EDGE,))
    off = stage.update(edge=0.0)
    assert stage.residuals() == []
    stage.update(edge=1.0, edge_start=0.5, steps=2)
    assert stage.residuals(0) == []
    assert stage.calls == [0]
    assert stage.residuals(1)
    stage.update(edge=1.0, edge_end=0.5, steps=2)
    assert stage.residuals(1) == []
    assert stage.calls == [1]
    assert stage.update(edge=1.0, edge_start=0.5, edge_end=0.6) == off, "no step is left"
    assert stage.update(mode="text") == off == ControlPlan()


@pytest.mark.slow
def test_between_updates_residuals_are_reused() -> None:
    stage = Stage(SD, (EDGE,))
    made = []
    for frame in range(6):
        stage.update(seed=frame, edge=1.0, edge_interval=3, steps=2)
        made.append([stage.residuals(step) for step in (0, 1)])
    assert stage.calls == [4]
    for step in (0, 1):
        assert same(made[0][step], made[1][step])
        assert same(made[3][step], made[5][step])
        assert not same(made[0][step], made[3][step])


@pytest.mark.slow
def test_the_weight_moves_between_updates() -> None:
    stage = Stage(SD, (EDGE,))
    stage.update(edge=1.0, edge_interval=8)
    first = stage.residuals()
    stage.update(seed=1, edge=2.0, edge_interval=8)
    torch.testing.assert_close(stage.residuals(), [each * 2 for each in first])
    assert stage.calls == [1]


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"steps": 3}, {"samples": 2}])
def test_residuals_stored_for_other_passes_are_not_used(change: dict[str, Any]) -> None:
    stage = Stage(SD, (EDGE,))
    stage.update(edge_interval=8, steps=2)
    stage.residuals()
    stage.update(**{"edge_interval": 8, "steps": 2, **change})
    stage.residuals(batch=change.get("samples", 1))
    assert stage.calls == [2]


def test_few_plans_are_made() -> None:
    """Each is a recording: on and off, with and without an update. Weights are numbers."""
    stage = Stage(SD, (EDGE,), recorded=True)
    plans = {stage.update(edge=frame / 40, edge_interval=1 + 3 * (frame > 20), steps=4) for frame in range(40)}
    assert len(plans) == 4


@pytest.mark.slow
def test_a_recorded_window_moves_as_numbers_until_it_rests() -> None:
    """Steps outside of it run at weight 0 until then, which gives the same sums; at rest they are omitted."""
    stage, plain = Stage(SD, (EDGE,), recorded=True), Stage(SD, (EDGE,))
    whole = stage.update(steps=4)
    for start in (0.2, 0.4, 0.5, 0.3):
        assert stage.update(edge_start=start, steps=4) == whole
        plain.update(edge_start=start, steps=4)
        for step in range(4):
            torch.testing.assert_close(sum_of(stage.residuals(step)), sum_of(plain.residuals(step)))
    rested = [stage.update(edge_start=0.3, steps=4) for _ in range(SETTLE_PLANS + 1)]
    assert rested[-1] == plain.plan != whole
    assert len(set(rested)) == 2
    assert stage.residuals(0) == []


def sum_of(residuals: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([each.sum() for each in residuals] or [torch.zeros(())]).sum()


@pytest.mark.slow
def test_several_controlnets_update_in_different_frames() -> None:
    """The first frame needs all maps; after it no frame computes two."""
    stage = Stage(SD, (EDGE, ControlNet("second", "", "none")))
    costs = []
    for frame in range(5):
        before = sum(stage.calls)
        stage.update(seed=frame, edge_interval=2, second_interval=2)
        stage.residuals()
        costs.append(sum(stage.calls) - before)
    assert costs == [2, 1, 1, 1, 1]


def test_a_controlnet_updates_when_its_weight_leaves_zero() -> None:
    stage = Stage(SD, (EDGE,))
    stage.update(edge=1.0, edge_interval=16)
    first = stage.residuals()
    stage.update(edge=0.0, edge_interval=16)
    stage.update(seed=5, edge=1.0, edge_interval=16)
    assert not same(stage.residuals(), first)


def test_the_second_source_has_no_effect_before_its_first_frame() -> None:
    stage = Stage(SD, (ControlNet("edge", "", "none", source="guide"),))
    stage.update()
    assert stage.residuals() == []
    picture = torch.zeros(1, 3, SIZE[1], SIZE[0])
    stage.plan = stage.controlnets.prepare(stage.values(), 1, has_guide=True)
    assert stage.plan.uses_guide
    stage.controlnets.run(stage.plan, picture, picture + 0.5)
    assert (first := stage.residuals())
    assert not stage.update().uses_guide, "it keeps its last map while the guide sends nothing"
    assert same(stage.residuals(), first)


def test_a_map_of_the_warm_up_does_not_stay() -> None:
    guided = Stage(SD, (ControlNet("edge", "", "none", source="guide"),))
    picture = torch.zeros(1, 3, SIZE[1], SIZE[0])
    guided.plan = guided.controlnets.prepare(guided.values(), 1, has_guide=True)
    guided.controlnets.run(guided.plan, picture, picture + 0.5)
    guided.controlnets.restore(None)
    guided.update()
    assert guided.residuals() == []
    stage = Stage(SD, (EDGE,))
    for _ in range(2):
        stage.update(edge_interval=16)
    stage.controlnets.restore(None)
    assert stage.update(edge_interval=16).active[0].makes_map


def test_a_map_that_cannot_be_recorded_is_reported() -> None:
    stage = Stage(SD, (EDGE,))
    stage.controlnets.controlnets[0].preprocessor.is_recordable = False  # type: ignore[misc]
    made = [stage.update(edge_interval=2).is_recordable for _ in range(4)]
    assert made == [False, True, False, True]


@pytest.mark.slow
def test_a_replaced_pass_is_used() -> None:
    stage = Stage(SD, (EDGE,))
    stage.update()
    own = stage.residuals()
    live = stage.controlnets.controlnets[0]
    live.run = lambda *given: tuple(each * 2 for each in live.module(*given))
    torch.testing.assert_close(stage.residuals(), [each * 2 for each in own])


def test_controlnets_may_be_built_twice_on_one_network() -> None:
    stage = Stage(SD, (EDGE,))
    stage.update()
    first = stage.residuals()
    parts: Any = SimpleNamespace(unet=stage.unet, controlnets={"edge": stage.networks[0]}, dtype=torch.float32,
                                 device=torch.device("cpu"))
    stage.controlnets = ControlNets(parts, stage.recipe, SIZE, Numbers(torch.device("cpu")))
    stage.update()
    assert same(stage.residuals(), first)


# --- mistakes ---


@pytest.mark.parametrize(("network", "key"), [
    ({"width": 64}, "cross_attention_dim"), (XL, "addition_embed_type"), ({"layers_per_block": 2}, "layers_per_block"),
    ({"channels": 8}, "in_channels"),
])
def test_a_controlnet_of_another_family_is_one_line(network: dict[str, Any], key: str) -> None:
    parts: Any = SimpleNamespace(unet=tiny.make_unet(), device=torch.device("cpu"), dtype=torch.float32,
                                 controlnets={"edge": make_controlnet(tiny.make_unet(**network), 0)})
    with pytest.raises(RecipeError, match=f"recipe own: controlnet edge is for another family.*: its {key} is "):
        ControlNets(parts, Recipe("own", controlnets=(EDGE,)), SIZE, Numbers(torch.device("cpu")))


def test_an_image_of_another_size_is_refused() -> None:
    stage = Stage(SD, (EDGE,))
    with pytest.raises(ValueError, match=r"an image must have the shape \(1, 3, 48, 64\), got \(1, 3, 64, 64\)"):
        stage.controlnets.run(stage.update(), torch.zeros(1, 3, 64, 64), None)


def test_another_factor_than_the_vaes_is_one_line() -> None:
    stage = Stage(SD, (EDGE,), conditioning_embedding_out_channels=(8, 16))
    stage.update()
    with pytest.raises(RecipeError, match="controlnet edge: it scales images down by another factor than the VAE"):
        stage.residuals()
