"""Measure a model (prompt adherence, image-to-image, steadiness, speed), and draw its sample sheets."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from PIL import Image
from torch import Tensor

from examples.train_builtin.judges import judge_colours, train_judge
from examples.train_builtin.sampler import decode, encode, sample
from examples.train_builtin.text import Captions
from examples.train_builtin.words import COLOURS, STYLES, SUBJECTS

SIZE, SEED = 256, 7
# shipped with scikit-image; licences as its documentation states them
PHOTOGRAPHS = {
    "astronaut": "NASA, public domain", "camera": "Lav Varshney, CC0", "chelsea": "Stefan van der Walt, CC0",
    "coffee": "Rachel Michetti, CC0", "rocket": "SpaceX, public domain", "clock": "Stefan van der Walt, public domain",
    "coins": "Brooklyn Museum, no known copyright restrictions", "hubble_deep_field": "NASA, public domain",
}  # fmt: skip
REPAINTS = ("fire", "blue ocean", "green forest", "purple stars", "white marble", "gold honeycomb")
STRENGTHS = (0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Prompt:
    """A prompt, and what its output must show."""

    text: str
    subject: str
    colour: str


def fixed_prompts() -> list[Prompt]:
    """Return 100 prompts: every subject alone, in two colours, and in a third one with a style."""
    prompts = []
    colours, styles = list(COLOURS), list(STYLES)[1:]
    for number, (name, subject) in enumerate(SUBJECTS.items()):
        first, second, third = (colours[(number * 5 + shift) % len(colours)] for shift in (0, 4, 7))
        style = styles[number % len(styles)]
        prompts += [
            Prompt(name, name, subject.colour),
            Prompt(f"{first} {name}", name, first),
            Prompt(f"{name}, {second}", name, second),
            Prompt(f"{third} {name}, {style}", name, third),
        ]
    return prompts


def photographs() -> Tensor:
    """Load the photographs, cropped to a square: (8, 3, SIZE, SIZE) from 0 to 1."""
    from skimage import data  # a dependency of this example only

    squares = []
    for name in PHOTOGRAPHS:
        picture = Image.fromarray(getattr(data, name)()).convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        squares.append(torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1).float() / 255)
    return torch.stack(squares)


def luma(pictures: Tensor) -> Tensor:
    return pictures[:, 0] * 0.299 + pictures[:, 1] * 0.587 + pictures[:, 2] * 0.114


def correlation(first: Tensor, second: Tensor) -> float:
    """Return the mean Pearson correlation of brightness, image by image."""
    pairs = zip(luma(first).flatten(1), luma(second).flatten(1), strict=True)
    return float(np.mean([torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in pairs]))


@dataclass
class Model:
    """The three parts of the model under test."""

    unet: UNet2DConditionModel
    autoencoder: AutoencoderTiny
    captions: Captions

    def paint(self, texts: list[str], steps: int, seed: int = SEED) -> Tensor:
        parts = [texts[begin : begin + 25] for begin in range(0, len(texts), 25)]
        states = [sample(self.unet, self.captions.encode(part), steps, seed + n) for n, part in enumerate(parts)]
        return decode(self.autoencoder, torch.cat(states))

    def repaint(
        self,
        pictures: Tensor,
        text: str,
        strength: float,
        steps: int = 2,
        seed: int = SEED,
        control: ControlNetModel | None = None,
        edges: Tensor | None = None,
    ) -> Tensor:
        """Render over the images. Every image gets the same noise, as a live stream does at a fixed seed."""
        state = self.captions.encode([text])
        outputs = []
        for number, picture in enumerate(pictures.split(1)):
            latents = encode(self.autoencoder, picture)
            drawn = None if edges is None else edges[number : number + 1]
            clean = sample(self.unet, state, steps, seed, latents, strength, control, drawn)
            outputs.append(decode(self.autoencoder, clean))
        return torch.cat(outputs)


def measure_prompts(model: Model, work: Path, steps: int) -> tuple[dict[str, float], Tensor]:
    """Return the shares of the fixed prompts whose colour and whose subject are right, and the outputs."""
    judge, accuracy = train_judge(work)
    prompts = fixed_prompts()
    pictures = model.paint([prompt.text for prompt in prompts], steps)
    colours = [list(COLOURS)[number] for number in judge_colours(pictures)]
    with torch.inference_mode():
        subjects = [list(SUBJECTS)[number] for number in judge(pictures).argmax(1)]
    wrong = [p.text + " -> " + s for p, s in zip(prompts, subjects, strict=True) if p.subject != s]
    print(f"{steps} steps, wrong subjects: {'; '.join(wrong)}")
    pairs = zip(prompts, colours, subjects, strict=True)
    hits = torch.tensor([[p.colour == colour, p.subject == subject] for p, colour, subject in pairs]).float()
    figures = {
        "colour": hits[:, 0].mean().item(), "colour_chance": 1 / len(COLOURS), "colour_judge": accuracy["colour"],
        "subject": hits[:, 1].mean().item(), "subject_chance": 1 / len(SUBJECTS), "subject_judge": accuracy["subject"],
    }  # fmt: skip
    return figures, pictures


def measure_photographs(model: Model, pictures: Tensor) -> tuple[dict[str, dict[str, float]], Tensor]:
    """Return luma correlation with the input and colour movement between prompts, by strength; and the outputs.

    Colour movement is the distance of the outputs' mean RGB, averaged over all pairs of prompts and all photographs.
    """
    figures, sheets = {}, []
    for strength in STRENGTHS:
        outputs = torch.stack([model.repaint(pictures, text, strength) for text in REPAINTS])
        means = outputs.mean(dim=(3, 4))
        moves = [(a - b).norm(dim=1).mean().item() for a, b in itertools.combinations(means, 2)]
        kept = [correlation(pictures, output) for output in outputs]
        figures[str(strength)] = {"luma_correlation": float(np.mean(kept)), "colour_movement": float(np.mean(moves))}
        sheets.append(outputs)
    return figures, torch.stack(sheets)


def measure_steadiness(model: Model, picture: Tensor, frames: int = 16) -> dict[str, float]:
    """Return the largest difference of a still input rendered twice, and the largest change of mean luma in a pan.

    The pan moves by 2 pixels a frame.
    """
    still = [model.repaint(picture, "fire", 0.5) for _ in range(2)]
    wide = F.interpolate(picture, scale_factor=1.25, mode="bilinear")
    panned = torch.cat([wide[:, :, 32 : 32 + SIZE, 2 * i : 2 * i + SIZE] for i in range(frames)])
    change = luma(model.repaint(panned, "fire", 0.5)).mean(dim=(1, 2)).diff().abs()
    return {"still": (still[0] - still[1]).abs().max().item(), "panning": change.max().item()}


@torch.inference_mode()
def measure_speed(model: Model, rounds: int = 20) -> dict[str, float]:
    """Return the median milliseconds of encode, one UNet pass and decode at SIZE, one image, eager float32."""
    picture, text = torch.rand(1, 3, SIZE, SIZE), model.captions.encode(["fire"])
    latents = encode(model.autoencoder, picture)
    jobs = {
        "encode": lambda: encode(model.autoencoder, picture),
        "unet": lambda: model.unet(latents, 499, text),
        "decode": lambda: decode(model.autoencoder, latents),
    }
    figures = {}
    for name, job in jobs.items():
        times = []
        for _ in range(rounds + 3):
            begun = time.perf_counter()
            job()
            times.append(time.perf_counter() - begun)
        figures[name + "_ms"] = 1000 * float(np.median(times[3:]))
    return figures


def draw_sheet(rows: Tensor, side: int, path: Path) -> None:
    """Write images (rows, columns, 3, h, w) as one JPEG, each `side` pixels wide."""
    small = F.interpolate(rows.flatten(0, 1), size=(side, side), mode="area").unflatten(0, rows.shape[:2])
    sheet = small.permute(0, 3, 1, 4, 2).reshape(rows.shape[0] * side, rows.shape[1] * side, 3)
    Image.fromarray((sheet.clamp(0, 1) * 255).round().byte().numpy()).save(path, quality=82)


def evaluate(model: Model, work: Path, folder: Path) -> dict[str, object]:
    """Measure the model; draw the sheets of prompts and of photographs into `folder`."""
    figures: dict[str, object] = {}
    for steps in (1, 2, 4):
        figures[f"prompts_{steps}_steps"], pictures = measure_prompts(model, work, steps)
        if steps == 2:
            draw_sheet(pictures.unflatten(0, (10, 10)), 96, folder / "prompts.jpg")
    shots = photographs()
    figures["photographs"], outputs = measure_photographs(model, shots)
    shown = outputs[:, :3].permute(2, 1, 0, 3, 4, 5).flatten(1, 2)  # one row per photograph: prompts by strengths
    draw_sheet(torch.cat([shots[:, None], shown], 1), 96, folder / "photographs.jpg")
    rebuilt = decode(model.autoencoder, encode(model.autoencoder, shots))
    figures["autoencoder_psnr_photographs"] = -10 * float((rebuilt - shots).square().mean(dim=(1, 2, 3)).log10().mean())
    figures["steadiness"] = measure_steadiness(model, shots[:1])
    figures["speed"] = measure_speed(model)
    return figures
