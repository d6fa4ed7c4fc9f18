"""Every family of the field, as a small checkpoint with the real classes, against diffusers' own pipeline for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.core.parameters import Values
from lcm_daemon.recipes.parts import ControlNet, ImagePrompt, Lora
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import make_picture
from tests.rigs import tiny, tiny_loras
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    from safetensors.torch import load_file, save_file

    from lcm_daemon.pipelines.diffusers_comparison import DiffusersComparison
    from lcm_daemon.pipelines.diffusers_reference import DiffusersReference
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency

SIZE: Size = (64, 64)
Write = Callable[[Path], Path]


@dataclass(frozen=True)
class Family:
    """How its checkpoint is written, and what its recipe says beside the model.

    steps: what it is made for.   strengths: of image to image; those that diffusers has an answer to.
    """

    write: Write
    recipe: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[int, ...] = (1, 4)
    strengths: tuple[float, ...] = (1.0, 0.5)
    guidance: float = 1.0


def one(schedule: Mapping[str, Any] = tiny.SCALED, unet: Mapping[str, Any] | None = None,
        vae: Callable[[], Any] | None = None) -> Write:
    return lambda folder: tiny.write_checkpoint(folder, schedule, unet, vae() if vae else None)


def xl(schedule: Mapping[str, Any] = tiny.SCALED, unet: Mapping[str, Any] = tiny.XL,
       vae: Callable[[], Any] | None = None) -> Write:
    return lambda folder: tiny.write_xl(folder, schedule, unet, vae() if vae else None)


PNDM = {**tiny.TURBO, "_class_name": "PNDMScheduler", "set_alpha_to_one": False, "skip_prk_steps": True}
DDIM = {**tiny.TURBO, "_class_name": "DDIMScheduler", "set_alpha_to_one": False, "clip_sample": False}
FREE = {"guidance": "classifier_free"}
FAMILIES: dict[str, Family] = {
    "SD1.5 with LCM": Family(one(vae=tiny.make_kl_vae), FREE, guidance=1.5),
    "LCM Dreamshaper": Family(one(unet={"time_cond_proj_dim": 16}), {"guidance": "embedded"}, guidance=8.5),
    "SD2.1, velocity": Family(one(tiny.VELOCITY, tiny.SD2, tiny.make_kl_vae), FREE, guidance=2.0),
    "SD-Turbo": Family(one(tiny.TURBO, tiny.SD2), {"sampler": "euler"}),
    "SDXS-512": Family(one(PNDM, tiny.SDXS), {"sampler": "euler"}, (1,)),
    "Hyper-SD": Family(one(), {"sampler": "tcd", "schedule": {"gamma": 1.0}}),
    "TCD": Family(one(), {"sampler": "tcd"}),
    "Hyper-SD in steps": Family(one(DDIM), {"sampler": "ddim"}),
    "SDXL with LCM": Family(xl(vae=tiny.make_kl_vae), FREE, guidance=1.5),
    "LCM-SDXL": Family(xl(unet={**tiny.XL, "time_cond_proj_dim": 16}), {"guidance": "embedded"}, guidance=8.0),
    "SDXL-Turbo": Family(xl(tiny.TURBO), {"sampler": "euler_ancestral"}),
    "SDXL-Lightning": Family(xl(tiny.TURBO), {"sampler": "euler"}, (2, 4)),
    "SDXL-Lightning in one step": Family(xl(tiny.TURBO), {"sampler": "euler",
                                                          "schedule": {"prediction_type": "sample"}}, (1,)),
    "Hyper-SDXL's UNet": Family(xl(), {"schedule": {"first_timestep": 800}}, (1,), ()),
    "SSD-1B with LCM": Family(xl(unet=tiny.SSD)),
    "Vega-RT": Family(xl(unet={**tiny.SSD, "mid_block_type": "UNetMidBlock2DCrossAttn"})),
}


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A family's checkpoint, written when it is first asked for."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = FAMILIES[name].write(tmp_path_factory.mktemp("family") / "model")
        return made[name]

    return get


Folder = Callable[[str], Path]


class Pair:
    """Ours and diffusers', loaded from the same files."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.ours, self.theirs = LatentConsistency(recipe, SIZE), DiffusersReference(recipe, SIZE)
        self.ours.load(lambda line: None)

    def values(self, **changes: Any) -> Values:
        return {**self.recipe.start_values(), "prompt": "red lava", "negative_prompt": "blue ocean", "seed": 9,
                **changes}

    def paint(self, values: Values, picture: Pixels, guide: Pixels | None = None) -> Pixels:
        out = solid(SIZE)
        self.ours.render(picture, values, out, guide)
        return out

    def check(self, guide: Pixels | None = None, **changes: Any) -> Pixels:
        """At most one level apart anywhere, and that in less than one byte of a hundred: rounding, nothing else."""
        values, picture = self.values(**changes), make_picture(SIZE)
        found, expected = self.paint(values, picture, guide), self.theirs.render(picture, values, guide)
        difference = np.abs(found.astype(int) - expected.astype(int))
        assert expected[..., :3].std() > 5, "a flat picture would prove nothing"
        assert difference.max() <= 1, changes
        assert (difference > 0).mean() < 0.01, changes
        return found


