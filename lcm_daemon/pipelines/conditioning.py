"""Conditioning: what the UNet is given beside the latents: prompts, guidance scale, image prompts.

All of it lies in tensors that keep their address, so that a captured graph reads the values of the next frame. They are
written only when something changes, and what is a number is sent with the other numbers of the frame.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.denoiser import Denoiser
from lcm_daemon.pipelines.live_prompts import LivePrompts, Pending
from lcm_daemon.pipelines.numbers import Numbers
from lcm_daemon.pipelines.prompts import PromptEncoder

SCALES_CACHED = 64


@dataclass(frozen=True)
class Conditioning:
    """Inputs of one frame's UNet passes. n is 2 with classifier-free guidance (the negative prompt first), else 1.

    states: (n, tokens, width), the embedded prompts.
    pooled, ids: (n, width) and (n, 6), for SDXL.
    scale: float32 (1, time_cond_proj_dim), the guidance scale, for UNets that have it as an input.
    image: (n, 1, 2 * tokens, width), the image prompt.
    weights: (n, tokens), how much each token counts, for families that pad prompts.
    reference: (1, channels, h, w), latents of a picture that the denoiser sees beside the noisy ones.
    guidance: float32 (1,), the weight between the two passes of classifier-free guidance.
    None: not used.
    """

    states: Tensor
    pooled: Tensor | None = None
    ids: Tensor | None = None
    scale: Tensor | None = None
    image: Tensor | None = None
    weights: Tensor | None = None
    reference: Tensor | None = None
    guidance: Tensor | None = None

    @property
    def count(self) -> int:
        """Samples per pass for one image."""
        return len(self.states)

    @property
    def shape(self) -> tuple[torch.Size | None, ...]:
        """Shapes of all tensors. Equal for conditionings that fit into each other's tensors."""
        return tuple(None if one is None else one.shape for one in self._tensors())

    def _tensors(self) -> Iterable[Tensor | None]:
        return (getattr(self, field.name) for field in fields(self))


class Conditioner:
    """Makes the conditioning of each frame.

    Args:
        components: The model's parts.
        denoiser: The model's denoiser.
        prompts: Encodes texts.
        guidance: "none", "embedded" or "classifier_free", as in the recipe.
        size: Render size, (width, height).
        numbers: Where guidance and the shares of prompts are written to.

    Attributes:
        prompts: Encodes texts.

    Raises:
        RecipeError: The denoiser does not support this kind of guidance.
    """

    def __init__(self, components: Components, denoiser: Denoiser, prompts: PromptEncoder, guidance: str, size: Size,
                 numbers: Numbers) -> None:
        self._guidance = guidance
        if bool(denoiser.guidance_width) != (guidance == "embedded"):
            verb = "takes" if denoiser.guidance_width else "does not take"
            raise RecipeError(f"the UNet {verb} its guidance as an input, but the recipe says guidance: {guidance}")
        self.prompts = prompts
        self._live = LivePrompts(self.prompts, numbers, is_cached=components.device.type == "cpu")
        self._ids = torch.tensor([[size[1], size[0], 0, 0, size[1], size[0]]] * 2, device=components.device,
                                 dtype=components.dtype)  # SDXL: original size, crop, target size; for two prompts
        self._weight = numbers.reserve(1)
        self._scale = numbers.reserve(denoiser.guidance_width)
        self._scale_of = functools.lru_cache(maxsize=SCALES_CACHED)(denoiser.guidance_input)

    def prepare(self, values: FrameValues, image: Tensor | None = None) -> Conditioning:
        """Take the values of the next frame, on the host. Call before the numbers are sent.

        image: (2, 1, 2 * tokens, width), an image prompt after its negative. Without guidance only the second is used.

        Returns:
            The conditioning, as it will be after the numbers are sent and `pending` has run. All conditionings of one
            shape lie in the same memory.
        """
        positive = positive_prompt(values)
        if self._guidance == "classifier_free" and values.guidance > 1.0:
            # Away from the negative prompt (Ho & Salimans, arXiv:2207.12598). At 1 and below the pass is saved.
            prompts = self._live.prepare((_texts(values.negative_prompt), positive))
            self._weight.write(values.guidance)
            return Conditioning(prompts.states, prompts.pooled, self._ids_for(prompts.pooled), image=image,
                                weights=prompts.weights, guidance=self._weight.tensor)
        prompts = self._live.prepare((positive,))
        scale = None
        if self._guidance == "embedded":
            self._scale.write(self._scale_of(values.guidance))
            scale = self._scale.tensor[None]
        return Conditioning(prompts.states, prompts.pooled, self._ids_for(prompts.pooled), scale,
                            None if image is None else image[1:], prompts.weights)

    def change_encoders(self) -> None:
        """The text encoders will have changed when `pending` is called: embed the prompts again."""
        self._live.change_encoders()

    def pending(self) -> list[Pending]:
        """What has to run before the next frame, as `LivePrompts.pending`."""
        return self._live.pending()

    def _ids_for(self, pooled: Tensor | None) -> Tensor | None:
        return None if pooled is None else self._ids[:len(pooled)]


def positive_prompt(values: FrameValues) -> list[tuple[str, float]]:
    """The prompt, or its blend with the second prompt."""
    share = values.blend
    first, second = _texts(values.prompt), _texts(values.prompt_b)
    if not any(text for text, _ in second):
        return first
    # A text of share 0 has no effect, but it is encoded before the fader first moves.
    return [(text, weight * (1 - share)) for text, weight in first] + [(text, weight * share)
                                                                       for text, weight in second]


def _texts(blend: Blend) -> list[tuple[str, float]]:
    return [(str(text), share) for text, share in blend.parts]
