"""LatentConsistency: encode, denoise in a few steps, decode. Image to image, or from the prompt alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.accelerators import upgrade
from lcm_daemon.pipelines.accelerators.base import Features
from lcm_daemon.pipelines.accelerators.folding import fold_vae
from lcm_daemon.pipelines.accelerators.manager import Acceleration
from lcm_daemon.pipelines.accelerators.upsampling import fold_upsampling
from lcm_daemon.pipelines.base import Pipeline, Progress, Report
from lcm_daemon.pipelines.components import Components, load_components
from lcm_daemon.pipelines.conditioning import Conditioning, Steering
from lcm_daemon.pipelines.controlnet import Guides
from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
from lcm_daemon.pipelines.denoise_loop import Denoising
from lcm_daemon.pipelines.image_io import Canvas
from lcm_daemon.pipelines.image_prompt import ImagePrompt, read_adapter
from lcm_daemon.pipelines.noise import MAX_STEPS, Noise
from lcm_daemon.pipelines.safety import Safety
from lcm_daemon.pipelines.sampler import Sampler
from lcm_daemon.pipelines.temporal import Feedback, Similarity, Smooth
from lcm_daemon.pipelines.unet import Denoiser
from lcm_daemon.pipelines.vae import Codec
from lcm_daemon.recipes.recipe import Recipe

# Below this strength (one of the 50 levels that latent consistency models are distilled on) nothing is repainted; the
# picture would be the input as the VAE blurs it. The input itself is faded in there, so that strength 0 is the input
# untouched and the fader has no jump on the way to it.
ENTRY = 0.02
WARM_UP = 2  # frames a mode: the first allocates and picks kernels, the second proves it
RECORDED = WARM_UP + WARM_UPS + 1  # and where frames are recorded, until the first one that only launches


@dataclass(frozen=True)
class _Way:
    """What decides which kernels a frame launches; everything else is in tensors."""

    mode: str
    steps: int
    looks_back: bool
    averages: bool


Loading = Callable[[Recipe, torch.device, torch.dtype, Progress], Components]


class LatentConsistency(Pipeline):
    """Any Stable Diffusion 1.x, 2.x or XL model that paints in one to eight steps.

    loading: where its parts come from; the bench gives random ones.
    """

    def __init__(self, recipe: Recipe, size: Size, loading: Loading = load_components) -> None:
        super().__init__(recipe, size)
        self._loading = loading

    @torch.inference_mode()
    def _load(self, progress: Progress) -> Report:
        recipe = self.recipe
        device = devices.choose_device(recipe)
        devices.prepare(device)
        dtype = devices.choose_dtype(recipe, device)
        if recipe.stream_batch and recipe.controlnets:
            raise RecipeError(f"recipe {recipe.name}: stream_batch has frames at all steps at once, and ControlNets "
                              "see one: leave one of them out")
        parts = self._loading(recipe, device, dtype, progress)
        self.components, codec = parts, Codec(parts.vae)
        shape = self._shape(parts.unet.config.in_channels, codec)
        _fold(parts, shape)
        self._image_prompt = ImagePrompt(parts, recipe, read_adapter(recipe)) if recipe.image_prompt else None
        self._accelerate(codec, device, progress)
        self._loaded_weights = {lora.name: lora.weight for lora in recipe.loras if lora.name}
        self.conditioning = Conditioning(parts, recipe.guidance, recipe.size)
        self.sampler = Sampler(recipe.sampler, parts.schedule)
        self._guides = Guides(parts, recipe, recipe.size)
        self._canvas = Canvas(self.size, recipe.size, device, dtype)
        self._second = Canvas(self.size, recipe.size, device, dtype)  # of the guide, the show's second source
        self._noise = Noise(*shape, device)
        self._denoising = Denoising(self._denoiser, self._guides, shape, device, dtype, recipe.stream_batch)
        self._factors = torch.zeros(1 + MAX_STEPS, 4, device=device)
        self._feedback, self._smooth = Feedback(recipe.size, device), Smooth(shape, device)
        self._amounts = torch.zeros(2, device=device)  # of these two
        self._similarity, self._painted = Similarity(), solid(self.size)
        # A stream batch keeps count of its frames outside the device, and ControlNets of their looks.
        recorded = device.type == "cuda" and recipe.accelerate != "none" and not recipe.stream_batch
        self._graphs = CudaGraphs(device) if recorded else None
        self._safety = Safety(recipe, self.size, device, dtype) if recipe.safety else None
        self._watch = devices.Stopwatch(device)
        self._warm_up(progress)
        self.acceleration.loading = False
        precision = str(dtype).removeprefix("torch.")
        return Report(recipe.name, devices.describe(device), precision, recipe.size, upgrade(device))

    @torch.inference_mode()
    def _render(self, pixels: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        mode, steps = str(values["mode"]), int(values["steps"])
        strength = float(values["strength"]) if mode == "image" else 1.0
        mix = float(values["mix"]) * min(strength / ENTRY, 1.0)
        if mix <= 0.0:
            np.copyto(out, pixels)
            self._canvas.forget()
            if self._safety:
                self._safety.passed(out)
            return {}
        if self._similarity.skip(pixels, values, guide):
            self._safety.show(out) if self._safety else np.copyto(out, self._painted)
            return {}
        self._watch.start()
        picture = self._canvas.read(pixels)
        image = self._image_prompt.look(picture, values) if self._image_prompt else None
        steering = self._prepare(values, steps, strength, image)
        self._look(picture, guide, values)
        self._show(self._paint(picture, steering, steps, values), mix, out)
        self._watch.mark("decode")
        if float(values["similarity_skip"]) > 0.0:
            np.copyto(self._painted, out)
        return self._watch.seconds()

    def _show(self, painted: Tensor, mix: float, out: Pixels) -> None:
        """Out with it, if it may be seen."""
        whole = self._canvas.write(painted, mix, out)
        if self._safety and whole:
            self._safety.check(painted, out)
        elif self._safety:  # the canvas has put there what it wrote last, which nobody may have judged safe
            self._safety.show(out)

    def _paint(self, picture: Tensor, steering: Steering, steps: int, values: Values) -> Tensor:
        """The frame itself, (1, 3, h, w) from -1 to 1; on CUDA one launch, once its way of painting is recorded."""
        way = _Way(str(values["mode"]), steps, float(values["feedback"]) > 0.0, float(values["smooth"]) > 0.0)
        guided = way.mode != "text" and any(guide.weight > 0.0 for guide in self._guides.guides)
        if self._graphs is None or guided:
            return self._run(picture, steering, way, self._watch.mark)
        key = (way, steering.shape, self.acceleration.swaps, self.acceleration.bypassed)
        return self._graphs.run(key, lambda: self._run(picture, steering, way, lambda part: None))

    def _run(self, picture: Tensor, steering: Steering, way: _Way, mark: Callable[[str], None]) -> Tensor:
        """Reads and writes nothing but tensors that stay where they are."""
        feedback, smooth = self._amounts
        if way.mode == "image":
            self._feedback.mix(picture, feedback) if way.looks_back else self._feedback.forget()
            self._denoising.latents.copy_(self._encoder(picture))
        mark("encode")
        latents = self._denoising.run(steering, way.steps, self._factors, self._noise.values,
                                      text=way.mode != "image", guided=way.mode != "text")
        self._smooth.average(latents, smooth) if way.averages else self._smooth.forget()
        mark("denoise")
        painted = self._decoder(latents)
        if way.looks_back:
            self._feedback.keep(painted)
        return painted

    def _prepare(self, values: Values, steps: int, strength: float, image: Tensor | None) -> Steering:
        """Put everything that this frame's passes read where they read it."""
        weights = _weights_of(values, "lora/")
        self.acceleration.follow(moved=weights != self._loaded_weights)
        if self.components.loras.set(weights):
            self.conditioning.prompts.forget()
        self._factors.copy_(self.sampler.plan(steps, strength, text=values["mode"] != "image").tensor)
        self._amounts.copy_(torch.tensor([float(values["feedback"]), float(values["smooth"])]))
        self._make_noise(values, steps)
        return self.conditioning.steer(values, image)

    def _look(self, picture: Tensor, guide: Pixels | None, values: Values) -> None:
        """Show the ControlNets what they follow; painting from the prompt alone is without them."""
        if self._guides.guides and values["mode"] != "text":
            self._guides.look(picture, None if guide is None else self._second.read(guide), values)

    def _make_noise(self, values: Values, steps: int) -> None:
        seeds = [(int(seed), share) for seed, share in Blend.of(values["seed"]).parts]
        if values["noise"] == "walking":
            self._noise.walk(seeds, float(values["noise_speed"]), time.perf_counter(), steps)
        else:
            self._noise.blend(seeds, steps)

    def _accelerate(self, codec: Codec, device: torch.device, progress: Progress) -> None:
        """The three modules that a frame runs, each as fast as this machine makes it, as soon as that is ready."""
        features = Features(live_weights=bool(self.components.loras.names))
        self.acceleration = Acceleration(self.recipe.accelerate, device, features, progress)
        self._encoder = self.acceleration.accelerate("encoder", codec.encoder)
        self._denoiser = self.acceleration.accelerate("denoiser", Denoiser(self.components.unet))
        self._decoder = self.acceleration.accelerate("decoder", codec.decoder)

    def _shape(self, channels: int, codec: Codec) -> tuple[int, int, int]:
        """Of the latents: (channels, height, width)."""
        name, factor = self.recipe.name, codec.factor
        if channels != codec.channels:
            raise RecipeError(f"recipe {name}: UNet of {channels} channels, VAE of {codec.channels}")
        width, height = self.recipe.size
        if width % factor or height % factor:
            raise RecipeError(f"recipe {name}: size {width}x{height} is not in multiples of {factor} pixels")
        return channels, height // factor, width // factor

    def _warm_up(self, progress: Progress) -> None:
        """Render what a show is likely to ask for, so that the first real frame is as fast as any.

        Every number of steps runs the same forward pass, so one step stands for all of them; but each is a recording
        of its own, and a stream batch has as many pictures in a pass. A picture goes first, for it runs all three
        modules: what is compiled while the second mode warms up would take the first one's recording with it.
        """
        start: Values = self.recipe.start() | {"mix": 1.0, "strength": 1.0}
        frames = RECORDED if self._graphs else WARM_UP
        if self._graphs is None and not self.recipe.stream_batch:
            start = {**start, "steps": 1}
        picture, out = solid(self.size), solid(self.size)
        for mode in ("image", "text"):
            progress(f"warming up {mode}")
            begun = time.perf_counter()
            for _ in range(frames):
                self._render(picture, {**start, "mode": mode}, out, None)
            progress(f"warm: {(time.perf_counter() - begun) / frames * 1000:.0f} ms a frame")
        self._forget()

    def _forget(self) -> None:
        """Nothing of what was painted to warm up is seen or mixed into what comes, and a walk begins at its seed."""
        for kept in (self._noise, self._denoising, self._feedback, self._smooth, self._canvas):
            kept.forget()
        if self._safety:
            self._safety.forget()


def _fold(parts: Components, shape: tuple[int, int, int]) -> None:
    """Fewer operations for the same pictures. Only for the CPU are they known to be faster."""
    fold_vae(parts.vae)
    if parts.device.type != "cpu":
        return
    fold_upsampling(parts.vae.decoder)
    levels = len(parts.unet.config.block_out_channels)
    if not any(side % (1 << levels - 1) for side in shape[1:]):  # else it asks for sizes that are not the double
        fold_upsampling(parts.unet, kept=parts.loras.layers)


def _weights_of(values: Values, path: str) -> dict[str, float]:
    """The numbers below a path: {"neon": 0.5} for "lora/neon"."""
    return {name.removeprefix(path): float(value) for name, value in values.items() if name.startswith(path)}
