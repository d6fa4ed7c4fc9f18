"""Draw the training images once, in shards of .npy files that later steps map into memory."""

from __future__ import annotations

import json
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from examples.train_builtin import runs
from examples.train_builtin.noise import Noise
from examples.train_builtin.painter import paint, paint_shapes
from examples.train_builtin.words import COLOURS, STYLES, SUBJECTS

SIZE = 256
BATCH = 6  # images that share subject, colour, style and kind; drawn together
SHARD = 160  # batches in a shard
KEPT = 1000  # all shards with this number or a higher one are of the kind `kept`
PLAIN_SHARE, KEPT_PLAIN_SHARE, STRUCTURE_SHARE, NATURAL_SHARE = 0.6, 0.75, 0.4, 0.35
BLEND, KEPT_BLEND = (0.4, 0.8), (0.75, 1.05)  # weight of the shapes


@dataclass(frozen=True)
class Label:
    """What an image shows. `structured`: random shapes lie under the material. `kept`: the shapes outweigh it."""

    subject: str
    colour: str
    style: str
    structured: bool
    kept: bool = False


def draw_label(number: int, chance: random.Random, plain: float = PLAIN_SHARE) -> Label:
    """Return a label: subjects by number, one after the other; colours and styles at random."""
    subject = list(SUBJECTS)[number % len(SUBJECTS)]
    natural = chance.random() < NATURAL_SHARE
    colour = SUBJECTS[subject].colour if natural else chance.choice(list(COLOURS))
    style = "plain" if chance.random() < plain else chance.choice(list(STYLES)[1:])
    return Label(subject, colour, style, chance.random() < STRUCTURE_SHARE)


def structure_pool(seed: int, count: int = 96) -> Tensor:
    """Return shape fields (count, SIZE, SIZE) from 0 to 1. The images of a shard use them, mirrored at random."""
    return paint_shapes(Noise(count, SIZE, seed)).clamp(0, 1)


def paint_again(label: Label, seed: int) -> Tensor:
    """Return other images of a label (BATCH, 3, SIZE, SIZE) from 0 to 1, with new shapes where it has some."""
    shapes = structure_pool(seed + 1, BATCH) if label.structured else None
    blend = KEPT_BLEND if label.kept else BLEND
    return paint(label.subject, label.colour, label.style, Noise(BATCH, SIZE, seed), shapes, blend).clamp(0, 1)


def paint_shard(seed: int, batches: int, whole: bool = False) -> tuple[np.ndarray, list[Label]]:
    """Draw images (batches * BATCH, SIZE, SIZE, 3) uint8 and their labels; with `whole`, none is structured."""
    chance = random.Random(seed)
    pool = structure_pool(seed)
    kept = KEPT <= seed < 2 * KEPT
    pictures = np.empty((batches * BATCH, SIZE, SIZE, 3), np.uint8)
    labels: list[Label] = []
    for batch in range(batches):
        label = draw_label(batch + seed, chance, KEPT_PLAIN_SHARE if kept else PLAIN_SHARE)
        label = replace(label, structured=(label.structured or kept) and not whole, kept=kept)
        shapes = pool[[chance.randrange(len(pool)) for _ in range(BATCH)]].flip(chance.choice([(), (1,), (2,)]))
        noise = Noise(BATCH, SIZE, seed * 100_003 + batch)
        blend = KEPT_BLEND if label.kept else BLEND
        painted = paint(label.subject, label.colour, label.style, noise, shapes if label.structured else None, blend)
        place = slice(batch * BATCH, (batch + 1) * BATCH)
        pictures[place] = runs.to_array((painted.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1))
        labels += [label] * BATCH
    return pictures, labels


def write_shard(folder: Path, seed: int) -> Path:
    """Draw one shard, unless its file exists or the time of the run is over."""
    target = folder / f"{seed:05}.npy"
    if not target.exists() and not runs.over():
        pictures, labels = paint_shard(seed, SHARD)
        target.with_suffix(".json").write_text(json.dumps([asdict(label) for label in labels]))
        np.save(folder / f"{seed:05}.part.npy", pictures)
        (folder / f"{seed:05}.part.npy").rename(target)
    return target


def write_shards(work: Path, shards: int, workers: int = 2) -> None:
    """Draw `shards` shards and a quarter more of the kind `kept`, `workers` at a time. Existing files stay."""
    folder = work / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [*range(1, shards + 1), *range(KEPT + 1, KEPT + 1 + shards // 4)]
    if workers == 1 or runs.current().device != "cpu":  # the card draws a shard faster than all processors do
        for number in numbers:
            print(f"drew {write_shard(folder, number).name}", flush=True)
        return
    settings = (runs.current(),)
    with ProcessPoolExecutor(workers, get_context("spawn"), _enter, settings) as pool:
        for path in pool.map(write_shard, [folder] * len(numbers), numbers):
            print(f"drew {path.name}", flush=True)


def _enter(run: runs.Run) -> None:
    runs.start(run)
    torch.set_num_threads(1)


def read_shards(work: Path) -> tuple[list[np.ndarray], list[list[Label]]]:
    """Return all finished shards, mapped into memory, and their labels."""
    paths = sorted(path for path in (work / "pictures").glob("*.npy") if ".part" not in path.name)
    labels = [[Label(**entry) for entry in json.loads(path.with_suffix(".json").read_text())] for path in paths]
    return [np.load(path, mmap_mode="r") for path in paths], labels
