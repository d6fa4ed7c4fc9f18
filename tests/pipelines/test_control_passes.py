"""ControlNet-Unions and T2I-Adapters, compared with diffusers' own pipelines; their files in every published layout."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lcm_daemon.commands import bench_model
from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import solid
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import inference_mode, make_picture
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import diffusers
    import torch
    from diffusers import ControlNetModel, ControlNetUnionModel, EulerDiscreteScheduler, LCMScheduler, T2IAdapter
    from safetensors.torch import save_file

    from lcm_daemon.pipelines.components import read_pretrained
    from lcm_daemon.pipelines.control_files import read_control
    from lcm_daemon.pipelines.control_passes import AdapterPass, UnionPass, make_pass
    from lcm_daemon.pipelines.controlnet import ControlNets
    from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
    from lcm_daemon.pipelines.diffusers_comparison import DiffusersComparison
    from lcm_daemon.pipelines.diffusers_reference import DiffusersReference
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from lcm_daemon.pipelines.numbers import Numbers
    from lcm_daemon.pipelines.unet import UNetPass
    from tests.rigs.cuda import install

SIZE = (64, 48)
STEPS = 4
XL: dict[str, Any] = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8,
                      "projection_class_embeddings_input_dim": 6 * 8 + 32}
SD = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),  # as SD 1.5 begins with attention
      "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
DEPTH = ControlNet("own", "", "none", map="depth", weight=0.7)
FULL = {"channels": [32, 64], "num_res_blocks": 2, "downscale_factor": 8}
WIDE = {"channels": [32, 64, 64], "num_res_blocks": 2, "downscale_factor": 16, "adapter_type": "full_adapter_xl"}


def make_union(kinds: int = 8, width: int = 32) -> Any:
    """An untrained one's last layers are zeros. Here they must have an effect."""
    torch.manual_seed(3)
    network = ControlNetUnionModel(
        block_out_channels=(32, 64), layers_per_block=1, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        cross_attention_dim=width, attention_head_dim=8, norm_num_groups=8, num_trans_channel=32, num_trans_head=4,
        num_proj_channel=32, conditioning_embedding_out_channels=(16, 32, 96, 256), num_control_type=kinds, **XL)
    for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block, network.spatial_ch_projs,
                  network.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return network.eval()


def make_adapter(**config: Any) -> Any:
    torch.manual_seed(4)
    return T2IAdapter(**{"in_channels": 3, **FULL, **config}).eval()


