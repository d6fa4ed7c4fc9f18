"""What the tests for a card share: where they run, fifteen kinds of moves, and how pictures are compared.

Each test runs on a card where torch finds one, and as a dry run on the CPU, with small pictures and few frames. A dry
run proves that the test itself works; of CUDA graphs it proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.transports.testcard import Card

if TYPE_CHECKING:
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency

Move = Mapping[str, Any]

LONG = " ".join(["glowing red lava under a deep blue ocean"] * 12)  # 96 words: two chunks for the text encoder
MOVES: Sequence[Move] = (  # of the built-in model; each is added to those before it
    {}, {"strength": 0.4}, {"seed": 5}, {"prompt": "ocean, deep blue"}, {"prompt": LONG}, {"prompt": "lava"},
    {"lora/neon": 0.8}, {"feedback": 0.5}, {"feedback": 0.0, "smooth": 0.6}, {"smooth": 0.0, "steps": 3}, {"steps": 1},
    {"steps": 2, "steady": 0.8}, {"feedback": 0.4}, {"feedback": 0.0, "steady": 0.0, "steps": 1},
    {"mode": "text"}, {"mode": "image", "control/edges/weight": 1.0}, {"mode": "control"},
    {"mode": "image", "control/edges/weight": 0.0, "steps": 2}, {"mix": 0.5}, {"mix": 1.0, "lora/neon": 0.0},
)


@dataclass(frozen=True)
class Place:
    """Where a test runs.

    Attributes:
        device: As in a recipe.
        size: Of the built-in model's pictures, in pixels.
        frames: Frames of each move. On a card, enough to warm up, to record, and to replay a few times.
        moves: Every how many of MOVES are made.
    """

    device: str
    size: Size
    frames: int
    moves: Sequence[Move]

    @property
    def is_card(self) -> bool:
        return self.device == "cuda"

    def recipe(self, name: str = "builtin", **changes: Any) -> Recipe:
        return replace(load_recipe(name), device=self.device, size=self.size, **changes)


CARD = Place("cuda", (256, 256), 8, MOVES)
DRY_RUN = Place("cpu", (64, 64), 1, MOVES)


def values_of(recipe: Recipe, **changes: Any) -> dict[str, Any]:
    return {**recipe.start_values(), "mix": 1.0, "strength": 0.7, "mode": "image", **changes}


def cards(size: Size, count: int = 8) -> list[Pixels]:
    """Test cards of different times."""
    card = Card(size)
    return [card.draw(number * 0.7) for number in range(count)]


def loaded(recipe: Recipe, *loader: Callable[..., Any]) -> LatentConsistency:
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency

    pipeline = LatentConsistency(recipe, recipe.size, *loader)
    pipeline.load(lambda line: None)
    return pipeline


def render_moves(pipeline: LatentConsistency, place: Place) -> list[list[Pixels]]:
    """The pictures of each move."""
    settings, pictures = values_of(pipeline.recipe, prompt="lava, glowing red"), cards(pipeline.size)
    found: list[list[Pixels]] = []
    for move in place.moves:
        settings.update(move)
        found.append([])
        for number in range(place.frames):
            out = solid(pipeline.size)
            pipeline.render(pictures[number % len(pictures)], settings, out)
            found[-1].append(out)
    return found


def psnr(ours: Sequence[Pixels], theirs: Sequence[Pixels]) -> float:
    """Peak signal-to-noise ratio of colours over all frames, in dB; 99 where they are equal."""
    squares = [(a[..., :3].astype(float) - b[..., :3]) ** 2 for a, b in zip(ours, theirs, strict=True)]
    return min(99.0, float(10 * np.log10(255**2 / max(float(np.mean(squares)), 1e-9))))


def contrast(picture: Pixels) -> float:
    """Standard deviation of the colours, of 255; 0 for a plain picture."""
    return float(picture[..., :3].std())


def used_memory(place: Place) -> dict[str, float]:
    """MiB: what torch has allocated and reserved on the card; on the CPU, what the process holds."""
    if not place.is_card:
        return {"resident": psutil.Process().memory_info().rss / 2**20}
    import torch

    torch.cuda.synchronize()
    return {"allocated": torch.cuda.memory_allocated() / 2**20, "reserved": torch.cuda.memory_reserved() / 2**20}
