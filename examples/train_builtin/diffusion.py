"""Train the denoiser: v-prediction with zero terminal SNR, on half-size latents first, then at full size."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import LCMScheduler, ModelMixin, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from examples.train_builtin import runs, vae, workers
from examples.train_builtin.latents import Samples

CHANNELS = (48, 64, 96, 96)
RATE, FINAL_RATE, WARM_UP, DECAY, DROP = 7e-4, 5e-5, 200, 0.998, 0.1
TOGETHER = 8  # steps of each worker between two averages of their weights
BATCH = {2: 20, 1: 12}  # per worker, by shrink factor
# Timesteps at which each kind is used: pure, structured, kept, foreign (in the distillation only). Text-to-image starts
# above 750 and sees pure materials only. The lower image-to-image starts, the more of the input's shapes it keeps.
TIMES = ((150, 1000), (250, 750), (0, 600), (100, 650))
SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "clip_sample": False,
    "original_inference_steps": 50, "set_alpha_to_one": True, "timestep_spacing": "leading", "steps_offset": 1,
}  # fmt: skip


def build() -> UNet2DConditionModel:
    """Build the UNet: cross-attention where it is cheap; the pooled text in the time embedding reaches every layer."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=vae.CHANNELS,
        out_channels=vae.CHANNELS,
        layers_per_block=1,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def compile_denoiser(model: UNet2DConditionModel) -> Callable[..., Any]:
    """Compile the model, unless the run says otherwise. It takes some minutes and makes the model faster."""
    if not runs.current().compiled:
        return model
    model.set_attn_processor(AttnProcessor())
    compiled: Callable[..., Any] = torch.compile(model, dynamic=False)
    return compiled