class Stage:
    """One control network, as the engine runs it, and all that diffusers' pipeline for it takes."""

    def __init__(self, make: Callable[[], Any], family: dict[str, Any], control: ControlNet) -> None:
        torch.manual_seed(0)
        self.unet, self.theirs, self.control = tiny.make_unet(**family).eval(), make(), control
        parts: Any = SimpleNamespace(unet=self.unet, controlnets={control.name: make()}, device=torch.device("cpu"),
                                     dtype=torch.float32)
        self.recipe = Recipe("own", controlnets=(control,), size=SIZE)
        self.controlnets = ControlNets(parts, self.recipe, SIZE, Numbers(torch.device("cpu")))
        self.map = torch.rand(1, 3, SIZE[1], SIZE[0])
        torch.manual_seed(5)
        self.texts = {name: torch.randn(1, 5, 32) for name in ("prompt_embeds", "negative_prompt_embeds")}
        if family is XL:
            self.texts |= {f"{part}pooled_prompt_embeds": torch.randn(1, 32) for part in ("", "negative_")}

    def diffusers(self, kind: str, guidance: float, **arguments: Any) -> list[dict[str, Any]]:
        """Inputs of the UNet and its outputs in diffusers' pipeline, step by step."""
        schedule = EulerDiscreteScheduler.from_config(tiny.TURBO) if "XL" in kind else \
            LCMScheduler.from_config(tiny.SCALED)
        extra = {"text_encoder_2": None, "tokenizer_2": None} if "XL" in kind else {
            "safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        network = {"adapter" if "Adapter" in kind else "controlnet": self.theirs}
        pipeline = getattr(diffusers, kind)(
            vae=tiny.make_tiny_vae(), unet=self.unet, scheduler=schedule, text_encoder=None, tokenizer=None, **extra,
            **network)
        pipeline.set_progress_bar_config(disable=True)
        seen: list[dict[str, Any]] = []

        def note(_: Any, given: Any, named: dict[str, Any]) -> None:
            lists = {key: list(value) for key, value in named.items() if isinstance(value, list)}  # it empties them
            seen.append({**named, **lists, "sample": given[0], "timestep": given[1]})

        before = self.unet.register_forward_pre_hook(note, with_kwargs=True)
        after = self.unet.register_forward_hook(lambda _, __, output: seen[-1].update(output=output[0]))
        try:
            pipeline(**self.texts, num_inference_steps=STEPS, guidance_scale=guidance, width=SIZE[0], height=SIZE[1],
                     output_type="latent", **arguments)
        finally:
            before.remove()
            after.remove()
        return seen

    def compare(self, seen: list[dict[str, Any]]) -> None:
        """Hold the UNet's outputs in every step to diffusers', and the residuals too."""
        values = FrameValues.of(self.recipe.start_values() | {"steps": len(seen)})
        plan = self.controlnets.prepare(values, len(seen[0]["sample"]), has_guide=False)
        self.controlnets.run(plan, self.map * 2 - 1, None)
        unet = UNetPass(self.unet)
        for step, one in enumerate(seen):
            added = one["added_cond_kwargs"] or {} if "added_cond_kwargs" in one else {}
            inputs = (one["encoder_hidden_states"], added.get("text_embeds"), added.get("time_ids"))
            found = self.controlnets.residuals(plan, step, one["sample"], one["timestep"].reshape(1), *inputs)
            middle = one.get("mid_block_additional_residual")
            expected = one.get("down_block_additional_residuals") or one.get("down_intrablock_additional_residuals")
            expected = [*(expected or ()), *([] if middle is None else [middle])]
            for mine, theirs in zip(found, expected if found else (), strict=True):
                assert theirs.std() > 1e-3, "residuals of nothing would prove nothing"
                torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
            assert found or not any(each.any() for each in expected)
            output = unet(one["sample"], one["timestep"].reshape(1).float(), inputs[0], None, *inputs[1:], None, *found)
            torch.testing.assert_close(output, one["output"], atol=1e-5, rtol=1e-4)


# --- against diffusers ---


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["ControlNetUnion", "ControlNetUnionImg2Img"])
@inference_mode
def test_a_union_is_diffusers(kind: str, guidance: float) -> None:
    stage = Stage(make_union, XL, DEPTH)
    image = {"image": torch.rand(1, 3, SIZE[1], SIZE[0]), "strength": 1.0} if "Img2Img" in kind else {}
    stage.compare(stage.diffusers(f"StableDiffusionXL{kind}Pipeline", guidance, control_image=[stage.map], **image,
                                  control_mode=[1], controlnet_conditioning_scale=0.7))


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@inference_mode
def test_an_adapter_is_diffusers(guidance: float) -> None:
    stage = Stage(make_adapter, SD, DEPTH)
    stage.compare(stage.diffusers("StableDiffusionAdapterPipeline", guidance, image=stage.map,
                                  adapter_conditioning_scale=0.7))


@pytest.mark.slow
@pytest.mark.parametrize("end", [1.0, 0.5])
@inference_mode
def test_an_adapter_for_sdxl_is_diffusers(end: float) -> None:
    stage = Stage(lambda: make_adapter(**WIDE), XL, ControlNet("own", "", "none", weight=0.7, end=end))
    stage.compare(stage.diffusers("StableDiffusionXLAdapterPipeline", 3.0, image=stage.map,
                                  adapter_conditioning_scale=0.7, adapter_conditioning_factor=end))


@inference_mode
def test_an_adapter_runs_once_a_map_and_beside_a_controlnet() -> None:
    torch.manual_seed(0)
    unet = tiny.make_unet().eval()
    plain = ControlNetModel.from_unet(unet).eval()
    torch.nn.init.normal_(plain.controlnet_mid_block.weight, std=0.1)
    controls = (ControlNet("edges", "", "none"), ControlNet("own", "", "none", weight=0.5))
    parts: Any = SimpleNamespace(unet=unet, controlnets={"edges": plain, "own": make_adapter()},
                                 device=torch.device("cpu"), dtype=torch.float32)
    recipe = Recipe("own", controlnets=controls, size=SIZE)
    both = ControlNets(parts, recipe, SIZE, Numbers(torch.device("cpu")))
    calls: list[str] = []
    for live in both.controlnets:
        live.module.network.register_forward_hook(lambda *_, name=live.control.name: calls.append(name))
    plan = both.prepare(FrameValues.of(recipe.start_values() | {"steps": 2}), 2, has_guide=False)
    both.run(plan, torch.rand(1, 3, SIZE[1], SIZE[0]), None)
    for step in (0, 1):
        found = both.residuals(plan, step, torch.randn(2, 4, 6, 8), torch.tensor([7.0]), torch.randn(2, 5, 32))
    assert calls == ["own", "edges", "edges"]
    assert [each.shape[1] for each in found] == [32, 32, 32, 64, 64, 32, 64]
    alone = UNetPass(unet)
    controls_of, adapters = alone._split(tuple(found))
    assert (len(controls_of), len(adapters)) == (5, 2)
    assert alone._split(adapters) == ((), adapters)


