"""A judge of subjects that never saw a picture of the training: a classifier of its own painters' pictures.

Its weights lie beside this module and are frozen: they were trained before the model that they judge, and no gradient
comes from them. The steps of the training must not import this module; only the evaluation does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from examples.train_builtin import judge_materials as materials
from examples.train_builtin import judge_patterns as patterns
from examples.train_builtin.judge_sheet import SIDE, Field, Sheet, rise, soften

FILE = Path(__file__).with_name("fresh_judge.safetensors")  # figures beside it, as JSON
INPUT = 64  # pixels
TRAINING, HELD_OUT = 320, 40  # pictures of each subject; the seeds of the held-out ones begin at HELD_OUT_SEED
HELD_OUT_SEED = 5_000_000
STYLED = 0.3  # share of the pictures that are drawn in a style
BATCH, EPOCHS, RATE = 64, 8, 3e-3

PAINTERS: dict[str, Callable[[Sheet], None]] = {
    "fire": materials.draw_fire, "ocean": materials.draw_ocean, "lava": materials.draw_lava,
    "clouds": materials.draw_clouds, "marble": materials.draw_marble, "stars": materials.draw_stars,
    "lightning": materials.draw_lightning, "neon grid": patterns.draw_neon_grid, "checker": patterns.draw_checker,
    "stripes": patterns.draw_stripes, "grid": patterns.draw_grid, "honeycomb": patterns.draw_honeycomb,
    "bricks": patterns.draw_bricks, "stained glass": materials.draw_stained_glass, "ripples": patterns.draw_ripples,
    "wood": materials.draw_wood, "forest": materials.draw_forest, "mountains": materials.draw_mountains,
    "flowers": materials.draw_flowers, "dots": patterns.draw_dots, "zebra": patterns.draw_zebra,
    "crystal": materials.draw_crystal, "spiral": patterns.draw_spiral, "sunset": materials.draw_sunset,
    "tunnel": patterns.draw_tunnel,
}  # fmt: skip
NAMES = tuple(PAINTERS)


def draw(name: str, seed: int) -> Field:
    """Return one picture of a subject (INPUT, INPUT), brightness from 0 to 1, in a random tone and maybe in a style."""
    sheet = Sheet(seed * len(NAMES) + NAMES.index(name))
    PAINTERS[name](sheet)
    sheet.light = sheet.light.clip(0, 1)
    if sheet.chance.random() < STYLED:
        sheet.light = STYLES[sheet.chance.integers(len(STYLES))](sheet)
    if sheet.chance.random() < 0.1:  # as the hues of a rainbow: bands of unlike brightness
        x, _ = sheet.turned(180)
        sheet.light = sheet.light * (0.7 + 0.3 * np.sin(x * sheet.between(2, 7) + sheet.between(0, 6)))
    sheet.light = sheet.light.clip(0, 1) ** sheet.between(0.65, 1.5)
    return sheet.finish()


def in_blocks(sheet: Sheet) -> Field:
    size = int(sheet.chance.choice((4, 6, 8)))
    small = sheet.light.reshape(SIDE // size, size, SIDE // size, size).mean(axis=(1, 3))
    return np.kron(small, np.ones((size, size), np.float32))


def in_points(sheet: Sheet) -> Field:
    """As a printer's screen: round points whose size follows the brightness."""
    x, y = sheet.turned(45)
    screen = np.cos(x * SIDE / 3.5) * np.cos(y * SIDE / 3.5)
    return rise(soften(sheet.light, 3) - 0.5 + 0.45 * screen, 0.2)


def in_lines(sheet: Sheet) -> Field:
    """Dark outlines on light paper."""
    down, across = np.gradient(soften(sheet.light, 1.2))
    steep = np.hypot(down, across)
    return np.asarray(0.95 - 0.8 * rise(steep / (steep.max() + 1e-6) - 0.12, 0.3), np.float32)


def in_tones(sheet: Sheet) -> Field:
    steps = int(sheet.chance.choice((2, 3, 4)))
    return (np.round(soften(sheet.light, 1) * steps) / steps).astype(np.float32)


def in_glow(sheet: Sheet) -> Field:
    bright = sheet.light ** sheet.between(1.8, 3)
    return bright * 0.8 + 0.5 * soften(bright, 6)


STYLES: tuple[Callable[[Sheet], Field], ...] = (in_blocks, in_points, in_lines, in_tones, in_glow)


def draw_some(task: tuple[str, int, int]) -> Field:
    """Draw pictures of one subject with the seeds from the second to the third number (n, INPUT, INPUT)."""
    name, begin, end = task
    return np.stack([draw(name, seed) for seed in range(begin, end)]).astype(np.float16)


