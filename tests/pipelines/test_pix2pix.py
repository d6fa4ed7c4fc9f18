"""pix2pix-turbo, compared with its definition: peft's LoRAs in diffusers' own models, and skip connections as hooks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.recipes import downloads
from lcm_daemon.recipes.parts import Lora, Pix2Pix
from lcm_daemon.recipes.reader import read_recipe
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import inference_mode, make_picture
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from peft import LoraConfig
    from safetensors.torch import load_file, save_file

    from lcm_daemon.pipelines import stable_diffusion
    from lcm_daemon.pipelines.base import FrameValues
    from lcm_daemon.pipelines.components import load_components
    from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
    from lcm_daemon.pipelines.frame_model import FrameModel
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from lcm_daemon.pipelines.preprocessors.canny import Canny
    from tests.rigs.cuda import install

SIZE = (64, 64)
UNET_LAYERS = ["to_k", "to_q", "to_v", "to_out.0", "conv", "conv1", "conv2", "conv_shortcut", "conv_out", "proj_in",
               "proj_out", "ff.net.2", "ff.net.0.proj"]
VAE_LAYERS = ["conv1", "conv2", "conv_in", "conv_shortcut", "conv", "conv_out", "skip_conv_1", "skip_conv_2",
              "skip_conv_3", "skip_conv_4", "to_k", "to_q", "to_v", "to_out.0"]


class Original:
    """The model as its authors make it, and its file."""

    def __init__(self, folder: Path, file: Path, twin: bool = False) -> None:
        torch.manual_seed(1)
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        self.vae = AutoencoderKL.from_pretrained(folder / "vae").eval()
        widths = self.vae.config.block_out_channels
        for number, (inputs, outputs) in enumerate(((widths[2], widths[3]), (widths[1], widths[3]),
                                                    (widths[0], widths[2]), (widths[0], widths[1])), start=1):
            self.vae.decoder.add_module(f"skip_conv_{number}", torch.nn.Conv2d(inputs, outputs, 1, bias=False))
        self.unet.conv_in.weight.data.mul_(1.3)
        self.unet.add_adapter(LoraConfig(r=8, init_lora_weights="gaussian", target_modules=UNET_LAYERS))
        self.vae.add_adapter(LoraConfig(r=4, init_lora_weights="gaussian", target_modules=VAE_LAYERS), "vae_skip")
        for name, parameter in (*self.unet.named_parameters(), *self.vae.named_parameters()):
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        unet = {name: tensor for name, tensor in self.unet.state_dict().items() if "lora" in name or "conv_in" in name}
        if twin:  # a model for variations keeps its first layer twice
            unet |= {f"conv_in.conv_in_curr.{part}": unet.pop(f"conv_in.{part}") for part in ("weight", "bias")}
            unet |= {f"conv_in.conv_in_pretrained.{part}": unet[f"conv_in.conv_in_curr.{part}"] * 0
                     for part in ("weight", "bias")}
        vae = {name: tensor for name, tensor in self.vae.state_dict().items() if "lora" in name or "skip" in name}
        tensors = {"unet." + name: tensor for name, tensor in unet.items()}
        save_file({name: tensor.contiguous() for name, tensor in
                   (tensors | {"vae." + name: tensor for name, tensor in vae.items()}).items()}, file)
        self._handed: list[torch.Tensor] = []
        for block in self.vae.encoder.down_blocks:
            block.register_forward_pre_hook(lambda _, given: self._handed.append(given[0]))
        for number, block in enumerate(self.vae.decoder.up_blocks, start=1):
            skip = self.vae.decoder.get_submodule(f"skip_conv_{number}")
            block.register_forward_pre_hook(
                lambda _, given, skip=skip: (given[0] + skip(self._handed.pop()), *given[1:]))

    @inference_mode
    def paint(self, chart: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """The image from -1 to 1 of a map from 0 to 1."""
        factor = self.vae.config.scaling_factor
        latents = self.vae.encode(chart).latent_dist.mode() * factor
        output = self.unet(latents, torch.tensor([999]), encoder_hidden_states=states).sample
        schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                                 timestep_spacing="trailing")
        schedule.set_timesteps(1)
        clean = schedule.step(output, torch.tensor(999), latents).prev_sample
        image: torch.Tensor = self.vae.decode(clean / factor).sample
        return image


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pix2pix")
    tiny.write_checkpoint(folder / "model", tiny.TURBO, tiny.SD2, tiny.make_kl_vae())
    Original(folder / "model", folder / "edges.safetensors")
    return folder


def recipe_in(place: Path, **changes: Any) -> Recipe:
    pix2pix = changes.pop("pix2pix", Pix2Pix(str(place / "edges.safetensors"), "none"))
    return tiny.recipe_of(place / "model", family="pix2pix-turbo", sampler="pix2pix", pix2pix=pix2pix, **changes)


def load(recipe: Recipe) -> LatentConsistency:
    pipeline = LatentConsistency(recipe, SIZE)
    pipeline.load(lambda line: None)
    return pipeline


def paint(pipeline: LatentConsistency, picture: Pixels, **changes: Any) -> Pixels:
    out = solid(SIZE)
    pipeline.render(picture, {**pipeline.recipe.start_values(), "steps": 1, "prompt": "red lava", **changes}, out, None)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("preprocessor", ["none", "canny"])
@pytest.mark.parametrize("twin", [False, True])
def test_pictures_are_those_of_its_definition(preprocessor: str, twin: bool, place: Path, tmp_path: Path) -> None:
    original = Original(place / "model", tmp_path / "own.safetensors", twin)
    pipeline = load(recipe_in(place, pix2pix=Pix2Pix(str(tmp_path / "own.safetensors"), preprocessor)))
    picture = make_picture(SIZE)
    image = torch.from_numpy(picture[..., :3]).permute(2, 0, 1)[None] / 127.5 - 1
    chart = Canny().map(image) if preprocessor == "canny" else image / 2 + 0.5
    states = pipeline.renderer.conditioner.prompts.embed([("red lava", 1.0)]).states
    expected = original.paint(chart, states).clamp(-1, 1)
    levels = ((expected[0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
    assert levels.std() > 5, "a flat picture would prove nothing"
    for strength in (1.0, 0.4):  # it always repaints all
        found = paint(pipeline, picture, strength=strength)[..., :3]
        assert np.abs(found - levels).max() <= 1


@pytest.mark.slow
def test_text_mode_paints_without_what_the_encoder_saw(place: Path) -> None:
    pipeline = load(recipe_in(place))
    first = paint(pipeline, make_picture(SIZE), mode="text")
    paint(pipeline, make_picture(SIZE, 1))
    assert np.array_equal(paint(pipeline, make_picture(SIZE, 2), mode="text")[..., :3], first[..., :3])
    assert not np.array_equal(paint(pipeline, make_picture(SIZE)), first)


@pytest.mark.compile
def test_recorded_frames_equal_those_that_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stable_diffusion, "fold_upsampling", lambda *arguments, **named: None)
    machine, recipe = install(monkeypatch), recipe_in(place)
    with torch.inference_mode():
        recorded, plain = (FrameModel(recipe, load_components, torch.device("cpu"), torch.float32, lambda line: None,
                                      always=True) for _ in range(2))
        graphs, source = CudaGraphs(torch.device("cuda"), 64), torch.zeros(1, 3, 64, 64)
        image = torch.zeros_like(source)
        for model in (recorded, plain):
            model.conditioner._live._is_cached = False
        for number in range(2 * WARM_UPS + 6):
            source.copy_(torch.rand(source.shape) * 2 - 1)
            mode = "text" if number % 2 else "image"
            values = FrameValues.of({**recipe.start_values(), "steps": 1, "mode": mode})

            def frame(model: FrameModel, launches: bool, values: FrameValues = values) -> torch.Tensor:
                plan = model.prepare(values, values.strength, False)
                for _, work in model.changes():
                    work()

                def run() -> torch.Tensor:
                    return model.run(plan, image.copy_(source), None, lambda part: None)

                return (graphs.launch(plan.key, run) if launches else run()).clone()

            torch.testing.assert_close(frame(recorded, True), frame(plain, False), atol=1 / 255, rtol=0)
    assert machine.log.count("replay") >= 2


# --- recipes and files ---


def read(text: str, folder: Path) -> tuple[Recipe | None, list[str]]:
    problems = Problems()
    recipe = read_recipe(compose(text, "show.yaml"), folder, problems)
    return recipe, [str(problem) for problem in problems.found]


def test_a_recipe_names_its_weights(tmp_path: Path) -> None:
    base = "{base: sd-turbo, family: pix2pix-turbo, sampler: pix2pix, accelerate: none, vae: ''"
    recipe, problems = read(base + ", pix2pix: {model: edges.safetensors, preprocessor: softedge, detector: a/b}}",
                            tmp_path)
    assert problems == []
    assert recipe is not None
    assert recipe.pix2pix == Pix2Pix(str(tmp_path / "edges.safetensors"), "softedge", "a/b")
    assert "a/b" in [needed.source for needed in downloads.needed_files(recipe)]
    assert recipe.table()["strength"].needs[0].reason == "the recipe sd-turbo plays, which always repaints all"
    _, problems = read(base + "}", tmp_path)
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "pix2pix-turbo needs pix2pix: its weights, a .safetensors file"]
    _, problems = read("{base: sd-turbo, pix2pix: edges.safetensors}", tmp_path)
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "Stable Diffusion takes no weights of pix2pix-turbo, which is a family of its own: remove pix2pix"]


@pytest.mark.slow
def test_weights_that_do_not_fit_are_one_line(place: Path, tmp_path: Path) -> None:
    whole, file = load_file(place / "edges.safetensors"), tmp_path / "own.safetensors"

    def refusal(tensors: dict[str, Any]) -> str:
        save_file(tensors, file)
        with pytest.raises(RecipeError) as caught:
            load(recipe_in(place, pix2pix=Pix2Pix(str(file), "none")))
        return str(caught.value).partition("cannot be loaded: ")[2]

    bare = {name.partition(".")[2]: tensor for name, tensor in whole.items()}
    assert refusal(bare).startswith("its names do not begin with unet. and vae.; examples/models says")
    factor = next(name for name in whole if "lora_A" in name)
    assert "a factor of the LoRA" in refusal({name: tensor for name, tensor in whole.items() if name != factor})
    assert refusal({**whole, "unet.nothing.weight": torch.zeros(3)}).startswith("the model has no nothing.weight")
    assert "has another size" in refusal({**whole, "unet.conv_in.bias": torch.zeros(3)})
    with pytest.raises(RecipeError, match=r"absent\.safetensors does not exist"):
        load(recipe_in(place, pix2pix=Pix2Pix(str(tmp_path / "absent.safetensors"))))


@pytest.mark.slow
def test_loras_are_merged_beside_it(place: Path, tmp_path: Path) -> None:
    from tests.rigs.tiny_loras import make_lora, write_kohya

    unet = UNet2DConditionModel.from_pretrained(place / "model" / "unet")
    file = write_kohya(make_lora([unet]), tmp_path / "lora.safetensors", [unet])
    plain = recipe_in(place)
    with_lora = paint(load(replace(plain, loras=(Lora(str(file), 1.0, "ink"),))), make_picture(SIZE))
    assert not np.array_equal(with_lora, paint(load(plain), make_picture(SIZE)))