def test_a_grey_adapter_sees_one_channel() -> None:
    own = AdapterPass(make_adapter(in_channels=1))
    chart = torch.rand(1, 1, 48, 64)
    features = own.embed(chart.expand(1, 3, 48, 64))
    for mine, theirs in zip(features, own.network(chart), strict=True):
        torch.testing.assert_close(mine, theirs)


# --- what a map is ---


@pytest.mark.parametrize(("preprocessor", "named", "number"), [
    ("pose", "auto", 0), ("depth", "auto", 1), ("softedge", "auto", 2), ("canny", "auto", 3), ("lineart", "auto", 3),
    ("normal", "auto", 4), ("seg", "auto", 5), ("tile", "auto", 6), ("none", "repaint", 7), ("canny", "depth", 1),
])
def test_a_union_is_told_what_the_map_is(preprocessor: str, named: str, number: int) -> None:
    made = make_pass(ControlNet("own", "", preprocessor, map=named), make_union(), SIZE, "own")
    assert isinstance(made, UnionPass)
    assert made._kind == number


@pytest.mark.parametrize(("control", "kinds", "line"), [
    (ControlNet("own", "", "none"), 6, "it has to know what the map is; say map: pose, depth, scribble, canny, normal"),
    (ControlNet("own", "", "tile"), 6, "it does not know maps of the kind tile; say map: pose"),
])
def test_a_union_that_does_not_know_the_map_is_one_line(control: ControlNet, kinds: int, line: str) -> None:
    with pytest.raises(RecipeError, match=f"recipe own: controlnet own: a ControlNet-Union: {line}"):
        make_pass(control, make_union(kinds), SIZE, "recipe own: controlnet own")


def test_an_adapter_that_does_not_fit_is_one_line() -> None:
    with pytest.raises(RecipeError, match="sizes in multiples of 16 pixels, not 64x40"):
        make_pass(DEPTH, make_adapter(**WIDE), (64, 40), "recipe own")
    with pytest.raises(RecipeError, match="own is a T2I-Adapter for another family of models"):
        Stage(make_adapter, XL, DEPTH)
    with pytest.raises(RecipeError, match="own is a T2I-Adapter for another family of models"):
        Stage(lambda: make_adapter(channels=[32, 32]), {}, DEPTH)


# --- files ---


def read(place: Path) -> Any:
    return read_control(place, torch.float32, read_pretrained, place)  # no UNet describes these


def assert_same(found: Any, expected: Any) -> None:
    theirs, mine = expected.state_dict(), found.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", ["ControlNetUnionModel", "ControlNetModel", "ControlNetModel_Union"])
def test_a_union_is_known_by_its_weights(name: str, tmp_path: Path) -> None:
    expected = make_union(kinds=8)
    expected.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    if name != "ControlNetUnionModel":  # as published: without what only a Union has
        config = {key: value for key, value in config.items() if not key.startswith(("num_trans_c", "num_control",
                                                                                    "num_trans_l", "num_proj"))}
    file.write_text(json.dumps({**config, "_class_name": name}))
    found = read(tmp_path)
    assert type(found) is ControlNetUnionModel
    assert_same(found, expected)


@pytest.mark.parametrize("config", [FULL, WIDE, {"in_channels": 1}, {
    "channels": [32], "num_res_blocks": 4, "downscale_factor": 8, "adapter_type": "light_adapter"}],
    ids=["full", "xl", "grey", "light"])
