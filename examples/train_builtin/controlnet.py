"""Train an edge ControlNet (Zhang et al. 2023) for the student: edges where they are requested, and no others.

The loss is computed from the student's output at both steps of a roll-out from noise. The brightness must be steep
along the requested edges and even away from them; either side may be the brighter one. The coarse colour must stay as
the student renders it without the ControlNet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from examples.train_builtin import diffusion, runs, vae, workers
from examples.train_builtin.data import SIZE, read_shards
from examples.train_builtin.diffusion import Noising, Training
from examples.train_builtin.distillation import SCHEDULE
from examples.train_builtin.edges import find_edges, steepness, widen
from examples.train_builtin.latents import Samples, encode, paint_foreign
from examples.train_builtin.noise import Noise
from lcm_daemon.pipelines.preprocessors.canny import HIGH, LOW

EMBEDDING = (8, 16, 32, 64)
SHARED = (
    "block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim", "norm_num_groups",
    "resnet_time_scale_shift", "addition_embed_type", "addition_embed_type_num_heads",
)  # fmt: skip
RATE, BATCH, DECAY = 6e-4, 6, 0.98
STEEP, EVEN = 1.3 * HIGH, 0.7 * LOW  # targets along the edges and away from them, in Canny's gradient measure
COLOUR = 2.0  # loss weight of the coarse colour
FOREIGN_POOL = 192
FIRST, SECOND = 999, (499, 499, 749, 259)


def build(unet: UNet2DConditionModel) -> ControlNetModel:
    """Build a copy of the denoiser's lower half without its attention, with a small embedding of the edges."""
    settings = unet.config
    control = ControlNetModel(
        in_channels=vae.CHANNELS,
        down_block_types=("DownBlock2D",) * len(settings.block_out_channels),
        mid_block_type="UNetMidBlock2D",
        conditioning_embedding_out_channels=EMBEDDING,
        **{name: settings[name] for name in SHARED},
    )
    own = control.state_dict()
    control.load_state_dict({name: value for name, value in unet.state_dict().items() if name in own}, strict=False)
    return control


class LightProbe(nn.Module):
    """Estimates the decoder's brightness (n, 1, 256, 256) from latents (n, 8, 32, 32), at a tenth of its cost."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(vae.CHANNELS, 96, 3, padding=1), nn.SiLU(), nn.Conv2d(96, 96, 3, padding=1), nn.SiLU(),
            nn.Conv2d(96, vae.CELL**2, 1), nn.PixelShuffle(vae.CELL),
        )  # fmt: skip

    def forward(self, latents: Tensor) -> Tensor:
        light: Tensor = self.layers(latents)
        return light


def train_probe(work: Path, steps: int = 250, seed: int = 8) -> LightProbe:
    """Train the probe against the decoder, or load it from `probe.pt`."""
    path, probe = work / "probe.pt", LightProbe()
    if path.exists():
        probe.load_state_dict(runs.read(path))
        return probe.requires_grad_(False)
    torch.manual_seed(seed)
    latents, decoder = np.load(encode(work, 1), mmap_mode="r"), vae.load(work).decoder
    optimizer = torch.optim.AdamW(probe.parameters(), 3e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    progress = runs.Progress(work / "probe.training.pt", probe=probe, optimizer=optimizer, plan=plan)
    for step in range(progress.step, steps):
        pick = np.random.default_rng(seed + step).integers(len(latents), size=8)
        batch = runs.to_device(latents[pick]).float()
        batch = batch + 0.2 * torch.rand(()) * torch.randn_like(batch)
        with torch.no_grad(), runs.autocast():
            pictures = decoder(batch).float() / 2 + 0.5
        wanted = vae.to_ycc(pictures)[:, :1]
        made = probe(batch)
        loss = (made - wanted).abs().mean() + 0.002 * (steepness(made) - steepness(wanted)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
        if step % 50 == 49:
            print(f"probe step {step + 1}/{steps} loss {loss.item():.4f}", flush=True)
        progress.count()
    runs.write(path, probe.state_dict())
    progress.remove()
    return probe.requires_grad_(False)


class Edges:
    """Edge maps of stand-ins for photographs and, in a third of cases, of training images."""

    def __init__(self, work: Path, seed: int) -> None:
        self.shards, _ = read_shards(work)
        self.chance = np.random.default_rng(seed)
        self.pool = torch.cat(
            [find_edges(paint_foreign(Noise(48, SIZE, seed * 100 + n))) for n in range(FOREIGN_POOL // 48)]
        )

    def take(self, count: int) -> Tensor:
        """Return edge maps (count, 1, SIZE, SIZE), mirrored at random."""
        return torch.stack([self.draw() for _ in range(count)])

    def draw(self) -> Tensor:
        chance = self.chance
        if chance.random() < 0.33:
            shard = self.shards[chance.integers(len(self.shards))]
            picture = runs.to_device(shard[chance.integers(len(shard))].copy()).permute(2, 0, 1).float() / 255
            return find_edges(picture[None])[0]
        edges = self.pool[chance.integers(len(self.pool))]
        return edges.flip([axis for axis in (1, 2) if chance.random() < 0.5])


def edge_loss(light: Tensor, edges: Tensor) -> Tensor:
    """Hinge losses on Canny's gradient measure: too flat within reach of an edge, too steep out of reach of any."""
    steep = steepness(light)
    reached = F.max_pool2d(steep, 5, 1, 2)
    flat = F.relu(STEEP - reached) / STEEP * edges
    away = 1 - widen(edges, 4)
    rough = F.relu(steep - EVEN) / EVEN * away
    return flat.sum() / edges.sum().clamp(min=1) + 2 * rough.sum() / away.sum().clamp(min=1)