def draw_all(begin: int, count: int, workers: int) -> tuple[Tensor, Tensor]:
    """Return `count` pictures of each subject (n, 1, INPUT, INPUT) and the indices of their subjects (n,)."""
    step = min(count, 80)
    tasks = [(name, first, min(first + step, begin + count))
             for name in NAMES for first in range(begin, begin + count, step)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(draw_some, tasks))
    indices = [NAMES.index(name) for (name, _, _), part in zip(tasks, parts, strict=True) for _ in part]
    return torch.from_numpy(np.concatenate(parts))[:, None].float(), torch.tensor(indices)


class FreshJudge(nn.Module):
    """A small convolutional classifier of brightness. In: images (n, 1 or 3, h, w) from 0 to 1. Out: scores (n, 25)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, 24, 5, 2, 2), nn.BatchNorm2d(24), nn.ReLU()]
        for before, after, stride in ((24, 48, 2), (48, 96, 2), (96, 96, 1), (96, 128, 2)):
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(128 * 17, len(NAMES)))

    def forward(self, pictures: Tensor) -> Tensor:
        light = F.adaptive_avg_pool2d(to_light(pictures), INPUT)
        light = light - light.mean(dim=(2, 3), keepdim=True)
        seen = self.layers(light / (light.std(dim=(2, 3), keepdim=True) + 0.03))
        scores: Tensor = self.head(torch.cat([seen.flatten(1), seen.mean(dim=(2, 3))], 1))
        return scores


def to_light(pictures: Tensor) -> Tensor:
    """Return the brightness (n, 1, h, w) of grey or RGB images (ITU-R BT.601)."""
    if pictures.shape[1] == 1:
        return pictures
    return torch.einsum("nchw,c->nhw", pictures, pictures.new_tensor([0.299, 0.587, 0.114]))[:, None]


def vary(pictures: Tensor) -> Tensor:
    """Mirror, shift, enlarge, blur and noise a batch at random, as a model's output may differ from a drawing."""
    pictures = pictures.flip(3) if torch.rand(()) < 0.5 else pictures
    if torch.rand(()) < 0.5:
        side = int(torch.randint(44, INPUT, ()))
        top, left = torch.randint(0, INPUT - side + 1, (2,)).tolist()
        part = pictures[..., top : top + side, left : left + side]
        pictures = F.interpolate(part, size=(INPUT, INPUT), mode="bilinear")
    if torch.rand(()) < 0.4:
        pictures = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return pictures + 0.08 * torch.rand(()) * torch.randn_like(pictures)


def train(workers: int = 2, file: Path = FILE, seed: int = 31) -> dict[str, Any]:
    """Train the judge and write its weights and figures. Return the figures; an existing judge stays as it is."""
    if file.exists():
        return read_figures(file)
    torch.manual_seed(seed)
    judge = FreshJudge()
    pictures, subjects = draw_all(0, TRAINING, workers)
    optimizer = torch.optim.AdamW(judge.parameters(), RATE, weight_decay=0.05)
    rounds = EPOCHS * len(pictures) // BATCH
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=rounds)
    for step in range(rounds):
        pick = torch.randint(len(pictures), (BATCH,))
        loss = F.cross_entropy(judge(vary(pictures[pick])), subjects[pick], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plan.step()
        if step % 100 == 99:
            print(f"fresh judge step {step + 1}/{rounds} loss {loss.item():.3f}", flush=True)
    figures = {"held_out": by_subject(judge.eval(), *draw_all(HELD_OUT_SEED, HELD_OUT, workers))}
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor
               for name, tensor in judge.state_dict().items()}, file)
    file.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def read_figures(file: Path = FILE) -> dict[str, Any]:
    """Return the judge's accuracy by subject on its own painters' held-out pictures, as the training wrote it."""
    figures: dict[str, Any] = json.loads(file.with_suffix(".json").read_text("utf-8"))
    return figures


def load(file: Path = FILE) -> FreshJudge:
    """Load the frozen judge."""
    judge = FreshJudge()
    judge.load_state_dict({name: tensor.float() if tensor.is_floating_point() else tensor
                           for name, tensor in load_file(file).items()})
    return judge.eval().requires_grad_(False)


@torch.inference_mode()
def by_subject(judge: FreshJudge, pictures: Tensor, subjects: Tensor) -> dict[str, Any]:
    """Return the share of right answers: in all (`all`) and by subject, and the most frequent wrong answer of each."""
    answers = torch.cat([judge(part).argmax(1) for part in pictures.split(256)])
    shares, instead = {}, {}
    for number, name in enumerate(NAMES):
        given = answers[subjects == number]
        if len(given):
            shares[name] = round((given == number).float().mean().item(), 3)
            wrong = given[given != number]
            instead[name] = NAMES[int(wrong.mode().values)] if len(wrong) else ""
    return {"all": round((answers == subjects).float().mean().item(), 4), "subjects": shares, "instead": instead}