_pairs: dict[str, Pair] = {}


def pair_of(folder: Path, **changes: Any) -> Pair:
    """The pair of a recipe, loaded once: these tests render no values that keep memory from frame to frame."""
    recipe = recipe_of(folder, **changes)
    if (key := repr(recipe)) not in _pairs:
        _pairs[key] = Pair(recipe)
    return _pairs[key]


@pytest.fixture(scope="module", autouse=True)
def _end_of_pairs() -> Iterator[None]:
    yield
    _pairs.clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_renders_like_diffusers(name: str, folder_of: Folder) -> None:
    family = FAMILIES[name]
    pair = pair_of(folder_of(name), **family.recipe)
    for steps in family.steps:
        pair.check(mode="text", steps=steps, guidance=family.guidance)
        for strength in family.strengths:
            pair.check(mode="image", steps=steps, strength=strength, guidance=family.guidance)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SD1.5 with LCM", "SDXL with LCM"])
@pytest.mark.parametrize(("guidance", "negative"), [(0.5, "blue ocean"), (1.0, ""), (4.0, ""), (4.0, "blue ocean")])
def test_guidance_equals_diffusers(guidance: float, negative: str, name: str, folder_of: Folder) -> None:
    pair = pair_of(folder_of(name), **FREE)
    for mode in ("text", "image"):
        pair.check(mode=mode, steps=2, strength=0.5, guidance=guidance, negative_prompt=negative)


@pytest.mark.slow
def test_an_empty_negative_prompt_follows_the_model_index(tmp_path: Path) -> None:
    painted = []
    for zeros in (True, False):
        pair = pair_of(tiny.write_xl(tmp_path / str(zeros), force_zeros=zeros), **FREE)
        painted.append(pair.paint(pair.values(guidance=4.0, negative_prompt=""), make_picture(SIZE)))
        if zeros:  # told not to, diffusers' pipeline takes the embedding of no text, as for a text that is empty
            pair.check(guidance=4.0, negative_prompt="")
    assert not np.array_equal(painted[0], painted[1])


@pytest.mark.slow
def test_a_unet_from_another_file(folder_of: Folder, tmp_path: Path) -> None:
    """SDXL-Lightning: the base model's folder, and a UNet as one file of half-precision weights."""
    base = folder_of("SDXL-Lightning")
    weights = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    file = tmp_path / "sdxl_lightning_2step_unet.safetensors"
    save_file({name: tensor.flip(0).half() for name, tensor in weights.items()}, file)
    pair = pair_of(base, sampler="euler", unet=str(file))
    other = pair_of(base, sampler="euler").check(mode="text", steps=2)
    assert not np.array_equal(pair.check(mode="text", steps=2), other)


CONTROLS = {
    "edges": ControlNet("edges", "", "canny", weight=0.8), "map": ControlNet("map", "", "none", end=0.5),
    "guide": ControlNet("guide", "", "none", source="guide", weight=0.6, start=0.5),
}


