"""Upscaler: enlarges a rendered image on its device by a network, before it is scaled to the output's size."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lcm_daemon.core.frame import Size
from lcm_daemon.pipelines.optional_weights import place, read_optional
from lcm_daemon.pipelines.upscaler_networks import read_edge_network, read_network
from lcm_daemon.recipes.recipe import Recipe

MOST = 4  # the largest factor
MOST_PASSES = 2  # of one frame: four times the size with a network that doubles
EDGES = Path(__file__).parent.parent / "models" / "upscaler" / "edges.safetensors"


class Upscaler:
    """Enlarges images by the network that the recipe names, or by the package's own.

    The package's own is read when it is first used. While nothing is enlarged, no work is done and no memory is taken
    but that of a recipe's network.

    Args:
        recipe: The recipe.
        size: Output size, (width, height).
        device: Where images are rendered.
        dtype: The model's precision. The network has float32 or float16: bfloat16 has too few levels for pictures.

    Raises:
        RecipeError: The recipe's file exists and cannot be read as a network of a known kind.
    """

    def __init__(self, recipe: Recipe, size: Size, device: torch.device, dtype: torch.dtype) -> None:
        is_whole = device.type == "cpu" or dtype == torch.float32
        self._device, self._dtype = device, torch.float32 if is_whole else torch.float16
        self._ratio = max(size[0] / recipe.size[0], size[1] / recipe.size[1])
        network = read_optional(recipe, "upscaler", read_network)
        self._network = None if network is None else place(network, device, self._dtype)

    def prepare(self, factor: int) -> int:
        """How often a frame runs the network: until it is `factor` times as large, or as large as the output.

        0 where the output is not larger than what is rendered. Reads the package's network before it is first used.
        """
        wanted = min(float(factor), self._ratio)
        if wanted <= 1.0:
            return 0
        if self._network is None:
            self._network = place(read_edge_network(EDGES), self._device, self._dtype)
        reached, passes = 1, 0
        while reached < wanted and passes < MOST_PASSES:
            reached, passes = reached * self._network.scale, passes + 1
        return passes

    def factors(self) -> list[int]:
        """The least factor for each number of passes that a frame may run; [1] where the output is not larger."""
        return sorted({self.prepare(factor): factor for factor in range(MOST, 0, -1)}.values())

    def run(self, image: Tensor, passes: int) -> Tensor:
        """Enlarge an image (1, 3, h, w) from -1 to 1. May be recorded. With 0 passes it is returned as it is."""
        if not passes:
            return image
        assert self._network is not None
        enlarged = image.to(self._dtype)
        for _ in range(passes):
            enlarged = self._network(enlarged)
        return enlarged
