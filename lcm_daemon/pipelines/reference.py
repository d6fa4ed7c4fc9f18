"""Reference: the same picture by diffusers' own pipeline. What `bench` compares with and the tests hold us to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from lcm_daemon.frame import Pixels, Size, solid
from lcm_daemon.parameters import TABLE, Value
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.components import load_components
from lcm_daemon.pipelines.latent_consistency import LatentConsistency
from lcm_daemon.recipe import Recipe

WARM_UP = 3  # frames before the clock runs

_PIPELINES: Mapping[tuple[str, bool], Any] = {  # by mode, and whether the UNet takes the guidance as an input
    ("text", True): diffusers.LatentConsistencyModelPipeline,
    ("image", True): diffusers.LatentConsistencyModelImg2ImgPipeline,
    ("text", False): diffusers.StableDiffusionPipeline,
    ("image", False): diffusers.StableDiffusionImg2ImgPipeline,
}


class _LCMScheduler(diffusers.LCMScheduler):  # type: ignore[misc]
    """LCMScheduler at a strength. The plain image-to-image pipeline would quantise strength to steps instead."""

    strength = 1.0

    def set_timesteps(self, *arguments: Any, **named: Any) -> None:
        super().set_timesteps(*arguments, **{**named, "strength": self.strength})


# By sampler: the class, and what it needs beside the model's own configuration. steps_offset means nothing to either,
# but without it the pipelines warn of an old file.
_SCHEDULERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "lcm": (_LCMScheduler, {"steps_offset": 1}),
    "euler": (diffusers.EulerDiscreteScheduler, {"steps_offset": 1, "timestep_spacing": "trailing"}),
}


class Reference:
    """One recipe through diffusers' pipelines, pictures by way of PIL as these take and give them.

    Prompts are embedded once and kept, as a careful user of diffusers would do.
    channels_last: with our memory layout; without it the modules are as diffusers loads them.
    """

    def __init__(self, recipe: Recipe, size: Size, channels_last: bool = False) -> None:
        self.recipe, self.size = recipe, size
        device = devices.choose_device(recipe)
        devices.prepare(device)
        parts = load_components(recipe, device, devices.choose_dtype(recipe, device), lambda line: None)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        for module in (parts.unet, parts.vae):
            module.to(memory_format=layout)
        kind, needs = _SCHEDULERS[recipe.sampler]
        self._scheduler = kind.from_config({**parts.schedule, **needs})
        self._embedded = recipe.guidance == "embedded"
        self._pipelines = {mode: self._build(mode, parts) for mode in ("text", "image")}
        self._prompts: dict[str, torch.Tensor] = {}

    @torch.inference_mode()
    def paint(self, pixels: Pixels, values: Mapping[str, Value]) -> Pixels:
        """What `LatentConsistency.render` does, at `mix` 1: uint8 (H, W, 4) in and out."""
        mode, guidance = str(values["mode"]), float(values["guidance"])
        arguments: dict[str, Any] = {
            "prompt_embeds": self._prompt(str(values["prompt"])),
            "num_inference_steps": int(values["steps"]),
            "generator": torch.Generator().manual_seed(int(values["seed"])),
            "guidance_scale": 1.0 if self.recipe.guidance == "none" else guidance,
        }
        if self.recipe.guidance == "classifier_free" and guidance > 1.0:
            arguments["negative_prompt_embeds"] = self._prompt(str(values["negative_prompt"]))
        arguments |= self._image(pixels, float(values["strength"])) if mode == "image" else self._text()
        picture = self._pipelines[mode](**arguments).images[0]
        return self._out(picture, pixels)

    def _image(self, pixels: Pixels, strength: float) -> dict[str, Any]:
        picture = Image.fromarray(pixels[..., :3])
        picture = picture if picture.size == self.recipe.size else picture.resize(self.recipe.size)
        if self.recipe.sampler == "lcm":
            self._scheduler.strength = strength
        return {"image": picture, "strength": strength if self._embedded else 1.0}

    def _text(self) -> dict[str, Any]:
        if self.recipe.sampler == "lcm":
            self._scheduler.strength = 1.0
        return {"width": self.recipe.size[0], "height": self.recipe.size[1]}

    def _out(self, picture: Image.Image, pixels: Pixels) -> Pixels:
        picture = picture if picture.size == self.size else picture.resize(self.size)
        return np.dstack([np.asarray(picture), pixels[..., 3]])

    def _build(self, mode: str, parts: Any) -> Any:
        pipeline = _PIPELINES[mode, self._embedded](
            vae=parts.vae, text_encoder=parts.text_encoders[0].model, tokenizer=parts.text_encoders[0].tokenizer, unet=parts.unet,
            scheduler=self._scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _prompt(self, text: str) -> torch.Tensor:
        if text not in self._prompts:
            pipeline = self._pipelines["text"]
            self._prompts[text] = pipeline.encode_prompt(text, pipeline.device, 1, False)[0]
        return self._prompts[text]


def compare(recipe: Recipe, size: Size, frames: int, values: Mapping[str, Value],
            channels_last: bool = False) -> dict[str, float]:
    """Median milliseconds a frame, ours and diffusers' in turn, so that a busy machine is busy for both.

    By part; "frame" is the whole, "own" what is outside the modules' forward passes, "diffusers" their own pipeline.
    `values` go over the recipe's, as in a show.
    """
    pipeline, reference = _loaded(recipe, size), Reference(recipe, size, channels_last)
    everything, pixels = _values(recipe, values), _picture(size)
    rows = []
    with _modules_timed(pipeline) as inside:
        for _ in range(WARM_UP + frames):
            row = _time_ours(pipeline, pixels, everything, inside)
            rows.append(row | {"diffusers": _time_theirs(reference, pixels, everything)})
    return _medians(rows)


def _loaded(recipe: Recipe, size: Size) -> LatentConsistency:
    pipeline = LatentConsistency(recipe, size)
    pipeline.load(lambda line: None)
    return pipeline


def _time_ours(pipeline: LatentConsistency, pixels: Pixels, values: Mapping[str, Value],
               inside: list[float]) -> dict[str, float]:
    out = solid(pipeline.size)
    inside.clear()
    begun = time.perf_counter()
    parts = pipeline.render(pixels, values, out)
    whole = time.perf_counter() - begun
    return {**parts, "frame": whole, "own": whole - sum(inside)}


def _time_theirs(reference: Reference, pixels: Pixels, values: Mapping[str, Value]) -> float:
    begun = time.perf_counter()
    reference.paint(pixels, values)
    return time.perf_counter() - begun


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {part: _milliseconds([row[part] for row in rows]) for part in rows[0]}


def _milliseconds(seconds: list[float]) -> float:
    return statistics.median(seconds[WARM_UP:]) * 1000


@contextmanager
def _modules_timed(pipeline: LatentConsistency) -> Iterator[list[float]]:
    """Collect the seconds of every forward pass of the UNet and of the VAE's two halves."""
    parts, inside, begun = pipeline.components, list[float](), [0.0]

    def enter(*_: Any) -> None:
        begun[0] = _now(parts.device)

    def leave(*_: Any) -> None:
        inside.append(_now(parts.device) - begun[0])

    modules = (parts.unet, parts.vae.encoder, parts.vae.decoder)
    handles = [handle for module in modules
               for handle in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave))]
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _values(recipe: Recipe, values: Mapping[str, Value]) -> dict[str, Value]:
    return {p.name: p.default for p in TABLE.values()} | dict(recipe.parameters) | dict(values)


def _picture(size: Size) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