@pytest.mark.parametrize("layout", ["folder", "file", "original", "prefixed"])
def test_an_adapter_is_read_in_every_layout(config: dict[str, Any], layout: str, tmp_path: Path) -> None:
    expected = make_adapter(**config)
    place = tmp_path if layout == "folder" else tmp_path / "adapter.safetensors"
    if layout == "folder":
        expected.save_pretrained(tmp_path)
    else:
        names = {name: name if layout == "file" else original(name, config) for name in expected.state_dict()}
        start = "adapter." if layout == "prefixed" else ""
        save_file({start + names[name]: tensor for name, tensor in expected.state_dict().items()}, place)
    found = read(place)
    assert_same(found, expected)
    chart = torch.rand(1, expected.config.in_channels, 48, 64)
    assert all(map(torch.equal, found(chart), expected(chart)))


def original(name: str, config: dict[str, Any]) -> str:
    """The name in the original implementation, of one of diffusers."""
    name = name.removeprefix("adapter.")
    if not name.startswith("body."):
        return name
    _, level, rest = name.split(".", 2)
    if config.get("adapter_type") == "light_adapter":
        return f"body.{level}.{rest.replace('resnets.', 'body.')}"
    if rest.startswith("in_conv"):
        return f"body.{int(level) * 2}.{rest}"
    _, block, rest = rest.split(".", 2)
    return f"body.{int(level) * 2 + int(block)}.{rest}"


def test_another_class_and_wrong_weights_are_one_line(tmp_path: Path) -> None:
    tiny.make_unet().save_pretrained(tmp_path / "unet")
    with pytest.raises(ValueError, match="UNet2DConditionModel is not one of ControlNetModel, ControlNetUnionModel"):
        read(tmp_path / "unet")
    lacking = make_adapter().state_dict()
    del lacking["adapter.body.1.resnets.1.block2.bias"]
    save_file(lacking, tmp_path / "adapter.safetensors")
    with pytest.raises(ValueError, match=r"weights do not fit T2IAdapter: adapter.body.1.resnets.1.block2.bias"):
        read(tmp_path / "adapter.safetensors")


@pytest.mark.parametrize("tensors", [
    {"adapter.body.0.resnets.0.block1.weight": torch.zeros(4, 4, 3, 3)},  # without its first layer
    {"adapter.conv_in.weight": torch.zeros(4), "adapter.body.0.resnets.0.block1.weight": torch.zeros(4, 4, 3, 3)},
    {"adapter.conv_in.weight": torch.zeros(4, 64, 3, 3), "adapter.body.0.resnets.0.block1.weight": torch.tensor(1.0)},
])
def test_a_network_of_other_layers_is_one_line(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "own.safetensors")
    with pytest.raises(ValueError, match="its layers are not those of a T2I-Adapter"):
        read(tmp_path / "own.safetensors")


# --- recorded, and in a whole frame ---


