"""Measure the edge ControlNet and the LoRAs on photographs, and draw their sheet."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ControlNetModel
from torch import Tensor

from examples.train_builtin import controlnet
from examples.train_builtin.edges import agreement, find_edges
from examples.train_builtin.evaluation import REPAINTS, Model, correlation, draw_sheet, photographs
from examples.train_builtin.looks import LOOKS

SHOWN = ("fire", "blue ocean", "purple marble")  # columns of the sheet with the ControlNet
WEIGHTS = (0.5, 1.0, 1.5)
LOOK_STRENGTH = 0.5


def measure_control(model: Model, control: ControlNetModel, pictures: Tensor) -> tuple[dict[str, float], Tensor]:
    """Return the F1 score of the output's edges at strength 1.0, with and without the ControlNet; and the images.

    The reference is the input's edges. The score is the mean over the photographs and REPAINTS, at 2 steps. The images
    (n, columns, 3, h, w) are the edges, then SHOWN.
    """
    wanted = find_edges(pictures)
    edges = wanted.expand(-1, 3, -1, -1)
    scores = {"f1": [], "f1_without": []}
    for text in REPAINTS:
        held = model.repaint(pictures, text, 1.0, control=control, edges=edges)
        scores["f1"].append(agreement(find_edges(held), wanted))
        scores["f1_without"].append(agreement(find_edges(model.repaint(pictures, text, 1.0)), wanted))
    shown = [model.repaint(pictures, text, 1.0, control=control, edges=edges) for text in SHOWN]
    figures = {name: torch.stack(entries).mean().item() for name, entries in scores.items()}
    figures["f1_each"] = [round(score, 2) for score in torch.stack(scores["f1"]).mean(dim=0).tolist()]
    return figures, torch.stack([edges, *shown], 1)


def measure_looks(model: Model, folder: Path, pictures: Tensor) -> tuple[dict[str, dict[str, float]], Tensor]:
    """Return how near the output is to each filter, with its LoRA at weight 1 (`near`) and without it (`before`).

    The measure is the correlation of brightness. Also return the outputs (n, looks * weights, 3, h, w).
    """
    figures, columns = {}, []
    plain = model.repaint(pictures, "fire", LOOK_STRENGTH)
    for name, look in LOOKS.items():
        model.unet.load_lora_adapter(folder / f"{name}.safetensors", prefix="unet", adapter_name=name)
        for weight in WEIGHTS:
            model.unet.set_adapters([name], [weight])
            columns.append(model.repaint(pictures, "fire", LOOK_STRENGTH))
        with_look = columns[-2]
        model.unet.delete_adapters(name)
        figures[name] = {"near": correlation(look(plain), with_look), "before": correlation(look(plain), plain)}
    return figures, torch.stack(columns, 1)


def evaluate_live(model: Model, work: Path, folder: Path, checkpoint: str) -> dict[str, object]:
    """Measure the ControlNet and the LoRAs of the work folder; draw their sheet, one row per photograph."""
    pictures = photographs()
    held, control_columns = measure_control(model, controlnet.load(work, checkpoint), pictures)
    looks, look_columns = measure_looks(model, work / "loras", pictures)
    draw_sheet(torch.cat([pictures[:, None], control_columns, look_columns], 1), 96, folder / "live.jpg")
    return {"controlnet": held, "loras": looks}
