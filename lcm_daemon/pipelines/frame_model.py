"""FrameModel: the parts of a loaded model, and the way of a frame through them.

A frame has two halves. `prepare` runs on the host in every frame: it decides which kernels the frame launches, and
writes numbers. `run` launches them. On CUDA `run` is recorded, and later frames with an equal plan only replay the
recording. So `run` branches on the plan alone, reads and writes tensors that keep their address, and reads nothing from
the device. What changes rarely (the weights of LoRAs, a prompt) has work of its own: `changes`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.accelerators.base import Features
from lcm_daemon.pipelines.accelerators.low_rank import live_form
from lcm_daemon.pipelines.accelerators.manager import AcceleratorManager
from lcm_daemon.pipelines.base import FrameValues, Progress
from lcm_daemon.pipelines.components import ComponentsLoader
from lcm_daemon.pipelines.conditioning import Conditioner, Conditioning, positive_prompt
from lcm_daemon.pipelines.controlnet import ControlNets, ControlPlan
from lcm_daemon.pipelines.denoise_loop import DenoiseLoop
from lcm_daemon.pipelines.device import openvino_device
from lcm_daemon.pipelines.image_prompt import ImagePrompts, read_adapters
from lcm_daemon.pipelines.inpainting import Inpainting
from lcm_daemon.pipelines.kept_keys import KeptKeys
from lcm_daemon.pipelines.model_parts import parts_of
from lcm_daemon.pipelines.noise import MAX_STEPS, Noise
from lcm_daemon.pipelines.numbers import Numbers
from lcm_daemon.pipelines.prompt_tags import PromptLoras
from lcm_daemon.pipelines.recorded_noise import RecordedNoise
from lcm_daemon.pipelines.samplers import make_sampler
from lcm_daemon.pipelines.session_memory import Remembering
from lcm_daemon.pipelines.steadiness import Steadiness
from lcm_daemon.pipelines.temporal import FrameFeedback, LatentSmoothing
from lcm_daemon.pipelines.vae import VaeCodec
from lcm_daemon.recipes.recipe import Recipe

Mark = Callable[[str], None]  # marks the end of a part of the frame: "encode", "denoise"
# Accelerators that leave the UNet's projections of the prompt as they are. What others compile computes them itself.
KEEPS_KEYS = ("none", "fused")
_OF_INPAINTING = 9  # channels of such a UNet: the latents, those of the masked image, and the mask

Work = tuple[Hashable, Callable[[], Any]]  # a key of what it launches, and the work; None: it must not be recorded


@dataclass(frozen=True)
class FramePlan:
    """Everything that decides which kernels a frame launches. All other values are in tensors.

    passes: As `DenoiseLoop.prepare` returns it.
    embeds: As `ImagePrompts.prepare` returns it.
    inpaints: As `Inpainting.prepare` returns it.
    steadies: As `Steadiness.prepare` returns it.
    """

    mode: str
    steps: int
    has_feedback: bool
    has_smoothing: bool
    passes: int
    controls: ControlPlan
    conditioning: Conditioning
    embeds: tuple[bool, ...]
    inpaints: bool = False
    steadies: bool = False

    @property
    def uses_guide(self) -> bool:
        """Whether `run` needs the guide's image."""
        return self.controls.uses_guide or self.inpaints

    @property
    def key(self) -> Hashable:
        """Equal for plans whose frames launch the same kernels on the same memory."""
        return (self.mode, self.steps, self.has_feedback, self.has_smoothing, self.passes, self.controls,
                self.conditioning.shape, self.embeds, self.inpaints, self.steadies)


