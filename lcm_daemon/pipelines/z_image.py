"""Z-Image-Turbo (arXiv:2511.22699): a transformer of one stream for picture and prompt, and Qwen 3.

The results are those of diffusers' ZImagePipeline and ZImageImg2ImgPipeline without guidance, which is part of the
weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_z_image import SEQ_MULTI_OF, ZImageTransformer2DModel
from torch import Tensor, nn
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from lcm_daemon.pipelines.chat_prompts import hidden_states, read_chat_tokenizer, tokenize_chat
from lcm_daemon.pipelines.denoiser import Denoiser
from lcm_daemon.pipelines.language_prompts import LanguagePrompts
from lcm_daemon.pipelines.model_parts import ModelParts
from lcm_daemon.pipelines.prompts import TokenRows

if TYPE_CHECKING:
    from lcm_daemon.pipelines.components import Components

MOST_TOKENS = 512  # of a prompt in its chat template (max_sequence_length of diffusers' pipelines)
PATCH = 2  # latents in a token, in each direction


class ZImage(ModelParts):
    """The parts of the family."""

    denoisers: Mapping[str, Any] = {"ZImageTransformer2DModel": ZImageTransformer2DModel}
    vaes: Mapping[str, Any] = {"AutoencoderKL": AutoencoderKL}
    text_encoders: Mapping[str, Any] = {"Qwen3ForCausalLM": Qwen3Model, "Qwen3Model": Qwen3Model}

    def read_tokenizer(self, folder: Path) -> Any:
        return read_chat_tokenizer(folder)

    def make_denoiser(self, model: Any) -> ZImagePass:
        return ZImagePass(model)

    def make_prompts(self, components: Components) -> ZImagePrompts:
        return ZImagePrompts(components)


class ZImagePass(Denoiser):
    """One forward pass of a `ZImageTransformer2DModel`.

    diffusers pads a prompt to whole chunks of tokens inside of the transformer, whose work then depends on the length
    of the prompt. Here prompts come padded, so that all prompts of as many chunks launch the same kernels: the layer
    that embeds them is called first, and padding is replaced by what the model has learned for it.
    """

    inputs = ("weights",)

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        if not isinstance(transformer.cap_embedder, _Passing):
            transformer.cap_embedder = _Passing(transformer.cap_embedder)
        self.transformer, self.embedder = transformer, transformer.cap_embedder.layers
        self.channels = int(transformer.config.in_channels)

    def count_tokens(self, shape: tuple[int, int, int]) -> int:
        return (shape[1] // PATCH) * (shape[2] // PATCH)

    def forward(self, sample: Tensor, timestep: Tensor, states: Tensor, scale: Tensor | None = None,
                *inputs: Tensor | None) -> Tensor:
        """As of `Denoiser`. inputs: the weights of the prompt's tokens, float32 (n, tokens)."""
        (weights,) = inputs
        assert weights is not None
        prompts = torch.lerp(self.transformer.cap_pad_token, self.embedder(states), weights[..., None].to(states.dtype))
        # The model counts time from noise to image, and predicts image - noise.
        outputs = self.transformer(list(sample[:, :, None]), 1.0 - timestep.expand(len(sample)), list(prompts),
                                   return_dict=False)[0]
        return -torch.stack(list(outputs))[:, :, 0]


class _Passing(nn.Module):
    """The place of layers that were called before. What they have made passes unchanged."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, made: Tensor) -> Tensor:
        return made


class ZImagePrompts(LanguagePrompts):
    """Prompts of Z-Image, in chunks of 32 tokens. Emphasis has no effect."""

    def __init__(self, parts: Components) -> None:
        super().__init__(parts, SEQ_MULTI_OF)

    def _rows(self, text: str) -> TokenRows:
        tokenizer = self._encoders[0].tokenizer
        numbers, mask = tokenize_chat(tokenizer, text, MOST_TOKENS, thinking=True, padded=False)
        return self._token_rows(numbers, [float(one) for one in mask])

    def _states(self, numbers: Tensor) -> Tensor:
        return hidden_states(self._encoders[0].model, numbers)[-2]
