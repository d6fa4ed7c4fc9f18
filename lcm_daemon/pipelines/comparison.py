"""Comparison: one recipe painted by us and by diffusers' own pipeline, in turn, so that a busy machine is busy for all.

Both image to image, at the same steps, size, precision and prompts; prompts are embedded once, as a careful user of
diffusers would do, and diffusers' modules lie in memory as it loads them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from lcm_daemon.frame import Pixels, solid
from lcm_daemon.parameters import Value
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.components import Components, load_components
from lcm_daemon.pipelines.latent_consistency import LatentConsistency, Loading
from lcm_daemon.recipe import Recipe

WARM_UP = 3  # frames before the clock runs
OURS, EAGER, THEIRS = "accelerated", "eager", "diffusers"

Row = Mapping[str, float]  # seconds of one frame: "frame", and by part where that is known
Painter = Callable[[Pixels, Mapping[str, Value]], Row]

# By number of text encoders, and whether the UNet takes the guidance as an input.
_PIPELINES: Mapping[tuple[int, bool], Any] = {
    (1, True): diffusers.LatentConsistencyModelImg2ImgPipeline,
    (1, False): diffusers.StableDiffusionImg2ImgPipeline,
    (2, False): diffusers.StableDiffusionXLImg2ImgPipeline,
}
_EULER = (diffusers.EulerDiscreteScheduler, {"timestep_spacing": "trailing"})
# By sampler. steps_offset means nothing to these, but without it the pipelines warn of an old file.
_SCHEDULERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "lcm": (diffusers.LCMScheduler, {}), "tcd": (diffusers.TCDScheduler, {}), "euler": _EULER,
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "ddim": (diffusers.DDIMScheduler, {"timestep_spacing": "trailing"}),
}


class Comparison:
    """The contenders for one recipe, loaded. loading: where the parts come from, `load_components` or random ones."""

    def __init__(self, recipe: Recipe, loading: Loading = load_components) -> None:
        self.recipe, self.device = recipe, devices.choose_device(recipe)
        shared = _once(loading)
        eager = _loaded(replace(recipe, accelerate="none"), shared)
        self.painters: dict[str, Painter] = {EAGER: lambda pixels, values: _paint(eager, pixels, values, True)}
        self.accelerator = "none"
        if recipe.accelerate != "none":
            ours = _loaded(recipe, shared)
            self.accelerator = getattr(ours, "accelerator", "none")
            if self.accelerator != "none":
                fast: Painter = lambda pixels, values: _paint(ours, pixels, values, False)  # noqa: E731
                self.painters = {OURS: fast, **self.painters}
        if not recipe.controlnets:
            self.painters[THEIRS] = Theirs(recipe, self.device, loading)

    def race(self, steps: int, frames: int) -> dict[str, list[Row]]:
        """So many frames by each in turn, after a warm-up."""
        values = self.recipe.start() | {"steps": steps, "strength": 1.0, "mode": "image", "mix": 1.0}
        width, height = self.recipe.size
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
        rows: dict[str, list[Row]] = {name: [] for name in self.painters}
        for number in range(WARM_UP + frames):
            for name, paint in self.painters.items():
                row = paint(pixels, values)
                if number >= WARM_UP:
                    rows[name].append(row)
        return rows


class Theirs:
    """diffusers' own pipeline for the recipe, pictures by way of PIL as it takes and gives them."""

    def __init__(self, recipe: Recipe, device: torch.device, loading: Loading) -> None:
        parts = loading(recipe, device, devices.choose_dtype(recipe, device), lambda line: None)
        for module in (parts.unet, parts.vae):
            module.to(memory_format=torch.contiguous_format)
        self._embedded = recipe.guidance == "embedded"
        self._pipeline = _build(parts, recipe, self._embedded)
        self._guidance = recipe.guidance
        self._prompts: dict[str, dict[str, Any]] = {}

    @torch.inference_mode()
    def __call__(self, pixels: Pixels, values: Mapping[str, Value]) -> Row:
        begun = time.perf_counter()
        guidance = 1.0 if self._guidance == "none" else float(values["guidance"])
        picture = self._pipeline(
            image=Image.fromarray(pixels[..., :3]), num_inference_steps=int(values["steps"]), guidance_scale=guidance,
            strength=float(values["strength"]), generator=torch.Generator().manual_seed(int(values["seed"])),
            **self._prompt(str(values["prompt"]), guidance > 1.0 and not self._embedded)).images[0]
        np.asarray(picture)
        return {"frame": time.perf_counter() - begun}

    def _prompt(self, text: str, twice: bool) -> dict[str, Any]:
        if text not in self._prompts:
            pipeline = self._pipeline
            found = pipeline.encode_prompt(text, device=pipeline.device, num_images_per_prompt=1,
                                           do_classifier_free_guidance=twice)
            names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
            self._prompts[text] = {name: one for name, one in zip(names, found, strict=False)
                                   if one is not None and (twice or "negative" not in name)}
        return self._prompts[text]


def _build(parts: Components, recipe: Recipe, embedded: bool) -> Any:
    kind, needs = _SCHEDULERS[recipe.sampler]
    encoders = {f"{part}{end}": getattr(encoder, name)
                for end, encoder in zip(("", "_2"), parts.text_encoders, strict=False)
                for part, name in (("text_encoder", "model"), ("tokenizer", "tokenizer"))}
    plain = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = _PIPELINES[len(parts.text_encoders), embedded](
        vae=parts.vae, unet=parts.unet, scheduler=kind.from_config({**parts.schedule, "steps_offset": 1, **needs}),
        **encoders, **(plain if len(parts.text_encoders) == 1 else {"add_watermarker": False}))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _once(loading: Loading) -> Loading:
    """Our two contenders share their modules."""
    made: list[Components] = []

    def load(*arguments: Any) -> Components:
        if not made:
            made.append(loading(*arguments))
        return made[0]

    return load


def _loaded(recipe: Recipe, loading: Loading) -> LatentConsistency:
    pipeline = LatentConsistency(recipe, recipe.size, loading)
    pipeline.load(lambda line: None)
    return pipeline


def _paint(pipeline: LatentConsistency, pixels: Pixels, values: Mapping[str, Value], is_plain: bool) -> Row:
    """One frame, with what it spends by part; of plain modules on the CPU also what is outside their forward passes."""
    out, parts = solid(pipeline.size), pipeline.components
    timing: AbstractContextManager[list[float]] = nullcontext([])
    if is_plain and parts.device.type == "cpu":
        timing = _timed(parts)
    with timing as inside:
        begun = time.perf_counter()
        spent = pipeline.render(pixels, values, out)
        whole = time.perf_counter() - begun
    return {**spent, "frame": whole, **({"outside": whole - sum(inside)} if inside else {})}


@contextmanager
def _timed(parts: Components) -> Iterator[list[float]]:
    """Collect the seconds of every forward pass of the UNet and of the VAE's two halves."""
    inside, begun = list[float](), [0.0]

    def enter(*_: Any) -> None:
        begun[0] = time.perf_counter()

    def leave(*_: Any) -> None:
        inside.append(time.perf_counter() - begun[0])

    modules = (parts.unet, parts.vae.encoder, parts.vae.decoder)
    handles = [handle for module in modules
               for handle in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave))]
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()