def controls_of(base: Path, folder: Path, names: tuple[str, ...]) -> tuple[ControlNet, ...]:
    return tuple(replace(CONTROLS[name], model=str(tiny.write_controlnet(folder / name, base, seed)))
                 for seed, name in enumerate(names))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "guidance", "names"), [
    ("SD1.5 with LCM", 1.5, ("edges",)), ("SD1.5 with LCM", 1.5, ("map", "guide")), ("SD-Turbo", 1.0, ("map", "guide")),
    ("SDXL with LCM", 1.5, ("map", "guide")), ("SDXL-Turbo", 1.0, ("edges",)), ("SSD-1B with LCM", 1.0, ("edges",)),
])
def test_controlnets_equal_diffusers(
    name: str, guidance: float, names: tuple[str, ...], folder_of: Folder, tmp_path: Path
) -> None:
    base, guide = folder_of(name), make_picture(SIZE, seed=7)
    free = pair_of(base, **FAMILIES[name].recipe).check(mode="text", steps=4, guidance=guidance)
    pair = pair_of(base, **FAMILIES[name].recipe, controlnets=controls_of(base, tmp_path, names))
    for mode, strength in (("image", 1.0), ("image", 0.5), ("control", 1.0)):
        painted = pair.check(guide, mode=mode, steps=4, strength=strength, guidance=guidance)
        assert not np.array_equal(painted, free)
    assert np.array_equal(pair.check(guide, mode="text", steps=4, guidance=guidance), free)
    path = f"control/{names[0]}"
    live: dict[str, Any] = {f"{path}/weight": 1.4, f"{path}/start": 0.0, f"{path}/end": 0.25}
    pair.check(guide, mode="control", steps=4, guidance=guidance, **live)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SD1.5 with LCM", "SDXL with LCM"])
def test_live_loras_equal_diffusers_adapters(name: str, folder_of: Folder, tmp_path: Path) -> None:
    pair = pair_of(folder_of(name), **FREE, loras=write_loras(folder_of(name), tmp_path))
    seen = []
    for neon, ink in ((0.5, -0.5), (1.0, 0.0), (0.0, 1.5)):
        weights: dict[str, Any] = {"lora/neon": neon, "lora/ink": ink}
        seen.append(pair.check(mode="image", steps=2, strength=0.5, guidance=2.0, **weights))
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])


def write_loras(folder: Path, into: Path) -> tuple[Lora, ...]:
    """One that is merged and two live ones, in key styles that diffusers 0.42.1 reads without loss."""
    plain = LatentConsistency(recipe_of(folder), SIZE)
    plain.load(lambda line: None)
    parts = plain.renderer.components
    models = [parts.unet, *(encoder.model for encoder in parts.text_encoders)]
    styles = {"lcm": tiny_loras.write_peft, "neon": tiny_loras.write_bare, "ink": tiny_loras.write_peft}
    files = {}
    for seed, (name, write) in enumerate(styles.items()):
        lora = tiny_loras.make_lora(models, seed, even=write is tiny_loras.write_bare)
        files[name] = write(lora.of("unet") if name == "lcm" else lora, into / f"{name}.safetensors",
                            copy.deepcopy(models))
    return Lora(str(files["lcm"]), 0.7), Lora(str(files["neon"]), 1.0, "neon"), Lora(str(files["ink"]), 0.0, "ink")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SD1.5 with LCM", "SDXL with LCM"])
def test_image_prompts_equal_diffusers(name: str, folder_of: Folder, tmp_path: Path) -> None:
    """A picture of the image encoder's own size: how one is scaled to it is for each to choose."""
    base, file = folder_of(name), tmp_path / "style.png"
    Image.fromarray(make_picture((32, 32), seed=3)[..., :3]).save(file)
    prompt = ImagePrompt(str(tiny.write_ip_adapter(tmp_path / "ip.safetensors", base)),
                         str(tiny.write_image_encoder(tmp_path / "encoder")), str(file))
    pair = pair_of(base, **FREE, image_prompt=prompt)
    seen = [pair.check(mode=mode, steps=2, strength=0.5, guidance=guidance, image_prompt=weight)
            for mode in ("text", "image") for guidance in (1.0, 3.0) for weight in (0.6, 1.2)]
    assert len({picture.tobytes() for picture in seen}) == len(seen)
    without = pair_of(base, **FREE)
    assert np.array_equal(pair.check(image_prompt=0.0), without.paint(without.values(), make_picture(SIZE)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SD-Turbo", "SDXL with LCM"])
def test_the_bench_times_both(name: str, folder_of: Folder, tmp_path: Path) -> None:
    base = folder_of(name)
    recipe = recipe_of(base, **FAMILIES[name].recipe, controlnets=controls_of(base, tmp_path, ("edges",)))
    rows = DiffusersComparison(recipe).measure(1, 2)
    assert {name: len(row) for name, row in rows.items()} == {"eager": 2, "diffusers": 2}
    assert all(0 < row["outside"] < row["frame"] for row in rows["eager"])
    assert all(row["frame"] > 0 for row in rows["diffusers"])
