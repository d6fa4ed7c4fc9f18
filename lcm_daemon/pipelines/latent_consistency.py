"""LatentConsistency: encode, denoise in a few steps, decode. Image to image, or from the prompt alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lcm_daemon.core.errors import EngineError, RecipeError
from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.accelerators import find_upgrade
from lcm_daemon.pipelines.accelerators.base import Features
from lcm_daemon.pipelines.accelerators.folding import fold_vae
from lcm_daemon.pipelines.accelerators.manager import AcceleratorManager
from lcm_daemon.pipelines.accelerators.upsampling import fold_upsampling
from lcm_daemon.pipelines.base import FrameValues, Pipeline, Progress, Report
from lcm_daemon.pipelines.components import Components, ComponentsLoader, load_components
from lcm_daemon.pipelines.conditioning import Conditioner, Conditioning
from lcm_daemon.pipelines.controlnet import ControlNets
from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
from lcm_daemon.pipelines.denoise_loop import DenoiseLoop
from lcm_daemon.pipelines.image_io import FrameConverter
from lcm_daemon.pipelines.image_prompt import ImagePromptAdapter, read_adapter
from lcm_daemon.pipelines.noise import MAX_STEPS, Noise
from lcm_daemon.pipelines.safety import SafetyFilter
from lcm_daemon.pipelines.sampler import Sampler
from lcm_daemon.pipelines.temporal import FrameFeedback, LatentSmoothing, SimilarityFilter
from lcm_daemon.pipelines.unet import UNetPass
from lcm_daemon.pipelines.vae import VaeCodec
from lcm_daemon.recipes.recipe import Recipe

# Below this strength (one of the 50 levels that latent consistency models are distilled on) nothing is repainted: the
# result would be the input as the VAE blurs it. There the input itself is faded in, so that strength 0 is the untouched
# input and the fader has no jump on the way to it.
FULL_MIX_STRENGTH = 0.02
WARM_UP_FRAMES = 2  # per mode: the first allocates and selects kernels, the second proves it
GRAPH_WARM_UP_FRAMES = WARM_UP_FRAMES + WARM_UPS + 1  # with CUDA graphs: until the first frame that is only launched


@dataclass(frozen=True)
class _Variant:
    """Everything that decides which kernels a frame launches. All other values are in tensors."""

    mode: str
    steps: int
    has_feedback: bool
    has_smoothing: bool


class LatentConsistency(Pipeline):
    """Any Stable Diffusion 1.x, 2.x or XL model that renders in one to eight steps.

    loader: where the model's parts come from. The bench passes one that makes random weights.
    """

    def __init__(self, recipe: Recipe, size: Size, loader: ComponentsLoader = load_components) -> None:
        super().__init__(recipe, size)
        self._loader = loader
        self._renderer: FrameRenderer | None = None

    @property
    def renderer(self) -> FrameRenderer:
        """The loaded model."""
        if self._renderer is None:
            raise EngineError("the pipeline is not loaded")
        return self._renderer

    @torch.inference_mode()
    def _load(self, progress: Progress) -> Report:
        self._renderer = FrameRenderer(self.recipe, self.size, self._loader, progress)
        self._renderer.warm_up(progress)
        return self._renderer.report()

    @torch.inference_mode()
    def _render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        return self.renderer.render(frame, FrameValues.of(values), out, guide)


class FrameRenderer:
    """A loaded model and everything that a frame needs. Loading happens in `__init__`.

    Attributes:
        components: The model's parts.
        acceleration: The compilers of the three modules that a frame runs.
        conditioner: Makes the UNet's inputs beside the latents.
        sampler: Makes the step plans.
    """

    def __init__(self, recipe: Recipe, size: Size, loader: ComponentsLoader, progress: Progress) -> None:
        if recipe.stream_batch and recipe.controlnets:
            raise RecipeError(f"recipe {recipe.name}: stream_batch denoises frames at all steps at once, but a "
                              "ControlNet sees one frame; remove one of the two")
        self.recipe, self.size = recipe, size
        self.device = device = devices.choose_device(recipe)
        devices.configure(device)
        self.dtype = dtype = devices.choose_dtype(recipe, device)

        self.components = loader(recipe, device, dtype, progress)
        codec = VaeCodec(self.components.vae)
        shape = _latent_shape(recipe, self.components.unet.config.in_channels, codec)
        _fold(self.components, shape)
        self._loaded_weights = {lora.name: lora.weight for lora in recipe.loras if lora.name}
        self._image_prompt: ImagePromptAdapter | None = None
        if recipe.image_prompt:
            self._image_prompt = ImagePromptAdapter(self.components, recipe, read_adapter(recipe))

        # The three modules that a frame runs, each as fast as this machine makes it, as soon as that is ready.
        features = Features(live_weights=bool(self.components.loras.names))
        self.acceleration = AcceleratorManager(recipe.accelerate, device, features, progress)
        self._encoder = self.acceleration.accelerate("encoder", codec.encoder)
        unet = self.acceleration.accelerate("denoiser", UNetPass(self.components.unet))
        self._decoder = self.acceleration.accelerate("decoder", codec.decoder)

        self.conditioner = Conditioner(self.components, recipe.guidance, recipe.size)
        self.sampler = Sampler(recipe.sampler, self.components.schedule)
        self._controlnets = ControlNets(self.components, recipe, recipe.size)
        self._denoise_loop = DenoiseLoop(unet, self._controlnets, shape, device, dtype, recipe.stream_batch)
        self._noise = Noise(*shape, device)
        self._factors = torch.zeros(1 + MAX_STEPS, 4, device=device)  # of the step plan
        self._feedback, self._smoothing = FrameFeedback(recipe.size, device), LatentSmoothing(shape, device)
        self._amounts = torch.zeros(2, device=device)  # of feedback and smoothing
        # A stream batch counts its frames on the host, and so do ControlNets with their updates.
        has_graphs = device.type == "cuda" and recipe.accelerate != "none" and not recipe.stream_batch
        self._graphs = CudaGraphs(device) if has_graphs else None

        self._converter = FrameConverter(size, recipe.size, device, dtype)
        self._guide_converter = FrameConverter(size, recipe.size, device, dtype)
        self._similarity, self._last_frame = SimilarityFilter(), solid(size)
        self._safety = SafetyFilter(recipe, size, device, dtype) if recipe.safety else None
        self._stopwatch = devices.Stopwatch(device)

    def report(self) -> Report:
        """Describe the loaded model."""
        precision = str(self.dtype).removeprefix("torch.")
        return Report(self.recipe.name, devices.describe(self.device), precision, self.recipe.size,
                      find_upgrade(self.device))

    def render(self, frame: Pixels, values: FrameValues, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        """Render one frame, as `Pipeline.render`."""
        strength = values.strength if values.mode == "image" else 1.0
        mix = values.mix * min(strength / FULL_MIX_STRENGTH, 1.0)
        if mix <= 0.0:
            self._show_input(frame, out)
            return {}
        if self._similarity.skip(frame, values, guide):
            self._show_last(out)
            return {}
        self._stopwatch.start()
        image = self._converter.to_image(frame)
        conditioning = self._prepare(image, guide, values, strength)
        self._show(self._render_image(image, conditioning, values), mix, out)
        self._stopwatch.mark("decode")
        if values.similarity_skip > 0.0:
            np.copyto(self._last_frame, out)
        return self._stopwatch.seconds()

    def _prepare(self, image: Tensor, guide: Pixels | None, values: FrameValues, strength: float) -> Conditioning:
        """Write everything that this frame's passes read to where they read it."""
        prompt_image = self._image_prompt.update(image, values.image_prompt) if self._image_prompt else None
        self.acceleration.set_weights_moved(values.loras != self._loaded_weights)
        if self.components.loras.set_weights(values.loras):
            self.conditioner.prompts.clear_cache()
        self._factors.copy_(self.sampler.plan(values.steps, strength, text=values.mode != "image").tensor)
        self._amounts.copy_(torch.tensor([values.feedback, values.smooth]))
        self._make_noise(values)
        conditioning = self.conditioner.condition(values, prompt_image)
        if self._controlnets.controlnets and values.mode != "text":
            guide_image = None if guide is None else self._guide_converter.to_image(guide)
            self._controlnets.update(image, guide_image, values)
        return conditioning

    def _make_noise(self, values: FrameValues) -> None:
        seeds = [(int(seed), share) for seed, share in values.seed.parts]
        if values.noise == "walking":
            self._noise.walk(seeds, values.noise_speed, time.perf_counter(), values.steps)
        else:
            self._noise.blend(seeds, values.steps)

    def _render_image(self, image: Tensor, conditioning: Conditioning, values: FrameValues) -> Tensor:
        """Render (1, 3, h, w) from -1 to 1. On CUDA this is one launch, once the variant is recorded."""
        variant = _Variant(values.mode, values.steps, values.feedback > 0.0, values.smooth > 0.0)
        is_controlled = variant.mode != "text" and any(each.weight > 0.0 for each in self._controlnets.controlnets)
        if self._graphs is None or is_controlled:
            return self._run(image, conditioning, variant, self._stopwatch.mark)
        key = (variant, conditioning.shape, self.acceleration.installs, self.acceleration.bypassed)
        return self._graphs.launch(key, lambda: self._run(image, conditioning, variant, lambda part: None))

    def _run(self, image: Tensor, conditioning: Conditioning, variant: _Variant, mark: Callable[[str], None]) -> Tensor:
        """Encode, denoise, decode. Reads and writes only tensors that keep their address."""
        feedback, smooth = self._amounts
        if variant.mode == "image":
            if variant.has_feedback:
                self._feedback.mix(image, feedback)
            else:
                self._feedback.clear()
            self._denoise_loop.latents.copy_(self._encoder(image))
        mark("encode")
        latents = self._denoise_loop.denoise(conditioning, variant.steps, self._factors, self._noise.values,
                                             text=variant.mode != "image", controlled=variant.mode != "text")
        if variant.has_smoothing:
            self._smoothing.average(latents, smooth)
        else:
            self._smoothing.clear()
        mark("denoise")
        rendered = self._decoder(latents)
        if variant.has_feedback:
            self._feedback.store(rendered)
        return rendered

    def _show_input(self, frame: Pixels, out: Pixels) -> None:
        np.copyto(out, frame)
        self._converter.clear()
        if self._safety:
            self._safety.accept(out)

    def _show_last(self, out: Pixels) -> None:
        if self._safety:
            self._safety.show_last(out)
        else:
            np.copyto(out, self._last_frame)

    def _show(self, rendered: Tensor, mix: float, out: Pixels) -> None:
        is_good = self._converter.to_frame(rendered, mix, out)
        if self._safety and is_good:
            self._safety.check(rendered, out)
        elif self._safety:  # `out` holds the last good frame, which may not have passed the safety check
            self._safety.show_last(out)

    def warm_up(self, progress: Progress) -> None:
        """Render what a show is likely to use, so that the first real frame is as fast as any other.

        All numbers of steps run the same forward pass, so one step is enough; but each number has a CUDA graph of its
        own, and a stream batch has as many samples in a pass. Mode "image" comes first, because it runs all three
        modules: what is compiled while the second mode warms up would invalidate the first one's graph.
        """
        start: Values = self.recipe.start_values() | {"mix": 1.0, "strength": 1.0}
        frames = GRAPH_WARM_UP_FRAMES if self._graphs else WARM_UP_FRAMES
        if self._graphs is None and not self.recipe.stream_batch:
            start = {**start, "steps": 1}
        frame, out = solid(self.size), solid(self.size)
        for mode in ("image", "text"):
            progress(f"warming up {mode}")
            begun = time.perf_counter()
            for _ in range(frames):
                self.render(frame, FrameValues.of({**start, "mode": mode}), out, None)
            progress(f"warm: {(time.perf_counter() - begun) / frames * 1000:.0f} ms a frame")
        self._clear()
        self.acceleration.loading = False

    def _clear(self) -> None:
        """Drop every trace of the warm-up: nothing of it is shown or mixed in, and a walk starts at its seed."""
        self._noise.restart_walk()
        for part in (self._denoise_loop, self._feedback, self._smoothing, self._converter):
            part.clear()
        if self._safety:
            self._safety.clear()


def _latent_shape(recipe: Recipe, channels: int, codec: VaeCodec) -> tuple[int, int, int]:
    """(channels, height, width) of the latents."""
    if channels != codec.channels:
        raise RecipeError(f"recipe {recipe.name}: the UNet has {channels} channels, the VAE {codec.channels}; "
                          "choose a VAE of the same family")
    width, height = recipe.size
    if width % codec.factor or height % codec.factor:
        raise RecipeError(f"recipe {recipe.name}: size {width}x{height} is not a multiple of {codec.factor} pixels")
    return channels, height // codec.factor, width // codec.factor


def _fold(components: Components, shape: tuple[int, int, int]) -> None:
    """Save operations without changing the result. This is known to be faster only on the CPU."""
    fold_vae(components.vae)
    if components.device.type != "cpu":
        return
    fold_upsampling(components.vae.decoder)
    levels = len(components.unet.config.block_out_channels)
    if not any(side % (1 << levels - 1) for side in shape[1:]):  # else the UNet upsamples to sizes that are not double
        fold_upsampling(components.unet, kept=components.loras.layers)