class Noising:
    """The forward process and the conversions between v and the clean latents (Salimans and Ho 2022)."""

    def __init__(self, schedule: dict[str, Any] = SCHEDULE) -> None:
        signal = LCMScheduler(**schedule).alphas_cumprod.float()
        self.alpha, self.sigma = signal.sqrt(), (1 - signal).sqrt()
        self.snr = signal / (1 - signal)

    def at(self, times: Tensor) -> tuple[Tensor, Tensor]:
        return self.alpha[times][:, None, None, None], self.sigma[times][:, None, None, None]

    def add(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        alpha, sigma = self.at(times)
        return alpha * clean + sigma * noise

    def velocity(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        alpha, sigma = self.at(times)
        return alpha * noise - sigma * clean

    def split(self, noisy: Tensor, velocity: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clean latents and the noise that a velocity stands for."""
        alpha, sigma = self.at(times)
        return alpha * noisy - sigma * velocity, alpha * velocity + sigma * noisy


def channel_weight() -> Tensor:
    """Return loss weights of the latent channels: colour latents are small, so their error would count for little."""
    weight = torch.ones(vae.CHANNELS)
    weight[-vae.CHROMA :] = 1 / vae.CHROMA_SCALE**1.5
    return (weight / weight.mean())[:, None, None]


def draw_times(kinds: Tensor) -> Tensor:
    """Draw timesteps, uniform over the range of each image's kind."""
    low, high = torch.tensor(TIMES)[kinds].unbind(1)
    return (low + torch.rand(len(kinds)) * (high - low)).long()


def learning_rate(step: int, progress: float) -> float:
    """Return the learning rate: a warm-up, then a cosine over the whole time, in both stages."""
    fall = 0.5 + 0.5 * math.cos(math.pi * min(1.0, progress))
    return min(1.0, (step + 1) / WARM_UP) * (FINAL_RATE + (RATE - FINAL_RATE) * fall)


class Training:
    """A denoiser, its moving average and its optimizer, saved together."""

    def __init__(self, path: Path, model: ModelMixin) -> None:
        self.path = path
        self.model = model.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.99), weight_decay=0.01)
        self.spent, self.step, self.last, self.saved = 0.0, 0, runs.clock(), time.monotonic()
        self.stopped = False
        self.recent: dict[str, float] = {}
        if path.exists():
            self.restore()

    def restore(self) -> None:
        state = runs.read(self.path)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.spent, self.step = state["spent"], state["step"]

    def save(self) -> None:
        if workers.rank():
            return
        state = {
            "model": self.model.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "spent": self.spent, "step": self.step,
        }  # fmt: skip
        runs.write(self.path, state)
        self.saved = time.monotonic()

    def update(self, loss: Tensor, rate: float, decay: float) -> None:
        """Take one step in this worker; every TOGETHER steps, average the weights of all workers.

        This is local SGD (Stich 2019): on a busy machine, the workers need not wait for the slowest at each step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        with torch.no_grad():
            if self.step % TOGETHER == 0:
                workers.average([parameter.data for parameter in self.model.parameters()])
                self.tick()
            decay = min(decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def ease(self, rate: float, seconds: float) -> float:
        """Return the learning rate: fifty steps of warm-up to `rate`, which falls to a twentieth towards `seconds`."""
        return rate * min(1.0, (self.step + 1) / 50) * max(0.05, 1 - self.spent / seconds)

    def follow(self, losses: Mapping[str, Tensor], seconds: float) -> None:
        """Smooth the losses (scalars); print them every 50 steps; save every ten minutes."""
        for name, loss in losses.items():
            value = loss.item()
            self.recent[name] = 0.98 * self.recent.get(name, value) + 0.02 * value
        if self.step % 50 == 0 and not workers.rank():
            shown = " ".join(f"{name} {value:.4f}" for name, value in self.recent.items())
            print(f"{self.path.stem} {self.spent:.0f}/{seconds:.0f} s step {self.step} {shown}", flush=True)
        if time.monotonic() - self.saved > runs.SAVE_SECONDS:
            self.save()

    def tick(self) -> None:
        """Add the time since the last call. The workers agree on it and on the run's end: they stop together."""
        now = runs.clock()
        passed = torch.tensor([now - self.last, float(runs.over())])
        self.last = now
        workers.average([passed])
        self.spent += passed[0].item()
        self.stopped = passed[1].item() > 0

    def lasts(self, seconds: float) -> bool:
        """Return whether the training continues: neither these seconds nor the time of the run are over."""
        return self.spent < seconds and not self.stopped


def train(work: Path, small_seconds: float, whole_seconds: float, seed: int = 3) -> None:
    """Train for these wall-clock times on half-size and on full-size images, resuming from `diffusion.pt`."""
    torch.manual_seed(seed)
    state = Training(work / "diffusion.pt", build())
    torch.manual_seed(seed + 1000 * workers.rank() + state.step)
    noising, weight, shrink, denoise = Noising(), channel_weight(), 0, compile_denoiser(state.model)
    seconds = small_seconds + whole_seconds
    while state.lasts(seconds):
        wanted = 2 if state.spent < small_seconds else 1
        if wanted != shrink:
            shrink = wanted
            samples = Samples(work, shrink, seed + 1000 * workers.rank() + state.step)
            state.last = runs.clock()
        samples.renew()
        clean, text, kinds = samples.take(*runs.scaled(BATCH[shrink]), DROP)
        times, noise = draw_times(kinds), torch.randn_like(clean)
        noisy = noising.add(clean, noise, times).contiguous(memory_format=torch.channels_last)
        with runs.autocast():
            velocity = denoise(noisy, times, text).sample
        error = (velocity.float() - noising.velocity(clean, noise, times)).square() * weight
        balance = (4 / (noising.snr[times] + 1)).clamp(max=1)
        loss = (error.mean(dim=(1, 2, 3)) * balance).mean()
        state.update(loss, learning_rate(state.step, state.spent / seconds), DECAY)
        state.follow({f"loss at 1/{shrink}": loss}, seconds)
    state.save()


def load(path: Path) -> UNet2DConditionModel:
    """Load the averaged denoiser of a checkpoint."""
    model = build()
    model.load_state_dict(runs.read(path)["average"])
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