class Controlled(nn.Module):
    """The frozen student with the ControlNet: velocity from noisy latents, times, text and edges."""

    def __init__(self, unet: UNet2DConditionModel, control: ControlNetModel) -> None:
        super().__init__()
        self.unet, self.control = unet, control

    def forward(self, noisy: Tensor, times: Tensor, text: Tensor, edges: Tensor) -> Tensor:
        down, middle = self.control(noisy, times, text, edges.expand(-1, 3, -1, -1), return_dict=False)
        velocity: Tensor = self.unet(
            noisy, times, text, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
        return velocity


def train(work: Path, seconds: float, checkpoint: str = "finishing.pt", seed: int = 9) -> None:
    """Train for `seconds`, resuming from `controlnet.pt`."""
    torch.manual_seed(seed)
    probe, student, noising = train_probe(work), diffusion.load(work / checkpoint), Noising(SCHEDULE)
    state = Training(work / "controlnet.pt", build(student))
    number = seed + 1000 * workers.rank() + state.step
    torch.manual_seed(number)
    samples, stock = Samples(work, 1, number), Edges(work, number)
    controlled = Controlled(student, state.model)
    state.last = runs.clock()
    (count,) = runs.scaled(BATCH)
    while state.lasts(seconds):
        text, edges = samples.ask(count)[0], stock.take(count)
        noisy = torch.randn(count, vae.CHANNELS, 32, 32)
        times = torch.full((count,), FIRST)
        losses = torch.zeros(2)
        for _ in range(2):
            noisy = noisy.contiguous(memory_format=torch.channels_last)
            with runs.autocast():
                with torch.no_grad():
                    plain, _ = noising.split(noisy, student(noisy, times, text).sample.float(), times)
                velocity = controlled(noisy, times, text, edges).float()
            made, _ = noising.split(noisy, velocity, times)
            drift = F.avg_pool2d((made - plain)[:, -vae.CHROMA :], 4).square().mean() / vae.CHROMA_SCALE**2
            losses = losses + torch.stack([edge_loss(probe(made), edges), drift]) / 2
            times = torch.tensor(SECOND)[torch.randint(len(SECOND), (count,))]
            noisy = noising.add(made.detach(), torch.randn_like(made), times)
        state.update(losses @ torch.tensor([1.0, COLOUR]), state.ease(RATE, seconds), DECAY)
        state.follow(dict(zip(("edges", "colour"), losses, strict=True)), seconds)
    state.save()


def load(work: Path, checkpoint: str = "finishing.pt") -> ControlNetModel:
    """Load the averaged ControlNet."""
    model = build(diffusion.load(work / checkpoint))
    model.load_state_dict(runs.read(work / "controlnet.pt")["average"])
    return model.eval().requires_grad_(False)
