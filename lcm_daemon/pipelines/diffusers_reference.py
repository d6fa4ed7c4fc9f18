"""DiffusersReference: renders a recipe with diffusers' own pipelines. `bench` and the tests compare with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.core.pictures import Picture
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.pipelines.components import Components, ComponentsLoader, load_components
from lcm_daemon.pipelines.control_passes import number_of_map
from lcm_daemon.pipelines.image_prompt import feature_extractor
from lcm_daemon.pipelines.preprocessors import build
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.parts import ImagePrompt
from lcm_daemon.recipes.recipe import Recipe

_SD, _XL = 1, 2  # families, by the number of their text encoders
_PIPELINES: Mapping[tuple[int, str], Any] = {  # by family and source of the image
    (_SD, "text"): diffusers.StableDiffusionPipeline,
    (_SD, "image"): diffusers.StableDiffusionImg2ImgPipeline,
    (_SD, "control"): diffusers.StableDiffusionControlNetPipeline,
    (_SD, "controlled image"): diffusers.StableDiffusionControlNetImg2ImgPipeline,
    (_XL, "text"): diffusers.StableDiffusionXLPipeline,
    (_XL, "image"): diffusers.StableDiffusionXLImg2ImgPipeline,
    (_XL, "control"): diffusers.StableDiffusionXLControlNetPipeline,
    (_XL, "controlled image"): diffusers.StableDiffusionXLControlNetImg2ImgPipeline,
}
_UNIONS: Mapping[str, Any] = {  # by source of the image, for SDXL with ControlNet-Unions
    "control": diffusers.StableDiffusionXLControlNetUnionPipeline,
    "controlled image": diffusers.StableDiffusionXLControlNetUnionImg2ImgPipeline,
}
_EMBEDDED: Mapping[tuple[int, str], Any] = {  # pipelines whose UNet takes the guidance scale as an input
    (_SD, "text"): diffusers.LatentConsistencyModelPipeline,
    (_SD, "image"): diffusers.LatentConsistencyModelImg2ImgPipeline,
}
_OPTIONS: Mapping[int, Mapping[str, Any]] = {
    _SD: {"safety_checker": None, "requires_safety_checker": False}, _XL: {"add_watermarker": False},
}


class _LCMScheduler(diffusers.LCMScheduler):  # type: ignore[misc]
    """LCMScheduler with a strength. The plain image-to-image pipeline would quantise strength to steps instead."""

    strength = 1.0

    def set_timesteps(self, num_inference_steps: int | None = None, device: Any = None,
                      timesteps: list[int] | None = None, **named: Any) -> None:
        super().set_timesteps(num_inference_steps, device, timesteps=timesteps, strength=self.strength)


class _TCDScheduler(diffusers.TCDScheduler):  # type: ignore[misc]
    """TCDScheduler with a strength."""

    strength = 1.0

    def set_timesteps(self, num_inference_steps: int | None = None, device: Any = None,
                      timesteps: list[int] | None = None, **named: Any) -> None:
        super().set_timesteps(num_inference_steps, device, timesteps=timesteps, strength=self.strength)


# By sampler: the class, and what it needs beside the model's own configuration. No sampler here uses steps_offset, but
# without it the pipelines warn of an old file.
_SCHEDULERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "lcm": (_LCMScheduler, {}),
    "tcd": (_TCDScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "ddim": (diffusers.DDIMScheduler, {"timestep_spacing": "trailing"}),
}


class DiffusersReference:
    """One recipe, rendered by diffusers' pipelines. Images are PIL images, which is their interface.

    Prompts are embedded once and cached, and LoRAs merged at load are fused, as a careful user of diffusers would do.
    A full VAE gives the mean of its latents, as in this package, where diffusers would draw them at random.

    Args:
        recipe: What to render.
        size: Output size, (width, height).
        channels_last: Use this package's memory layout; otherwise the modules stay as diffusers loads them.
        loader: Where the parts come from: `load_components`, or random weights without LoRAs and image prompt.
    """

    def __init__(self, recipe: Recipe, size: Size, channels_last: bool = False,
                 loader: ComponentsLoader = load_components) -> None:
        self.recipe, self.size = recipe, size
        self._device = devices.choose_device(recipe)
        devices.configure(self._device)
        dtype = devices.choose_dtype(recipe, self._device)
        parts = loader(replace(recipe, loras=()), self._device, dtype, lambda line: None)
        if what := without_pipeline(recipe, parts):
            raise RecipeError(f"recipe {recipe.name}: diffusers has no pipeline for {what}")
        self._is_union = "ControlNetUnionModel" in _kinds_of_networks(parts)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        for module in (parts.unet, parts.vae, *parts.controlnets.values()):
            module.to(memory_format=layout)
        _encode_to_mean(parts.vae)
        kind, needs = _SCHEDULERS[recipe.sampler]
        self._gamma, self._first = parts.schedule.get("gamma", 0.3), parts.schedule.get("first_timestep")
        self._scheduler = kind.from_config({**parts.schedule, "steps_offset": 1, **needs})
        self._embedded = recipe.guidance == "embedded"
        self._pipelines = {source: self._build(source, parts) for source in _sources(recipe)}
        self._preprocessors = [build(control, recipe, self._device, dtype) for control in recipe.controlnets]
        self._live: list[str] = []
        if loader is load_components:
            self._load_adapters(self._pipelines["text"])
        self._prompts: dict[tuple[Any, ...], dict[str, torch.Tensor]] = {}

    @torch.inference_mode()
    def render(self, frame: Pixels, all_values: Values, guide: Pixels | None = None) -> Pixels:
        """Render like `LatentConsistency.render` with `mix` 1: uint8 (H, W, 4) in and out.

        Prompt and seed must be single values. At a strength below 1, samplers other than lcm and tcd are comparable
        where steps / strength is a whole number; elsewhere they start from noise only, in as many steps.
        """
        values = FrameValues.of(all_values)
        source = self._source(values.mode)
        weights = [values.loras[name] for name in self._live]
        if weights:
            self._pipelines["text"].set_adapters(self._live, weights)
        arguments = self._arguments(values, weights) | self._step_arguments(values, "image" in source)
        if "image" in source:
            arguments["image"] = self._to_pil(frame)
        elif source == "text":
            arguments |= {"width": self.recipe.size[0], "height": self.recipe.size[1]}
        if "control" in source:
            key = "control_image" if "image" in source or self._is_union else "image"
            arguments |= self._control_arguments(frame, guide, values, key)
        if images := self.recipe.all_image_prompts:
            arguments["ip_adapter_image"] = [self._prompt_image(image, frame) for image in images]
            self._pipelines["text"].set_ip_adapter_scale([
                values.image_prompts[image.name] if image.name else values.image_prompt for image in images])
        return self._to_frame(self._pipelines[source](**arguments).images[0], frame)

    def _source(self, mode: str) -> str:
        if mode == "text" or not self.recipe.controlnets:
            return "image" if mode == "image" else "text"
        return "controlled image" if mode == "image" else "control"

    def _arguments(self, values: FrameValues, weights: Sequence[float]) -> dict[str, Any]:
        guidance = 1.0 if self.recipe.guidance == "none" else values.guidance
        is_classifier_free = guidance > 1.0 and not self._embedded
        texts = (_single(values.prompt), _single(values.negative_prompt) if is_classifier_free else None)
        eta = {"eta": self._gamma} if self.recipe.sampler == "tcd" else {}
        return {"guidance_scale": guidance, "generator": torch.Generator().manual_seed(int(values.seed.parts[0][0])),
                **self._embed((*texts, *weights)), **eta}

    def _step_arguments(self, values: FrameValues, has_image: bool) -> dict[str, Any]:
        steps, strength = values.steps, values.strength if has_image else 1.0
        if hasattr(self._scheduler, "strength"):  # the scheduler applies it, not the pipeline
            self._scheduler.strength, strength = strength, 1.0
        elif strength < 1.0:
            whole = round(steps / strength)
            steps, strength = (whole, strength) if int(whole * strength) == steps else (steps, 1.0)
        first = {"timesteps": [self._first]} if self._first is not None and steps == 1 else {}
        return {"num_inference_steps": steps, **first, **({"strength": strength} if has_image else {})}

    def _control_arguments(self, frame: Pixels, guide: Pixels | None, values: FrameValues, key: str) -> dict[str, Any]:
        """The control maps and their weights. For a single ControlNet the pipelines take no lists."""
        controls = self.recipe.controlnets
        sources = [guide if control.source == "guide" and guide is not None else frame for control in controls]
        maps = [each.map(self._to_tensor(self._to_pil(source))).float().cpu()
                for each, source in zip(self._preprocessors, sources, strict=True)]
        live = [values.controlnets[control.name] for control in controls]
        weights = [control.weight for control in live]
        one = len(live) == 1 and not self._is_union
        return {key: maps[0] if one else maps, "controlnet_conditioning_scale": weights[0] if one else weights,
                "control_guidance_start": [control.start for control in live],
                "control_guidance_end": [control.end for control in live],
                **({"control_mode": [number_of_map(control) for control in controls]} if self._is_union else {})}

    def _prompt_image(self, prompt: ImagePrompt, frame: Pixels) -> Image.Image:
        file = prompt.image
        return Image.fromarray(Picture(Path(file)).pixels[..., :3]) if file else self._to_pil(frame)

    def _to_pil(self, frame: Pixels) -> Image.Image:
        image = Image.fromarray(frame[..., :3])
        return image if image.size == self.recipe.size else image.resize(self.recipe.size)

    def _to_tensor(self, image: Image.Image) -> torch.Tensor:
        """(1, 3, h, w) from -1 to 1."""
        floats = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div_(127.5).sub_(1.0)
        return floats.to(self._device)

    def _to_frame(self, image: Image.Image, frame: Pixels) -> Pixels:
        image = image if image.size == self.size else image.resize(self.size)
        return np.dstack([np.asarray(image), frame[..., 3]])

    def _build(self, source: str, parts: Components) -> Any:
        family = len(parts.text_encoders)
        kind = (self._embedded and _EMBEDDED.get((family, source))) or _PIPELINES[family, source]
        kind = _UNIONS.get(source, kind) if self._is_union else kind
        encoders = {f"{part}{suffix}": getattr(encoder, name)
                    for suffix, encoder in zip(("", "_2"), parts.text_encoders, strict=False)
                    for part, name in (("text_encoder", "model"), ("tokenizer", "tokenizer"))}
        networks = list(parts.controlnets.values())
        alone = len(networks) == 1 and not self._is_union
        control = {"controlnet": networks[0] if alone else networks} if "control" in source else {}
        zeros = {"force_zeros_for_empty_prompt": parts.force_zeros} if family == _XL else {}
        pipeline = kind(vae=parts.vae, unet=parts.unet, scheduler=self._scheduler, **encoders, **control, **zeros,
                        **_image_encoder(parts), **_OPTIONS[family])
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _load_adapters(self, pipeline: Any) -> None:
        """Load LoRAs and the image prompt's adapter with diffusers, into the models that the pipelines share."""
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
        if files := weights.adapters:
            pipeline.load_ip_adapter([str(file.parent) for file in files], subfolder=[""] * len(files),
                                     weight_name=[file.name for file in files], image_encoder_folder=None,
                                     local_files_only=True)

    def _embed(self, key: tuple[Any, ...]) -> dict[str, torch.Tensor]:
        """Embed prompts. key: prompt, negative prompt or None, and the weights of the LoRAs."""
        if key not in self._prompts:
            text, negative, pipeline = key[0], key[1], self._pipelines["text"]
            embeddings = pipeline.encode_prompt(text, device=pipeline.device, num_images_per_prompt=1,
                                           do_classifier_free_guidance=negative is not None,
                                           negative_prompt=negative or None)
            names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
            self._prompts[key] = {name: one for name, one in zip(names, embeddings, strict=False)
                                  if one is not None and (negative is not None or not name.startswith("negative"))}
        return self._prompts[key]


