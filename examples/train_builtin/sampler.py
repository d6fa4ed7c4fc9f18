"""Few-step sampling with LCMScheduler, as in the daemon and in diffusers' own pipelines."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderTiny, ControlNetModel, LCMScheduler, UNet2DConditionModel
from torch import Tensor

from examples.train_builtin import vae
from examples.train_builtin.distillation import SCHEDULE


@torch.inference_mode()
def sample(
    unet: UNet2DConditionModel,
    text: Tensor,
    steps: int,
    seed: int,
    latents: Tensor | None = None,
    strength: float = 1.0,
    control: ControlNetModel | None = None,
    edges: Tensor | None = None,
) -> Tensor:
    """Return clean latents (n, 8, h, w) for text states (n, 16, 128), from noise or from `latents` at a strength > 0.

    `edges` (n, 3, 8 h, 8 w) from 0 to 1 are the input of the ControlNet.
    """
    scheduler = LCMScheduler(**SCHEDULE)
    scheduler.set_timesteps(steps, strength=strength)
    generator = torch.Generator().manual_seed(seed)
    shape = (len(text), vae.CHANNELS, 32, 32) if latents is None else latents.shape
    moving = torch.randn(shape, generator=generator)
    if latents is not None:
        moving = scheduler.add_noise(latents, moving, scheduler.timesteps[:1])
    for time in scheduler.timesteps:
        held: dict[str, Any] = {}
        if control is not None:
            down, middle = control(moving, time, text, edges, return_dict=False)
            held = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        velocity = unet(moving, time, text, **held).sample
        moving = scheduler.step(velocity, time, moving, generator=generator, return_dict=False)[0]
    return moving


@torch.inference_mode()
def decode(autoencoder: AutoencoderTiny, latents: Tensor) -> Tensor:
    """Return images (n, 3, h, w) from 0 to 1."""
    parts = [autoencoder.decode(part).sample for part in latents.split(25)]
    return (torch.cat(parts) / 2 + 0.5).clamp(0, 1)


@torch.inference_mode()
def encode(autoencoder: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Return the latents of images (n, 3, h, w) from 0 to 1."""
    latents: Tensor = autoencoder.encode(pictures * 2 - 1).latents
    return latents
