"""The two halves of a VAE: images to latents and back, at the scale that the UNet expects, in the VAE's own dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class VaeEncoder(nn.Module):
    """Encodes images (1, 3, H, W) from -1 to 1 to latents (1, channels, H / factor, W / factor).

    A VAE that returns a distribution is read at its mean, so that a still input gives still latents.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae, self._scale, self._shift = vae, float(vae.config.scaling_factor), _shift(vae)
        self._is_plain = type(vae).__name__ in ("AutoencoderTiny", "AutoencoderDC")  # latents, not a distribution

    def forward(self, image: Tensor) -> Tensor:
        encoded = self.vae.encode(image.to(_dtype(self.vae)), return_dict=False)[0]
        latents: Tensor = encoded if self._is_plain else encoded.mode()
        latents = latents - self._shift if self._shift else latents
        return latents if self._scale == 1.0 else latents * self._scale


class VaeDecoder(nn.Module):
    """Decodes latents (1, channels, H / factor, W / factor) to images (1, 3, H, W) from -1 to 1."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae, self._scale, self._shift = vae, float(vae.config.scaling_factor), _shift(vae)

    def forward(self, latents: Tensor) -> Tensor:
        latents = latents if self._scale == 1.0 else latents / self._scale
        latents = latents + self._shift if self._shift else latents
        image: Tensor = self.vae.decode(latents.to(_dtype(self.vae)), return_dict=False)[0]
        return image


class VaeCodec:
    """Both halves of one VAE, and its dimensions."""

    kinds: tuple[Callable[[Any], nn.Module], Callable[[Any], nn.Module]] = VaeEncoder, VaeDecoder

    def __init__(self, vae: Any) -> None:
        self.encoder, self.decoder = (kind(vae) for kind in self.kinds)
        self._config = vae.config

    def forget(self) -> None:  # most codecs keep nothing
        """Forget what the encoder has kept for the decoder: the next image is decoded without an input."""

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return int(self._config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels per latent, in each direction."""
        blocks: Sequence[int] = self._config.get("block_out_channels") or self._config["encoder_block_out_channels"]
        return 1 << (len(blocks) - 1)


def _shift(vae: Any) -> float:
    """Subtracted from latents before they are scaled: the mean of their distribution, in some families."""
    return float(vae.config.get("shift_factor") or 0.0)


def _dtype(vae: Any) -> torch.dtype:
    """Dtype of the first parameter. diffusers' own `dtype` looks at all of them, which costs 0.2 ms a call."""
    dtype: torch.dtype = next(vae.parameters()).dtype
    return dtype
