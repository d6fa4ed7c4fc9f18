"""Conditioning: what the UNet is given beside the latents: prompts, guidance scale, image prompts.

Everything that does not change from frame to frame is cached. All of it lies in tensors that keep their address, so
that a captured graph reads the values of the next frame.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.prompts import Embedding, PromptEncoder

SCALES_CACHED = 64


@dataclass(frozen=True)
class Conditioning:
    """Inputs of one frame's UNet passes. n is 2 with classifier-free guidance (the negative prompt first), else 1.

    states: (n, tokens, width), the embedded prompts.
    pooled, ids: (n, width) and (n, 6), for SDXL.
    scale: (1, time_cond_proj_dim), the guidance scale, for UNets that have it as an input.
    image: (n, 1, 2 * tokens, width), the image prompt.
    guidance: float32 (1,), the weight between the two passes of classifier-free guidance.
    None: not used.
    """

    states: Tensor
    pooled: Tensor | None = None
    ids: Tensor | None = None
    scale: Tensor | None = None
    image: Tensor | None = None
    guidance: Tensor | None = None

    @property
    def count(self) -> int:
        """Samples per pass for one image."""
        return len(self.states)

    @property
    def shape(self) -> tuple[torch.Size | None, ...]:
        """Shapes of all tensors. Equal for conditionings that fit into each other's tensors."""
        return tuple(None if one is None else one.shape for one in self._tensors())

    def copy_(self, other: Conditioning) -> None:
        """Copy the contents of `other`, which must have the same shape."""
        for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):
            if mine is not None and theirs is not None and mine is not theirs:
                mine.copy_(theirs)

    def clone(self) -> Conditioning:
        """Copy to new memory."""
        return Conditioning(*(None if one is None else one.clone() for one in self._tensors()))  # type: ignore[arg-type]

    def _tensors(self) -> Iterable[Tensor | None]:
        return (getattr(self, field.name) for field in fields(self))


class Conditioner:
    """Makes the conditioning of each frame.

    Args:
        components: The model's parts.
        guidance: "none", "embedded" or "classifier_free", as in the recipe.
        size: Render size, (width, height).

    Raises:
        RecipeError: The UNet does not support this kind of guidance.
    """

    def __init__(self, components: Components, guidance: str, size: Size) -> None:
        self._components, self._guidance = components, guidance
        self._width: int | None = components.unet.config.time_cond_proj_dim
        if (self._width is not None) != (guidance == "embedded"):
            verb = "takes" if self._width else "does not take"
            raise RecipeError(f"the UNet {verb} its guidance as an input, but the recipe says guidance: {guidance}")
        self.prompts = PromptEncoder(components)
        self._ids = torch.tensor([[size[1], size[0], 0, 0, size[1], size[0]]], device=components.device,
                                 dtype=components.dtype)  # SDXL: original size, crop, target size
        self._weight = torch.empty(1, device=components.device)
        self._by_shape: dict[tuple[torch.Size | None, ...], Conditioning] = {}
        self.scale = functools.lru_cache(maxsize=SCALES_CACHED)(self._scale)

    def condition(self, values: FrameValues, image: Tensor | None = None) -> Conditioning:
        """Make the conditioning for these values. All conditionings of one shape lie in the same memory.

        image: (2, 1, 2 * tokens, width), an image prompt after its negative. Without guidance only the second is used.
        """
        positive = _positive_prompt(values)
        if self._guidance == "classifier_free" and values.guidance > 1.0:
            # Away from the negative prompt (Ho & Salimans, arXiv:2207.12598). At 1 and below the pass is saved.
            embedding = self.prompts.pair(_texts(values.negative_prompt), positive)
            made = self._conditioning(embedding, image)
            made = replace(made, guidance=self._weight.fill_(values.guidance))
        else:
            made = self._conditioning(self.prompts.embed(positive), None if image is None else image[1:])
            if self._guidance == "embedded":
                made = replace(made, scale=self.scale(values.guidance))
        shape = made.shape
        if shape not in self._by_shape:
            self._by_shape[shape] = made.clone()
        self._by_shape[shape].copy_(made)
        return self._by_shape[shape]

    def _conditioning(self, prompt: Embedding, image: Tensor | None) -> Conditioning:
        ids = None if prompt.pooled is None else self._ids.expand(len(prompt.states), -1)
        return Conditioning(prompt.states, prompt.pooled, ids, image=image)

    def _scale(self, guidance: float) -> Tensor:
        """The guidance scale as an input of the UNet, (1, time_cond_proj_dim).

        Sinusoids of w = guidance - 1 times 1000, as in the LCM paper's appendix and diffusers'
        `get_guidance_scale_embedding`; in float32, since half precision cannot tell such angles apart.
        """
        assert self._width is not None
        half = self._width // 2
        frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10000.0) / (half - 1)))
        angles = (guidance - 1.0) * 1000.0 * frequencies
        waves = torch.cat([angles.sin(), angles.cos(), torch.zeros(self._width % 2)])
        return waves[None].to(self._components.device, self._components.dtype)


def _positive_prompt(values: FrameValues) -> list[tuple[str, float]]:
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