@pytest.mark.compile
@inference_mode
def test_recorded_residuals_equal_those_that_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A union and an adapter of SDXL, of which the union makes its map in every second frame."""
    machine = install(monkeypatch)
    controls = (ControlNet("union", "", "tile", interval=2), ControlNet("own", "", "none", weight=0.5))
    recipe = Recipe("own", controlnets=controls, size=SIZE)
    torch.manual_seed(0)
    unet = tiny.make_unet(**XL).eval()

    def make(recorded: bool) -> ControlNets:
        parts: Any = SimpleNamespace(unet=unet, controlnets={"union": make_union(), "own": make_adapter(**WIDE)},
                                     device=torch.device("cpu"), dtype=torch.float32)
        return ControlNets(parts, recipe, SIZE, Numbers(torch.device("cpu")), recorded)

    recorded, plain, graphs = make(True), make(True), CudaGraphs(torch.device("cuda"))
    image, sample, states = torch.zeros(1, 3, SIZE[1], SIZE[0]), torch.randn(2, 4, 6, 8), torch.randn(2, 5, 32)
    more = torch.tensor([7.0]), states, torch.randn(2, 32), torch.ones(2, 6)
    for seed in range(2 * WARM_UPS + 6):
        image.copy_(torch.rand(image.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1)
        values = FrameValues.of(recipe.start_values() | {"steps": 1, "control/own/weight": 0.1 * (seed + 1)})

        def run(own: ControlNets, plan: Any) -> Any:
            own.run(plan, image, None)
            return own.residuals(plan, 0, sample, *more)

        plan = recorded.prepare(values, 2, has_guide=False)
        found = graphs.launch(plan, partial(run, recorded, plan))
        expected = run(plain, plain.prepare(values, 2, has_guide=False))
        assert len(found) == 5 + 3
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert machine.log.count("replay") >= 4


@pytest.mark.slow
def test_a_frame_follows_a_union_and_an_adapter_and_weight_0_costs_nothing(tmp_path: Path) -> None:
    """One network for two entries; its folder names the class of plain ControlNets, as published."""
    folder = tiny.write_xl(tmp_path / "model", tiny.TURBO, {**XL, "cross_attention_dim": 64})
    make_union(width=64).save_pretrained(tmp_path / "union")
    config = json.loads((tmp_path / "union/config.json").read_text())
    (tmp_path / "union/config.json").write_text(json.dumps({**config, "_class_name": "ControlNetModel"}))
    make_adapter(**WIDE).save_pretrained(tmp_path / "adapter")
    union, adapter = str(tmp_path / "union"), str(tmp_path / "adapter")
    controls = (ControlNet("edges", union, "canny", weight=0), ControlNet("tile", union, "tile", weight=0),
                ControlNet("own", adapter, "none", weight=0))

    def paint(controlnets: tuple[ControlNet, ...], **weights: float) -> Any:
        recipe = tiny.recipe_of(folder, sampler="euler", size=(64, 64), controlnets=controlnets)
        pipeline, out = LatentConsistency(recipe, (64, 64)), solid((64, 64))
        pipeline.load(lambda line: None)
        models = pipeline.renderer.components.controlnets
        assert not models or models["edges"] is models["tile"]
        moved = {f"control/{name}/weight": weight for name, weight in weights.items()}
        pipeline.render(make_picture((64, 64)), {**recipe.start_values(), "steps": 2, **moved}, out, None)
        return out

    alone = paint(())
    assert np.array_equal(paint(controls), alone)
    pictures = [alone, *(paint(controls, **{name: 1.0}) for name in ("edges", "tile", "own"))]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(pictures, 2))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["image", "control"])
def test_frames_of_unions_are_those_of_diffusers(mode: str, tmp_path: Path) -> None:
    folder = tiny.write_xl(tmp_path / "model", tiny.TURBO, {**XL, "cross_attention_dim": 64})
    make_union(width=64).save_pretrained(tmp_path / "union")
    controls = (ControlNet("edges", str(tmp_path / "union"), "canny", weight=0.8),
                ControlNet("tile", str(tmp_path / "union"), "tile", weight=0.5, end=0.5))
    recipe = tiny.recipe_of(folder, sampler="euler", size=(64, 64), controlnets=controls)
    ours, theirs, out = LatentConsistency(recipe, (64, 64)), DiffusersReference(recipe, (64, 64)), solid((64, 64))
    ours.load(lambda line: None)
    values = {**recipe.start_values(), "prompt": "red lava", "seed": 9, "steps": 2, "strength": 0.5, "mode": mode}
    ours.render(make_picture((64, 64)), values, out, None)
    expected = theirs.render(make_picture((64, 64)), values)
    assert expected[..., :3].std() > 5
    assert np.abs(out.astype(int) - expected).max() <= 1


def test_what_diffusers_has_no_pipeline_for_is_one_line(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path / "model", tiny.TURBO, SD)
    make_adapter().save_pretrained(tmp_path / "adapter")
    recipe = tiny.recipe_of(folder, size=(64, 64), controlnets=(ControlNet("own", str(tmp_path / "adapter"), "none"),))
    with pytest.raises(RecipeError, match="recipe tiny: diffusers has no pipeline for an image and T2I-Adapters"):
        DiffusersReference(recipe, (64, 64))


@pytest.mark.slow
def test_a_bench_leaves_out_what_diffusers_has_not(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path / "model", tiny.TURBO, SD)
    make_adapter().save_pretrained(tmp_path / "adapter")
    recipe = tiny.recipe_of(folder, size=(64, 64), controlnets=(ControlNet("own", str(tmp_path / "adapter"), "none"),))
    comparison = DiffusersComparison(recipe)
    assert set(comparison.measure(1, 1)) == {"eager"}
    detected = replace(recipe, controlnets=(ControlNet("own", "a/b", "softedge", "c/d"),))
    assert bench_model._without_detectors(detected).controlnets == (ControlNet("own", "a/b", "none", map="scribble"),)
