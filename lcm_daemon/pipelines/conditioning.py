"""Conditioning: what steers the UNet beside the picture: prompts, how firmly they are followed, image prompts.

Whatever does not change from frame to frame is kept. All of it stands in tensors that keep their place in memory, so
that a captured graph sees what the next frame is told.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Size
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.prompts import Embedding, PromptEncoder

SCALES_KEPT = 64


@dataclass(frozen=True)
class Steering:
    """What one frame's passes are told. n is 2 with classifier-free guidance (the negative prompt first), else 1.

    states: (n, tokens, width).   pooled: (n, width), ids: (n, 6): SDXL's.   scale: (1, time_cond_proj_dim).
    image: (n, 1, 2 * tokens, width).   guidance: float32 (1,), by which the two passes are weighed.   None is left out.
    """

    states: Tensor
    pooled: Tensor | None = None
    ids: Tensor | None = None
    scale: Tensor | None = None
    image: Tensor | None = None
    guidance: Tensor | None = None

    @property
    def count(self) -> int:
        """Pictures in one pass."""
        return len(self.states)

    @property
    def shape(self) -> tuple[torch.Size | None, ...]:
        """Equal for steerings that fit into the same tensors."""
        return tuple(None if one is None else one.shape for one in self._tensors())

    def copy(self, other: Steering) -> None:
        """Take over what `other`, of the same shape, says."""
        for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):
            if mine is not None and theirs is not None and mine is not theirs:
                mine.copy_(theirs)

    def clone(self) -> Steering:
        return Steering(*(None if one is None else one.clone() for one in self._tensors()))  # type: ignore[arg-type]

    def _tensors(self) -> Iterable[Tensor | None]:
        return (getattr(self, field.name) for field in fields(self))


class Conditioning:
    """Makes the steering of each frame.

    guidance: "none", "embedded" or "classifier_free", as the recipe says.   size: (width, height) of rendering.
    """

    def __init__(self, components: Components, guidance: str, size: Size) -> None:
        self._parts, self._guidance = components, guidance
        self._width: int | None = components.unet.config.time_cond_proj_dim
        if (self._width is not None) != (guidance == "embedded"):
            has = "takes" if self._width else "does not take"
            raise RecipeError(f"the UNet {has} its guidance as an input, and the recipe says guidance: {guidance}")
        self.prompts = PromptEncoder(components)
        self._ids = torch.tensor([[size[1], size[0], 0, 0, size[1], size[0]]], device=components.device,
                                 dtype=components.dtype)  # SDXL: original size, crop, target size
        self._weight = torch.empty(1, device=components.device)
        self._steerings: dict[tuple[torch.Size | None, ...], Steering] = {}
        self.scale = functools.lru_cache(maxsize=SCALES_KEPT)(self._scale)

    def steer(self, values: Values, image: Tensor | None = None) -> Steering:
        """The steering under these parameters, in the place where the one of that shape always is.

        image: (2, 1, 2 * tokens, width), an image prompt after its negative; without guidance the second counts.
        """
        guidance = float(values["guidance"])
        positive = self._positive(values)
        if self._guidance == "classifier_free" and guidance > 1.0:
            # Away from the negative prompt (Ho & Salimans, arXiv:2207.12598); at 1 and below the pass is saved.
            negative = _texts(values["negative_prompt"])
            told = self._steering(self.prompts.pair(negative, positive), image)
            told = Steering(**{**vars(told), "guidance": self._weight.fill_(guidance)})
        else:
            told = self._steering(self.prompts.embed(positive), None if image is None else image[1:])
            if self._guidance == "embedded":
                told = Steering(**{**vars(told), "scale": self.scale(guidance)})
        shape = told.shape
        if shape not in self._steerings:
            self._steerings[shape] = told.clone()
        self._steerings[shape].copy(told)
        return self._steerings[shape]

    def _steering(self, prompt: Embedding, image: Tensor | None) -> Steering:
        ids = None if prompt.pooled is None else self._ids.expand(len(prompt.states), -1)
        return Steering(prompt.states, prompt.pooled, ids, image=image)

    def _positive(self, values: Values) -> list[tuple[str, float]]:
        """The prompt, or what lies between it and the second one."""
        share = float(values["blend"])
        first, second = _texts(values["prompt"]), _texts(values["prompt_b"])
        if not any(text for text, _ in second):
            return first
        # A text of share 0 has no say, but it is encoded ahead of the fader's first move.
        return [(text, weight * (1 - share)) for text, weight in first] + [(text, weight * share)
                                                                           for text, weight in second]

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
        return waves[None].to(self._parts.device, self._parts.dtype)


def _texts(value: Any) -> list[tuple[str, float]]:
    return [(str(text), share) for text, share in Blend.of(value).parts]