def _sources(recipe: Recipe) -> tuple[str, ...]:
    return ("text", "image", "control", "controlled image") if recipe.controlnets else ("text", "image")


def without_pipeline(recipe: Recipe, parts: Components) -> str:
    """What of a recipe none of diffusers' pipelines does; "" if one does all of it."""
    kinds = _kinds_of_networks(parts)
    if recipe.pix2pix:
        return "pix2pix-turbo"
    if "T2IAdapter" in kinds:
        return "an image and T2I-Adapters"
    return "ControlNets beside ControlNet-Unions" if len(kinds) > 1 else ""


def _kinds_of_networks(parts: Components) -> set[str]:
    """The classes of the control networks."""
    return {type(network).__name__ for network in parts.controlnets.values()}


def _single(blend: Blend) -> str:
    return str(blend.parts[0][0])


def _encode_to_mean(vae: Any) -> None:
    """Let the VAE return the mean of its latents instead of a random sample."""
    if not isinstance(vae, diffusers.AutoencoderKL):
        return
    encode = vae.encode

    def encode_still(*arguments: Any, **named: Any) -> Any:
        output = encode(*arguments, **named)
        distribution = output.latent_dist
        distribution.sample = lambda generator=None: distribution.mode()
        return output

    vae.encode = encode_still


def _image_encoder(parts: Components) -> dict[str, Any]:
    """The image encoder of a pipeline: diffusers has one for all image prompts."""
    encoder = next(iter(parts.image_encoders), None)
    return {"image_encoder": encoder, "feature_extractor": None if encoder is None else feature_extractor(encoder)}
