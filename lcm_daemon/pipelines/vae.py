"""Codec: a VAE's two halves, pictures to latents and back, at the scale that the UNet knows, in the VAE's own dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Pictures (1, 3, H, W) from -1 to 1 to latents (1, channels, H / 8, W / 8).

    Where the VAE gives a distribution it is the mean: a still picture must give still latents.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae, self._scale = vae, float(vae.config.scaling_factor)
        self._latents = _LATENTS[type(vae).__name__]

    def forward(self, picture: Tensor) -> Tensor:
        latents = self._latents(self.vae.encode(picture.to(_dtype(self.vae)), return_dict=False)[0])
        return latents if self._scale == 1.0 else latents * self._scale


class Decoder(nn.Module):
    """The way back."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae, self._scale = vae, float(vae.config.scaling_factor)

    def forward(self, latents: Tensor) -> Tensor:
        latents = latents if self._scale == 1.0 else latents / self._scale
        picture: Tensor = self.vae.decode(latents.to(_dtype(self.vae)), return_dict=False)[0]
        return picture


class Codec:
    """Both halves of one VAE."""

    def __init__(self, vae: Any) -> None:
        self.encoder, self.decoder = Encoder(vae), Decoder(vae)
        self._config = vae.config

    @property
    def channels(self) -> int:
        return int(self._config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels to one latent, each way."""
        blocks: Sequence[int] = self._config.get("block_out_channels") or self._config["encoder_block_out_channels"]
        return 1 << (len(blocks) - 1)


def _dtype(vae: Any) -> torch.dtype:
    """What its first parameter is of: diffusers' own `dtype` looks at all of them, which takes 0.2 ms a call."""
    dtype: torch.dtype = next(vae.parameters()).dtype
    return dtype


_LATENTS: Mapping[str, Callable[[Any], Tensor]] = {
    "AutoencoderTiny": lambda encoded: encoded,
    "AutoencoderKL": lambda encoded: encoded.mode(),
}
