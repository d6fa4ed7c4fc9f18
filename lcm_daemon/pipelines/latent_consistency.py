"""LatentConsistency: encode, denoise in a few steps, decode. Image to image, or from the prompt alone."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import torch

from lcm_daemon.errors import RecipeError
from lcm_daemon.frame import Pixels, solid
from lcm_daemon.parameters import TABLE, Value
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.base import Pipeline, Progress, Report
from lcm_daemon.pipelines.canvas import Canvas
from lcm_daemon.pipelines.components import Codec, load_components
from lcm_daemon.pipelines.conditioning import Conditioning
from lcm_daemon.pipelines.sampler import Noise, Sampler, denoise

# Below this strength (one of the 50 levels that latent consistency models are distilled on) nothing is repainted; the
# picture would be the input as the VAE blurs it. The input itself is faded in there, so that strength 0 is the input
# untouched and the fader has no jump on the way to it.
ENTRY = 0.02
WARM_UP = 2  # frames a mode: the first allocates and picks kernels, the second proves it


class LatentConsistency(Pipeline):
    """Any Stable Diffusion 1.x or 2.x model that paints in one to eight steps.

    Reads these parameters: prompt, negative_prompt, guidance, strength, steps, seed, mode, mix.
    """

    @torch.inference_mode()
    def _load(self, progress: Progress) -> Report:
        recipe = self.recipe
        device = devices.choose_device(recipe)
        devices.prepare(device)
        dtype = devices.choose_dtype(recipe, device)
        parts = load_components(recipe, device, dtype, progress)
        self.components, self._codec = parts, Codec(parts)
        shape = self._shape(parts.unet.config.in_channels)
        self.conditioning = Conditioning(parts, recipe.guidance, shape)
        self.sampler = Sampler(recipe.sampler, parts.schedule)
        self._canvas = Canvas(self.size, recipe.size, device, dtype)
        self._noise = Noise(*shape, device)
        self._sample = torch.empty(1, *shape, device=device)
        self._timestep = torch.empty(1, device=device)
        self._watch = devices.Stopwatch(device)
        self._warm_up(progress)
        return Report(recipe.name, devices.describe(device), str(dtype).removeprefix("torch."), recipe.size)

    @torch.inference_mode()
    def _render(self, pixels: Pixels, values: Mapping[str, Value], out: Pixels) -> dict[str, float]:
        image = values["mode"] == "image"
        strength = float(values["strength"]) if image else 1.0
        mix = float(values["mix"]) * min(strength / ENTRY, 1.0)
        if mix <= 0.0:
            np.copyto(out, pixels)
            return {}
        self._watch.start()
        picture = self._canvas.read(pixels)
        if image:
            self._sample.copy_(self._codec.encode(picture))
        self._watch.mark("encode")
        plan = self.sampler.plan(int(values["steps"]), strength, text=not image)
        denoise(self.conditioning.predictor(values), plan, self._sample, self._noise.seed(int(values["seed"])),
                self._timestep)
        self._watch.mark("denoise")
        self._canvas.write(self._codec.decode(self._sample.to(picture.dtype)), mix, out)
        self._watch.mark("decode")
        return self._watch.seconds()

    def _shape(self, channels: int) -> tuple[int, int, int]:
        """Of the latents: (channels, height, width)."""
        name, factor = self.recipe.name, self._codec.factor
        if channels != self._codec.channels:
            raise RecipeError(f"recipe {name}: UNet of {channels} channels, VAE of {self._codec.channels}")
        width, height = self.recipe.size
        if width % factor or height % factor:
            raise RecipeError(f"recipe {name}: size {width}x{height} is not in multiples of {factor} pixels")
        return channels, height // factor, width // factor

    def _warm_up(self, progress: Progress) -> None:
        """Render what a show is likely to ask for, so that the first real frame is as fast as any.

        Every number of steps runs the same forward pass, so one step stands for all of them.
        """
        start = {p.name: p.default for p in TABLE.values()} | dict(self.recipe.parameters) | {"steps": 1, "mix": 1.0}
        picture, out = solid(self.size), solid(self.size)
        for mode in ("text", "image"):
            progress(f"warming up {mode}")
            begun = time.perf_counter()
            for _ in range(WARM_UP):
                self._render(picture, start | {"mode": mode, "strength": 1.0}, out)
            progress(f"warm: {(time.perf_counter() - begun) / WARM_UP * 1000:.0f} ms a frame")