class FrameModel:
    """A loaded model. Loading happens in `__init__`.

    Args:
        recipe: The recipe.
        loader: Where the model's parts come from.
        device: Where it runs.
        dtype: Its precision.
        progress: Called with what is being loaded.
        always: Feedback and smoothing always run, so that a fader that leaves 0 needs no other recording.
        tuned: As of `Features`.
        beside: As of `Features`.

    Attributes:
        components: The model's parts.
        acceleration: The compilers of the three modules that a frame runs.
        conditioner: Makes the UNet's inputs beside the latents.
        sampler: Makes the step plans.
        controlnets: The recipe's.
        noise: The random tensors that frames start from.
        numbers: What a frame reads as numbers. Send them after `prepare`.
        size: Render size, (width, height).
        remembering: The parts that remember something from frame to frame.
    """

    def __init__(self, recipe: Recipe, loader: ComponentsLoader, device: torch.device, dtype: torch.dtype,
                 progress: Progress, always: bool, tuned: bool = False, beside: bool = False) -> None:
        self.size = recipe.size
        self.components = loader(recipe, device, dtype, progress)
        family = parts_of(self.components.family)
        codec, denoiser = family.make_codec(self.components.vae), family.make_denoiser(self.components.unet)
        shape, self._codec = _latent_shape(recipe, denoiser.channels, codec), codec
        family.fold(self.components, shape)
        self._loaded_weights = {lora.name: lora.weight for lora in recipe.loras if lora.name}
        self._prompt_loras = PromptLoras(recipe.loras)
        self.numbers = Numbers(device)
        self.components.loras.use(self.numbers)
        self._image_prompts: ImagePrompts | None = None
        if recipe.all_image_prompts:
            self._image_prompts = ImagePrompts(self.components, recipe, read_adapters(recipe), self.numbers)

        # The three modules that a frame runs, each as fast as this machine makes it, as soon as that is ready.
        loras = self.components.loras
        features = Features(live_weights=bool(loras.names), moving=loras.layers, tuned=tuned, beside=beside,
                            int8=self.components.int8 if recipe.dtype == "auto" else {},
                            openvino_device=openvino_device(recipe))
        self.acceleration = AcceleratorManager(recipe.accelerate, device, features, progress)
        self._encoder = self.acceleration.accelerate("encoder", codec.encoder, moves=False)
        self._kept: KeptKeys | None = None
        if (always and not recipe.stream_batch and self.acceleration.choices[0].name in KEEPS_KEYS
                and family.projects_prompt):
            self._kept = KeptKeys(self.components.unet)
        low_rank = loras.low_rank(denoiser)
        unet = self.acceleration.accelerate("denoiser", denoiser, moves=loras.moves(denoiser),
                                            make_live=lambda: live_form(denoiser, low_rank, lambda: loras.weights))
        self._decoder = self.acceleration.accelerate("decoder", codec.decoder, moves=False)

        self.conditioner = Conditioner(self.components, denoiser, family.make_prompts(self.components), recipe.guidance,
                                       recipe.size, self.numbers)
        self.sampler = make_sampler(recipe.sampler, self.components.schedule, denoiser.count_tokens(shape))
        self.controlnets = ControlNets(self.components, recipe, recipe.size, self.numbers, recorded=always)
        self._denoise_loop = DenoiseLoop(
            unet, denoiser.inputs, self.controlnets, shape, device, dtype, recipe.stream_batch)
        self.noise = RecordedNoise(*shape, device, self.numbers) if always else Noise(*shape, device)
        self._always, self._is_stream = always, recipe.stream_batch
        self._feedback = FrameFeedback(recipe.size, device, always)
        self._smoothing = LatentSmoothing(shape, device, always)
        self._steadiness = Steadiness(recipe.size, device, self.numbers, MAX_STEPS - 1 if recipe.stream_batch else 0)
        self._inpainting = Inpainting(shape, self.numbers)
        self._factors = self.numbers.reserve((1 + MAX_STEPS) * 4)  # of the step plan
        self._amounts = self.numbers.reserve(2)  # of feedback and smoothing
        self._states = torch.empty(0)  # the prompts of the frame that was prepared last
        parts = (self.noise, self._denoise_loop, self.controlnets, self._image_prompts, self._feedback, self._smoothing,
                 self._steadiness)
        self.remembering: tuple[Remembering, ...] = tuple(part for part in parts if part is not None)

    def reads_input(self, values: FrameValues) -> bool:
        """Whether a frame of these values needs the input for more than its result is mixed over."""
        return values.mode != "text" or (self._image_prompts is not None and self._image_prompts.reads_input(values))

    def prepare(self, values: FrameValues, strength: float, has_guide: bool) -> FramePlan:
        """Decide what a frame launches, and write its numbers.

        Args:
            values: Those of the frame.
            strength: The one in force.
            has_guide: There is a guide.
        """
        loras = values.loras
        if self._prompt_loras:
            loras = self._prompt_loras.weights(loras, positive_prompt(values))
        self.acceleration.set_weights_moved(loras != self._loaded_weights)
        if self.components.loras.prepare(loras):
            self.conditioner.change_encoders()
        plan = self.sampler.plan(values.steps, strength, text=values.mode != "image")
        self._factors.write(plan.tensor.numpy().ravel())
        self._amounts.write((values.feedback, values.smooth))
        self._feedback.leaves, self._smoothing.leaves = values.feedback > 0.0, values.smooth > 0.0
        self._move_noise(values)
        embeds = self._image_prompts.prepare(values) if self._image_prompts else ()
        conditioning = self.conditioner.prepare(values, self._image_prompts.prompt if self._image_prompts else None)
        self._states = conditioning.states
        return FramePlan(values.mode, values.steps, self._always or values.feedback > 0.0,
                         self._always or values.smooth > 0.0, self._denoise_loop.prepare(values.steps),
                         self.controlnets.prepare(values, conditioning.count, has_guide), conditioning, embeds,
                         not self._is_stream and self._inpainting.prepare(values, plan, has_guide),
                         self._steadiness.prepare(values.steady if values.mode != "text" else 0.0))

    def changes(self) -> Iterator[Work]:
        """Work that has to run before the next `run`, once the numbers are sent. Nothing while nothing changes."""
        loras = self.components.loras.pending()
        if loras is not None:
            yield ("loras", loras[0]), loras[1]
            if self._kept:
                self._kept.change_weights()
        picture = self._image_prompts.pending() if self._image_prompts else None
        if picture is not None:
            yield picture
        prompts = self.conditioner.pending()
        kept = self._kept.pending(self._states, changed=bool(prompts)) if self._kept else []
        yield from _join(prompts, kept)

    def run(self, plan: FramePlan, image: Tensor, guide: Tensor | None, mark: Mark) -> Tensor:
        """Encode, denoise, decode. Reads and writes only tensors that keep their address.

        Args:
            plan: The frame's.
            image: The input, (1, 3, h, w) from -1 to 1. It may be written to.
            guide: The guide, if the plan uses it.
            mark: Called at the end of each part.

        Returns:
            The rendered image, (1, 3, h, w) from -1 to 1, valid until the next call.
        """
        feedback, smooth = self._amounts.tensor
        if self._image_prompts:
            self._image_prompts.run(plan.embeds, image)
        self.controlnets.run(plan.controls, image, guide)
        if plan.inpaints and guide is not None:
            self._inpainting.take(image, guide)
        delay = plan.steps - 1 if self._is_stream else 0
        if plan.steadies:
            motion = self._steadiness.follow(image, delay)
            if plan.has_feedback:
                self._feedback.move(motion)
        if not plan.has_feedback:
            self._feedback.clear()
        if plan.mode == "image":
            if plan.has_feedback:
                self._feedback.mix(image, feedback)
            self._denoise_loop.latents.copy_(self._encoder(image))
            if plan.inpaints:
                self._inpainting.keep(self._denoise_loop.latents)
        else:
            self._codec.forget()
        mark("encode")
        latents = self._denoise_loop.denoise(
            plan.conditioning, plan.steps, self._factors.tensor.view(1 + MAX_STEPS, 4), self.noise.run(plan.steps),
            plan.mode != "image", plan.controls, plan.passes, self._inpainting if plan.inpaints else None)
        if plan.has_smoothing:
            self._smoothing.average(latents, smooth)
        else:
            self._smoothing.clear()
        mark("denoise")
        rendered = self._decoder(latents)
        if plan.steadies:
            rendered = self._steadiness.average(rendered, delay)
        if plan.inpaints:  # last: outside of the mask shows the input as it is now
            rendered = self._inpainting.compose(rendered)
        if plan.has_feedback:
            self._feedback.store(rendered, feedback)
        return rendered

    def _move_noise(self, values: FrameValues) -> None:
        seeds = [(int(seed), share) for seed, share in values.seed.parts]
        if values.noise == "walking":
            self.noise.walk(seeds, values.noise_speed, time.perf_counter(), values.steps)
        else:
            self.noise.blend(seeds, values.steps)


