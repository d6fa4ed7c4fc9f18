"""A family's tiny checkpoint, rendered by this package and by diffusers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.core.parameters import Values
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import make_picture
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from PIL import Image

    from lcm_daemon.pipelines.latent_consistency import LatentConsistency

SIZE = (64, 64)


class FamilyPair:
    """Ours and diffusers', loaded from the same files. theirs: diffusers' pipelines."""

    def __init__(self, recipe: Recipe, *theirs: Any) -> None:
        self.recipe, self.theirs = recipe, theirs[0]
        self.ours = LatentConsistency(recipe, SIZE)
        self.ours.load(lambda line: None)
        self.others = theirs[1:]
        for pipeline in theirs:
            pipeline.set_progress_bar_config(disable=True)

    def paint(self, **changes: Any) -> Pixels:
        """A picture of ours, uint8 (H, W, 3)."""
        values: Values = {**self.recipe.start_values(), "prompt": "Red lava", "seed": 9, **changes}
        out = solid(SIZE)
        self.ours.render(make_picture(SIZE), values, out, None)
        return out[..., :3]

    def picture(self) -> Any:
        """The input of `paint`, for diffusers."""
        return Image.fromarray(make_picture(SIZE)[..., :3])

    def call(self, pipeline: Any, **values: Any) -> Pixels:
        """A picture of diffusers', of the same seed."""
        found = pipeline(generator=torch.Generator().manual_seed(9), output_type="np", **values).images[0]
        assert found.std() > 0.02, "a flat picture would prove nothing"
        return np.round(found * 255).astype(np.uint8)


def assert_equal(found: Pixels, expected: Pixels) -> None:
    """At most one level apart anywhere, and that in less than one byte of a hundred: rounding, nothing else."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
