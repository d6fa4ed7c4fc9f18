"""Reference: the same picture by diffusers' own pipeline. What `bench` compares with and the tests hold us to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.components import Components, load_components
from lcm_daemon.pipelines.latent_consistency import Loading
from lcm_daemon.pipelines.preprocessors import build
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.recipe import Recipe

_SD, _XL = 1, 2  # families, by the number of their text encoders
_PIPELINES: Mapping[tuple[int, str], Any] = {  # by family and what is painted from
    (_SD, "text"): diffusers.StableDiffusionPipeline,
    (_SD, "image"): diffusers.StableDiffusionImg2ImgPipeline,
    (_SD, "control"): diffusers.StableDiffusionControlNetPipeline,
    (_SD, "controlled image"): diffusers.StableDiffusionControlNetImg2ImgPipeline,
    (_XL, "text"): diffusers.StableDiffusionXLPipeline,
    (_XL, "image"): diffusers.StableDiffusionXLImg2ImgPipeline,
    (_XL, "control"): diffusers.StableDiffusionXLControlNetPipeline,
    (_XL, "controlled image"): diffusers.StableDiffusionXLControlNetImg2ImgPipeline,
}
_EMBEDDED: Mapping[tuple[int, str], Any] = {  # where a pipeline of its own takes the guidance as an input of the UNet
    (_SD, "text"): diffusers.LatentConsistencyModelPipeline,
    (_SD, "image"): diffusers.LatentConsistencyModelImg2ImgPipeline,
}
_OPTIONS: Mapping[int, Mapping[str, Any]] = {
    _SD: {"safety_checker": None, "requires_safety_checker": False}, _XL: {"add_watermarker": False},
}


class _LCMScheduler(diffusers.LCMScheduler):  # type: ignore[misc]
    """LCMScheduler at a strength. The plain image-to-image pipeline would quantise strength to steps instead."""

    strength = 1.0

    def set_timesteps(self, num_inference_steps: int | None = None, device: Any = None,
                      timesteps: list[int] | None = None, **named: Any) -> None:
        super().set_timesteps(num_inference_steps, device, timesteps=timesteps, strength=self.strength)


class _TCDScheduler(diffusers.TCDScheduler):  # type: ignore[misc]
    """The same of TCDScheduler."""

    strength = 1.0

    def set_timesteps(self, num_inference_steps: int | None = None, device: Any = None,
                      timesteps: list[int] | None = None, **named: Any) -> None:
        super().set_timesteps(num_inference_steps, device, timesteps=timesteps, strength=self.strength)


# By sampler: the class, and what it needs beside the model's own configuration. steps_offset means nothing to any,
# but without it the pipelines warn of an old file.
_SCHEDULERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "lcm": (_LCMScheduler, {}),
    "tcd": (_TCDScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "ddim": (diffusers.DDIMScheduler, {"timestep_spacing": "trailing"}),
}


class Reference:
    """One recipe through diffusers' pipelines, pictures by way of PIL as these take and give them.

    Prompts are embedded once and kept, and LoRAs merged at load are fused, as a careful user of diffusers would do.
    A full VAE gives the mean of its latents, as ours does, where diffusers would draw them at random.
    channels_last: with our memory layout; without it the modules are as diffusers loads them.
    loading: where the parts come from, `load_components` or random ones, then without LoRAs and image prompt.
    """

    def __init__(self, recipe: Recipe, size: Size, channels_last: bool = False,
                 loading: Loading = load_components) -> None:
        self.recipe, self.size = recipe, size
        self._device = devices.choose_device(recipe)
        devices.prepare(self._device)
        dtype = devices.choose_dtype(recipe, self._device)
        parts = loading(replace(recipe, loras=()), self._device, dtype, lambda line: None)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        for module in (parts.unet, parts.vae, *parts.controlnets.values()):
            module.to(memory_format=layout)
        _encode_to_the_mean(parts.vae)
        kind, needs = _SCHEDULERS[recipe.sampler]
        self._gamma, self._first = parts.schedule.get("gamma", 0.3), parts.schedule.get("first_timestep")
        self._scheduler = kind.from_config({**parts.schedule, "steps_offset": 1, **needs})
        self._embedded = recipe.guidance == "embedded"
        self._pipelines = {source: self._build(source, parts) for source in _sources(recipe)}
        self._maps = [build(control, recipe, self._device, dtype) for control in recipe.controlnets]
        self._live: list[str] = []
        if loading is load_components:
            self._adapt(self._pipelines["text"])
        self._prompts: dict[tuple[Any, ...], dict[str, torch.Tensor]] = {}

    @torch.inference_mode()
    def paint(self, pixels: Pixels, values: Values, guide: Pixels | None = None) -> Pixels:
        """What `LatentConsistency.render` does, at `mix` 1: uint8 (H, W, 4) in and out.

        Prompt and seed stand still. At a strength below 1, samplers other than lcm and tcd are equal where
        steps / strength is a whole number; elsewhere they start from noise alone, in as many steps.
        """
        source = self._source(str(values["mode"]))
        weights = [float(values[f"lora/{name}"]) for name in self._live]
        if weights:
            self._pipelines["text"].set_adapters(self._live, weights)
        arguments = self._arguments(values, weights) | self._timing(values, "image" in source)
        if "image" in source:
            arguments["image"] = self._picture(pixels)
        elif source == "text":
            arguments |= {"width": self.recipe.size[0], "height": self.recipe.size[1]}
        if "control" in source:
            arguments |= self._controls(pixels, guide, values, "control_image" if "image" in source else "image")
        if self.recipe.image_prompt:
            arguments["ip_adapter_image"] = self._prompting(pixels)
            self._pipelines["text"].set_ip_adapter_scale(float(values["image_prompt"]))
        return self._out(self._pipelines[source](**arguments).images[0], pixels)

    def _source(self, mode: str) -> str:
        if mode == "text" or not self.recipe.controlnets:
            return "image" if mode == "image" else "text"
        return "controlled image" if mode == "image" else "control"

    def _arguments(self, values: Values, weights: Sequence[float]) -> dict[str, Any]:
        guidance = 1.0 if self.recipe.guidance == "none" else float(values["guidance"])
        twice = guidance > 1.0 and not self._embedded
        texts = (str(values["prompt"]), str(values["negative_prompt"]) if twice else None)
        eta = {"eta": self._gamma} if self.recipe.sampler == "tcd" else {}
        return {"guidance_scale": guidance, "generator": torch.Generator().manual_seed(int(values["seed"])),
                **self._prompt((*texts, *weights)), **eta}

    def _timing(self, values: Values, repaints: bool) -> dict[str, Any]:
        steps, strength = int(values["steps"]), float(values["strength"]) if repaints else 1.0
        if hasattr(self._scheduler, "strength"):  # the scheduler sees to it, and the pipelines need not know
            self._scheduler.strength, strength = strength, 1.0
        elif strength < 1.0:
            whole = round(steps / strength)
            steps, strength = (whole, strength) if int(whole * strength) == steps else (steps, 1.0)
        first = {"timesteps": [self._first]} if self._first is not None and steps == 1 else {}
        return {"num_inference_steps": steps, **first, **({"strength": strength} if repaints else {})}

    def _controls(self, pixels: Pixels, guide: Pixels | None, values: Values, place: str) -> dict[str, Any]:
        """The ControlNets' maps, and how each is weighed; of one alone the pipelines want no lists."""
        controls = self.recipe.controlnets
        seen = [guide if control.source == "guide" and guide is not None else pixels for control in controls]
        maps = [each.map(self._tensor(self._picture(picture))).float().cpu()
                for each, picture in zip(self._maps, seen, strict=True)]
        weights, starts, ends = ([float(values[f"control/{control.name}/{end}"]) for control in controls]
                                 for end in ("weight", "start", "end"))
        one = len(controls) == 1
        return {place: maps[0] if one else maps, "controlnet_conditioning_scale": weights[0] if one else weights,
                "control_guidance_start": starts, "control_guidance_end": ends}

    def _prompting(self, pixels: Pixels) -> Image.Image:
        assert self.recipe.image_prompt is not None
        file = self.recipe.image_prompt.image
        return Image.open(file).convert("RGB") if file else self._picture(pixels)

    def _picture(self, pixels: Pixels) -> Image.Image:
        picture = Image.fromarray(pixels[..., :3])
        return picture if picture.size == self.recipe.size else picture.resize(self.recipe.size)

    def _tensor(self, picture: Image.Image) -> torch.Tensor:
        """(1, 3, h, w) from -1 to 1."""
        floats = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float().div_(127.5).sub_(1.0)
        return floats.to(self._device)

    def _out(self, picture: Image.Image, pixels: Pixels) -> Pixels:
        picture = picture if picture.size == self.size else picture.resize(self.size)
        return np.dstack([np.asarray(picture), pixels[..., 3]])

    def _build(self, source: str, parts: Components) -> Any:
        family = len(parts.text_encoders)
        kind = (self._embedded and _EMBEDDED.get((family, source))) or _PIPELINES[family, source]
        encoders = {f"{part}{end}": getattr(encoder, name)
                    for end, encoder in zip(("", "_2"), parts.text_encoders, strict=False)
                    for part, name in (("text_encoder", "model"), ("tokenizer", "tokenizer"))}
        networks = list(parts.controlnets.values())
        control = {"controlnet": networks[0] if len(networks) == 1 else networks} if "control" in source else {}
        zeros = {"force_zeros_for_empty_prompt": parts.force_zeros} if family == _XL else {}
        pipeline = kind(vae=parts.vae, unet=parts.unet, scheduler=self._scheduler, **encoders, **control, **zeros,
                        image_encoder=parts.image_encoder, feature_extractor=parts.feature_extractor,
                        **_OPTIONS[family])
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _adapt(self, pipeline: Any) -> None:
        """LoRAs and the image prompt's adapter, as diffusers puts them into the models that the pipelines share."""
        weights = locate(self.recipe)
        for number, (lora, file) in enumerate(zip(self.recipe.loras, weights.loras, strict=True)):
            name = lora.name or f"merged{number}"
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=name,
                                       local_files_only=True)
            if lora.name:
                self._live.append(name)
            else:
                pipeline.fuse_lora(lora_scale=lora.weight, adapter_names=[name])
                pipeline.delete_adapters(name)
        if weights.adapter:
            pipeline.load_ip_adapter(str(weights.adapter.parent), subfolder="", weight_name=weights.adapter.name,
                                     image_encoder_folder=None, local_files_only=True)

    def _prompt(self, key: tuple[Any, ...]) -> dict[str, torch.Tensor]:
        """By prompt, negative prompt or None, and the LoRAs' weights."""
        if key not in self._prompts:
            text, negative, pipeline = key[0], key[1], self._pipelines["text"]
            found = pipeline.encode_prompt(text, device=pipeline.device, num_images_per_prompt=1,
                                           do_classifier_free_guidance=negative is not None,
                                           negative_prompt=negative or None)
            names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
            self._prompts[key] = {name: one for name, one in zip(names, found, strict=False)
                                  if one is not None and (negative is not None or not name.startswith("negative"))}
        return self._prompts[key]


def _sources(recipe: Recipe) -> tuple[str, ...]:
    return ("text", "image", "control", "controlled image") if recipe.controlnets else ("text", "image")


def _encode_to_the_mean(vae: Any) -> None:
    if not isinstance(vae, diffusers.AutoencoderKL):
        return
    encode = vae.encode

    def encode_still(*arguments: Any, **named: Any) -> Any:
        found = encode(*arguments, **named)
        distribution = found.latent_dist
        distribution.sample = lambda generator=None: distribution.mode()
        return found

    vae.encode = encode_still
