"""Conditioning: what steers the UNet beside the picture: prompts, and how firmly they are followed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import torch

from lcm_daemon.errors import RecipeError
from lcm_daemon.parameters import Value
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.sampler import Predict

PROMPTS_KEPT = 64
SCALES_KEPT = 64


class Conditioning:
    """The UNet under a prompt, with everything that does not change from frame to frame kept.

    guidance: "none", "embedded" or "classifier_free", as the recipe says.
    shape: (channels, height, width) of the latents.
    """

    def __init__(self, components: Components, guidance: str, shape: tuple[int, int, int]) -> None:
        self._parts, self._guidance = components, guidance
        self._width: int | None = components.unet.config.time_cond_proj_dim
        if (self._width is not None) != (guidance == "embedded"):
            has = "takes" if self._width else "does not take"
            raise RecipeError(f"the UNet {has} its guidance as an input, and the recipe says guidance: {guidance}")
        # Two pictures, since classifier-free guidance shows the UNet both prompts at once.
        self._input = torch.empty(2, *shape, device=components.device, dtype=components.dtype,
                                  memory_format=torch.channels_last)
        self.prompt = functools.lru_cache(maxsize=PROMPTS_KEPT)(self._prompt)
        self.pair = functools.lru_cache(maxsize=PROMPTS_KEPT)(self._pair)
        self.scale = functools.lru_cache(maxsize=SCALES_KEPT)(self._scale)

    def predictor(self, values: Mapping[str, Value]) -> Predict:
        """The model's output for a sample at a timestep, under these parameters."""
        return _PREDICTORS[self._guidance](self, values)

    def _plain(self, values: Mapping[str, Value]) -> Predict:
        return functools.partial(self._run, self.prompt(str(values["prompt"])), None)

    def _embedded(self, values: Mapping[str, Value]) -> Predict:
        return functools.partial(self._run, self.prompt(str(values["prompt"])), self.scale(float(values["guidance"])))

    def _classifier_free(self, values: Mapping[str, Value]) -> Predict:
        """Away from the negative prompt (Ho & Salimans, arXiv:2207.12598); at 1 and below the second pass is saved."""
        guidance = float(values["guidance"])
        if guidance <= 1.0:
            return self._plain(values)
        pair = self.pair(str(values["negative_prompt"]), str(values["prompt"]))

        def predict(sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            without, with_prompt = self._run(pair, None, sample, timestep).chunk(2)
            return torch.lerp(without, with_prompt, guidance)

        return predict

    def _run(self, prompt: torch.Tensor, scale: torch.Tensor | None, sample: torch.Tensor,
             timestep: torch.Tensor) -> torch.Tensor:
        pictures = self._input[:len(prompt)]
        pictures.copy_(sample)
        output: torch.Tensor = self._parts.unet(pictures, timestep, encoder_hidden_states=prompt, timestep_cond=scale,
                                                return_dict=False)[0]
        return output

    def _prompt(self, text: str) -> torch.Tensor:
        """(1, tokens, width); longer text is cut at what the text encoder takes."""
        tokenizer, encoder = self._parts.tokenizer, self._parts.text_encoder
        length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        tokens = tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        embedding: torch.Tensor = encoder(tokens.input_ids.to(self._parts.device))[0]
        return embedding.to(self._parts.dtype)

    def _pair(self, negative: str, positive: str) -> torch.Tensor:
        return torch.cat([self.prompt(negative), self.prompt(positive)])

    def _scale(self, guidance: float) -> torch.Tensor:
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


_PREDICTORS: Mapping[str, Callable[[Conditioning, Mapping[str, Value]], Predict]] = {
    "none": Conditioning._plain,
    "embedded": Conditioning._embedded,
    "classifier_free": Conditioning._classifier_free,
}