def _join(prompts: Sequence[Work], kept: Sequence[Work]) -> Sequence[Work]:
    """Make one work of the last of `prompts` and of `kept`: a prompt that changes always changes what is kept of it."""
    if not prompts or not kept or prompts[-1][0] is None:
        return [*prompts, *kept]
    (key, write), (_, keep) = prompts[-1], kept[0]

    def both() -> Any:
        write()
        return keep()

    return [*prompts[:-1], (("prompts and keys", key), both)]


def _latent_shape(recipe: Recipe, channels: int, codec: VaeCodec) -> tuple[int, int, int]:
    """(channels, height, width) of the latents."""
    if channels == _OF_INPAINTING:
        raise RecipeError(f"recipe {recipe.name}: its UNet was trained for inpainting ({channels} channels), which is "
                          "not supported; the parameter inpaint works with a plain UNet")
    if channels != codec.channels:
        raise RecipeError(f"recipe {recipe.name}: the denoiser has {channels} channels, the VAE {codec.channels}; "
                          "choose a VAE of the same family")
    width, height = recipe.size
    if width % codec.factor or height % codec.factor:
        raise RecipeError(f"recipe {recipe.name}: size {width}x{height} is not a multiple of {codec.factor} pixels")
    return channels, height // codec.factor, width // codec.factor
