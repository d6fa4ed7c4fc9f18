"""Train the LoRAs (Hu et al. 2021): the student learns to render directly what a filter makes of its outputs.

Each pair is made during the training: the student renders an image from noise or over a foreign image, and the filter
of the look is applied to it. With the LoRA, the same start must lead to the filtered image. The filtered image with new
noise, which is the input of the second step, must lead there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from examples.train_builtin import diffusion, runs, vae
from examples.train_builtin.diffusion import Noising, channel_weight
from examples.train_builtin.distillation import SCHEDULE, huber
from examples.train_builtin.latents import Foreign, Samples
from examples.train_builtin.looks import LOOKS
from examples.train_builtin.sampler import decode, encode

RANK, RATE, BATCH, PAIRS, CHUNK = 4, 2e-3, 6, 288, 24
# Timesteps of two-step sampling: from noise, and from images at strengths .7 and .5
STARTS = ((999, 499), (999, 499), (699, 359), (499, 259))
LAYERS = r".*(up_blocks|mid_block).*(conv1|conv2|to_q|to_k|to_v|to_out\.0|proj_in|proj_out)|conv_in|conv_out"


@dataclass(frozen=True)
class Pairs:
    """Starts (n, 8, 32, 32), their two times (n, 2), text states (n, 16, 128) and each look's latents."""

    starts: Tensor
    times: Tensor
    text: Tensor
    wanted: dict[str, Tensor]


@torch.inference_mode()
def make_pairs(work: Path, checkpoint: str, seed: int = 11) -> Pairs:
    """Make PAIRS pairs, or load them from `pairs.pt`."""
    path = work / "pairs.pt"
    if path.exists():
        return Pairs(**runs.read(path))
    torch.manual_seed(seed)
    student, autoencoder = diffusion.load(work / checkpoint), vae.load(work)
    samples, noising = Samples(work, 1, seed), Noising(SCHEDULE)
    foreign, parts = Foreign(work, samples), []
    for number in range(PAIRS // CHUNK):
        runs.check_time()
        latents, text, _ = foreign.take(CHUNK)
        times = torch.tensor(STARTS[number % len(STARTS)]).expand(CHUNK, 2)
        starts = noising.add(latents, torch.randn_like(latents), times[:, 0])
        clean, _ = noising.split(starts, student(starts, times[:, 0], text).sample, times[:, 0])
        again = noising.add(clean, torch.randn_like(clean), times[:, 1])
        clean, _ = noising.split(again, student(again, times[:, 1], text).sample, times[:, 1])
        pictures = decode(autoencoder, clean)
        looks = {name: encode(autoencoder, look(pictures)).half() for name, look in LOOKS.items()}
        print(f"lora pairs {number + 1}/{PAIRS // CHUNK}", flush=True)
        parts.append({"starts": starts, "times": times, "text": text} | looks)
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    pairs = {name: whole[name] for name in ("starts", "times", "text")}
    pairs |= {"wanted": {name: whole[name] for name in LOOKS}}
    runs.write(path, pairs)
    return Pairs(**pairs)


def train(work: Path, name: str, seconds: float, checkpoint: str, seed: int = 12) -> Path:
    """Train one look for `seconds`. Write `loras/NAME.safetensors` with the keys that diffusers and peft use."""
    target = work / "loras" / f"{name}.safetensors"
    if target.exists():
        return target
    pairs = make_pairs(work, checkpoint)
    torch.manual_seed(seed)
    unet = diffusion.load(work / checkpoint)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=LAYERS))
    parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=0.0)
    noising, weight = Noising(SCHEDULE), channel_weight()
    progress, recent = runs.Progress(work / f"{name}.training.pt", unet=unet, optimizer=optimizer), 0.0
    progress.begin()
    while progress.spent < seconds:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (progress.step + 1) / 20) * max(0.05, 1 - progress.spent / seconds)
        pick = torch.randint(len(pairs.starts), (BATCH,))
        wanted, first, second = pairs.wanted[name][pick].float(), *pairs.times[pick].unbind(1)
        again = noising.add(wanted, torch.randn_like(wanted), second)
        noisy = torch.cat([pairs.starts[pick], again]).contiguous(memory_format=torch.channels_last)
        times = torch.cat([first, second])
        with runs.autocast():
            velocity = unet(noisy, times, pairs.text[pick].repeat(2, 1, 1)).sample.float()
        made, _ = noising.split(noisy, velocity, times)
        loss = huber(made, wanted.repeat(2, 1, 1, 1), weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        recent = loss.item() if not recent else 0.97 * recent + 0.03 * loss.item()
        if progress.step % 20 == 19:
            print(f"lora {name} {progress.spent:.0f}/{seconds:.0f} s step {progress.step + 1} loss {recent:.4f}",
                  flush=True)
        progress.count()
    save(unet, target)
    progress.remove()
    return target


def save(unet: UNet2DConditionModel, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    layers = {key: value.half() for key, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionPipeline.save_lora_weights(target.parent, unet_lora_layers=layers, weight_name=target.name)
