"""FLUX.2 klein: a transformer that sees a reference picture beside the noisy one, and Qwen 3.

The results are those of diffusers' Flux2KleinPipeline. In the mode image the input is the reference. At strength 1 the
picture starts from noise only, as in that pipeline; below, from the noisy input, as with other families.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from lcm_daemon.pipelines.chat_prompts import hidden_states, read_chat_tokenizer, tokenize_chat
from lcm_daemon.pipelines.denoiser import Denoiser
from lcm_daemon.pipelines.model_parts import ModelParts
from lcm_daemon.pipelines.prompts import Embedding, PromptEncoder, TokenRows
from lcm_daemon.pipelines.vae import VaeCodec

if TYPE_CHECKING:
    from lcm_daemon.pipelines.components import Components

# From diffusers' Flux2KleinPipeline: as the model was trained.
TOKENS = 512  # in an embedding
LAYERS = (9, 18, 27)  # of the language model, whose states are a token's embedding, side by side
REFERENCE_TIME = 10  # the first coordinate of the reference's tokens; that of the noisy ones is 0
PATCH = 2  # the VAE's latents in a token, in each direction
TEXTS_CACHED = 16  # 8 MB each


class Flux2Klein(ModelParts):
    """The parts of the family."""

    denoisers: Mapping[str, Any] = {"Flux2Transformer2DModel": Flux2Transformer2DModel}
    vaes: Mapping[str, Any] = {"AutoencoderKLFlux2": AutoencoderKLFlux2}
    text_encoders: Mapping[str, Any] = {"Qwen3ForCausalLM": Qwen3Model, "Qwen3Model": Qwen3Model}

    def read_tokenizer(self, folder: Path) -> Any:
        return read_chat_tokenizer(folder)

    def make_denoiser(self, model: Any) -> Flux2Pass:
        return Flux2Pass(model)

    def make_codec(self, vae: Any) -> PatchedCodec:
        return PatchedCodec(vae)

    def make_prompts(self, components: Components) -> Flux2Prompts:
        return Flux2Prompts(components)


class Flux2Pass(Denoiser):
    """One forward pass of a `Flux2Transformer2DModel` whose guidance is part of its weights."""

    inputs = ("reference",)

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer
        self.channels = int(transformer.config.in_channels)
        self._ids: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}  # of image and text, by their sizes

    def forward(self, sample: Tensor, timestep: Tensor, states: Tensor, scale: Tensor | None = None,
                *inputs: Tensor | None) -> Tensor:
        """As of `Denoiser`. inputs: the latents of the reference, (n, channels, h, w), or None."""
        (reference,) = inputs
        tokens = sample.flatten(2).transpose(1, 2)
        if reference is not None:
            tokens = torch.cat([tokens, reference.flatten(2).transpose(1, 2)], dim=1)
        image_ids, text_ids = self._places(sample, states, reference is not None)
        output = self.transformer(
            tokens, encoder_hidden_states=states, timestep=timestep.expand(len(sample)), img_ids=image_ids,
            txt_ids=text_ids, return_dict=False)[0]
        seen: Tensor = output[:, :sample.shape[2] * sample.shape[3]].transpose(1, 2)
        return seen.reshape(sample.shape)

    def _places(self, sample: Tensor, states: Tensor, has_reference: bool) -> tuple[Tensor, Tensor]:
        """Coordinates (time, row, column, number) of the image's tokens and of the text's. They are kept."""
        height, width, texts = sample.shape[2], sample.shape[3], states.shape[1]
        key = height, width, texts, int(has_reference)
        if key not in self._ids:
            times = (0, REFERENCE_TIME) if has_reference else (0,)
            image = torch.cartesian_prod(torch.tensor(times), *map(torch.arange, (height, width, 1)))
            text = functional.pad(torch.arange(texts)[:, None], (3, 0))
            self._ids[key] = image.to(sample.device), text.to(sample.device)
        return self._ids[key]


class _Patched(nn.Module):
    """mean, deviation: (1, channels in a patch, 1, 1), in the VAE's dtype."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        deviation = (vae.bn.running_var + vae.config.batch_norm_eps).sqrt()
        self.register_buffer("mean", vae.bn.running_mean.view(1, -1, 1, 1).clone(), persistent=False)
        self.register_buffer("deviation", deviation.view(1, -1, 1, 1), persistent=False)


class PatchedEncoder(_Patched):
    """Encodes images (1, 3, H, W) from -1 to 1 to latents (1, 4 * channels, H / 16, W / 16)."""

    def forward(self, image: Tensor) -> Tensor:
        latents = self.vae.encode(image.to(self.mean.dtype), return_dict=False)[0].mode()
        return (functional.pixel_unshuffle(latents, PATCH) - self.mean) / self.deviation


class PatchedDecoder(_Patched):
    """Decodes latents (1, 4 * channels, H / 16, W / 16) to images (1, 3, H, W) from -1 to 1."""

    def forward(self, latents: Tensor) -> Tensor:
        latents = latents * self.deviation + self.mean
        image: Tensor = self.vae.decode(
            functional.pixel_shuffle(latents, PATCH).to(self.mean.dtype), return_dict=False)[0]
        return image


class PatchedCodec(VaeCodec):
    """The codec of an `AutoencoderKLFlux2`: its latents in patches of 2 x 2, normalised by fixed statistics."""

    kinds = PatchedEncoder, PatchedDecoder

    @property
    def channels(self) -> int:
        return super().channels * PATCH**2

    @property
    def factor(self) -> int:
        return super().factor * PATCH


class Flux2Prompts(PromptEncoder):
    """Prompts of FLUX.2 klein. Padding is part of an embedding, as in training. Emphasis has no effect."""

    def __init__(self, parts: Components) -> None:
        super().__init__(parts)
        model = parts.text_encoders[0].model
        del model.layers[LAYERS[-1] + 1:]  # their states are not used: a quarter of the model
        model.config.num_hidden_layers = len(model.layers)
        self._widths = self._widths * len(LAYERS)
        self._text = functools.lru_cache(maxsize=TEXTS_CACHED)(self._encode)

    @property
    def tokens(self) -> int:
        return TOKENS

    def _rows(self, text: str) -> TokenRows:
        tokenizer = self._encoders[0].tokenizer
        numbers, mask = tokenize_chat(tokenizer, text, TOKENS, thinking=False, padded=True)
        return TokenRows((torch.tensor([numbers]),), (torch.tensor([mask]),), 1)

    @torch.inference_mode()
    def run(self, rows: TokenRows) -> Embedding:
        """Embed one text."""
        states = hidden_states(self._encoders[0].model, rows.numbers[0], rows.factors[0])
        return Embedding(torch.cat([states[layer] for layer in LAYERS], dim=-1).to(self._dtype))
