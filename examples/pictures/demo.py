"""Render demo.jpg, the image in the README: the test card, and the built-in model's outputs for it.

python -m examples.pictures.demo
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.pipelines import build
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.transports.testcard import Card

SIZE = (256, 256)
GAP = 4  # pixels between two frames
COLUMNS = 5
MOMENT = 2.4  # seconds into the test card; its three balls do not overlap then
LOOKS = (  # (prompt, strength); 1 renders from the prompt alone
    ("lava, glowing red", 0.55),
    ("ocean, deep blue", 0.6),
    ("forest, green", 0.6),
    ("stained glass, rainbow", 0.55),
    ("neon grid, pink", 1.0),
    ("zebra, black and white", 1.0),
    ("sunset, orange", 1.0),
    ("lightning, purple", 1.0),
    ("dots, green", 1.0),
)


def paint() -> list[Pixels]:
    """Return the test card and one output per entry of LOOKS, each uint8 (H, W, 4)."""
    recipe = load_recipe("builtin")
    model, card = build(recipe, SIZE), Card(SIZE).draw(MOMENT)
    model.load(lambda line: None)
    painted = []
    for prompt, strength in LOOKS:
        out = solid(SIZE)
        model.render(card, recipe.start_values() | {"prompt": prompt, "strength": strength, "steps": 4}, out)
        painted.append(out)
    return [card, *painted]


def arrange(pictures: list[Pixels]) -> Image.Image:
    """Arrange the frames on black, COLUMNS per row."""
    width, height = SIZE[0] + GAP, SIZE[1] + GAP
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width - GAP, rows * height - GAP))
    for place, pixels in enumerate(pictures):
        sheet.paste(
            Image.fromarray(np.ascontiguousarray(pixels[..., :3])), (place % COLUMNS * width, place // COLUMNS * height)
        )
    return sheet


if __name__ == "__main__":
    arrange(paint()).save(Path(__file__).with_name("demo.jpg"), quality=85)
