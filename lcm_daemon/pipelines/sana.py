"""SANA-Sprint (Chen et al., arXiv:2503.09641): a linear transformer on latents of a deep autoencoder, and Gemma 2.

The results are those of diffusers' SanaSprintPipeline and SanaSprintImg2ImgPipeline.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.models.transformers.sana_transformer import SanaTransformer2DModel
from numpy.typing import NDArray
from torch import Tensor
from transformers.models.gemma2.modeling_gemma2 import Gemma2Model

from lcm_daemon.pipelines.denoiser import Denoiser
from lcm_daemon.pipelines.language_prompts import LanguagePrompts
from lcm_daemon.pipelines.model_parts import ModelParts
from lcm_daemon.pipelines.prompts import TokenRows

if TYPE_CHECKING:
    from lcm_daemon.pipelines.components import Components

TOKENS = 300  # in an embedding, as in training (max_sequence_length of diffusers' pipelines)
HIDDEN = -1e4  # added to the attention to a token of weight 0, as SanaTransformer2DModel does with a mask

# The text that precedes every prompt: the "complex human instruction" of the model's authors
# (configs/sana_app_config/Sana_1600M_app.yaml in NVlabs/Sana), an argument of diffusers' pipelines. The model was
# trained with this text, so it must not change.
INSTRUCTION = "\n".join((
    "Given a user prompt, generate an 'Enhanced prompt' that provides detailed visual descriptions suitable for image "
    "generation. Evaluate the level of detail in the user prompt:",
    "- If the prompt is simple, focus on adding specifics about colors, shapes, sizes, textures, and spatial "
    "relationships to create vivid and concrete scenes.",
    "- If the prompt is already detailed, refine and enhance the existing details slightly without overcomplicating.",
    "Here are examples of how to transform or refine prompts:",
    "- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat curled up in a round shape, sleeping "
    "peacefully on a warm sunny windowsill, surrounded by pots of blooming red flowers.",
    "- User Prompt: A busy city street -> Enhanced: A bustling city street scene at dusk, featuring glowing street "
    "lamps, a diverse crowd of people in colorful clothing, and a double-decker bus passing by towering glass "
    "skyscrapers.",
    "Please generate only the enhanced description for the prompt below and avoid including any additional commentary "
    "or evaluations:",
    "User Prompt: ",
))


class SanaSprint(ModelParts):
    """The parts of the family."""

    denoisers: Mapping[str, Any] = {"SanaTransformer2DModel": SanaTransformer2DModel}
    vaes: Mapping[str, Any] = {"AutoencoderDC": AutoencoderDC}
    text_encoders: Mapping[str, Any] = {"Gemma2Model": Gemma2Model, "Gemma2ForCausalLM": Gemma2Model}

    def read_tokenizer(self, folder: Path) -> Any:
        from transformers import AutoTokenizer  # the folder says which of Gemma's tokenizers it is

        return AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def make_denoiser(self, model: Any) -> SanaPass:
        return SanaPass(model)

    def make_prompts(self, components: Components) -> SanaPrompts:
        return SanaPrompts(components)


class SanaPass(Denoiser):
    """One forward pass of a `SanaTransformer2DModel` that takes the guidance scale as an input."""

    inputs = ("weights",)

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer
        self.channels = int(transformer.config.in_channels)
        self.guidance_width = int(bool(transformer.config.guidance_embeds))
        self._guidance_scale = float(transformer.config.guidance_embeds_scale)

    def guidance_input(self, guidance: float) -> NDArray[np.float32]:
        return np.array([guidance * self._guidance_scale], np.float32)

    def forward(self, sample: Tensor, timestep: Tensor, states: Tensor, scale: Tensor | None = None,
                *inputs: Tensor | None) -> Tensor:
        """As of `Denoiser`. inputs: the weights of the prompt's tokens, float32 (n, tokens)."""
        (weights,) = inputs
        assert weights is not None
        assert scale is not None
        # A weight scales what the softmax makes of a token, so its logarithm is added before.
        bias = weights.log().clamp_min(HIDDEN).to(sample.dtype)[:, None]
        output: Tensor = self.transformer(
            sample, encoder_hidden_states=states, encoder_attention_mask=bias, guidance=scale[0].expand(len(sample)),
            timestep=timestep.expand(len(sample)), return_dict=False)[0]
        return output


class SanaPrompts(LanguagePrompts):
    """Prompts of SANA-Sprint: lower-case, after `INSTRUCTION`.

    The embedding consists of the first token and the last 299 of the instruction's and 298 more, as in training.
    """

    def __init__(self, parts: Components) -> None:
        super().__init__(parts, TOKENS)

    @functools.cached_property
    def _before(self) -> int:
        """Tokens of the instruction."""
        return len(self._encoders[0].tokenizer.encode(INSTRUCTION))

    def _rows(self, text: str) -> TokenRows:
        numbers, weights = self._weighted_tokens(INSTRUCTION, text, self._before + TOKENS - 2)
        return self._token_rows(numbers, [weights[0], *weights[self._before - 1:]])

    def _states(self, numbers: Tensor) -> Tensor:
        states = self._encoders[0].model(numbers, use_cache=False).last_hidden_state
        return torch.cat([states[:, :1], states[:, self._before - 1:]], dim=1)

    def _pieces(self, text: str) -> Sequence[tuple[str, float]]:
        pieces = [(piece.lower(), weight) for piece, weight in super()._pieces(text)]
        if pieces:
            pieces[0] = pieces[0][0].lstrip(), pieces[0][1]
            pieces[-1] = pieces[-1][0].rstrip(), pieces[-1][1]
        return pieces
