"""Pipeline: paints one frame. Built, loaded and used in the engine's process alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.frame import Pixels, Size, check_pixels
from lcm_daemon.core.parameters import Values
from lcm_daemon.recipes.recipe import Recipe

Progress = Callable[[str], None]  # takes one short line: "loading unet", "warming up"


@dataclass(frozen=True)
class Report:
    """What a loaded pipeline says of itself, for the opening screen, the status and the bench."""

    model: str
    device: str  # "cuda:0 (NVIDIA H100)", "cpu (2 threads)"
    dtype: str
    size: Size  # the size it renders at, (width, height)
    upgrade: str = ""  # the accelerator with which it is worth loading once more, beside the one that plays


class Pipeline(ABC):
    """One recipe at one output size.

    It takes and fills pictures of the output size and scales to and from its own render size by itself.
    """

    def __init__(self, recipe: Recipe, size: Size) -> None:
        self.recipe, self.size = recipe, size
        self._loaded = False

    def load(self, progress: Progress) -> Report:
        """Load weights, move them to the device and warm up, so that the first frame is as fast as any.

        Raises RecipeError where trying again will not help (weights missing or corrupt).
        """
        report = self._load(progress)
        self._loaded = True
        return report

    def render(self, pixels: Pixels, values: Values, out: Pixels, guide: Pixels | None = None) -> dict[str, float]:
        """Repaint `pixels` into `out`, both uint8 (H, W, 4) of the output size.

        values: every parameter of `recipe.table()`.   guide: the show's second source, of the output size too.
        Returns the seconds spent by part ("encode", "denoise", "decode") where it knows them. Alpha passes through.
        """
        if not self._loaded:
            raise EngineError("the pipeline is not loaded")
        if not pixels.shape == out.shape == (self.size[1], self.size[0], 4):
            raise ValueError(f"pictures must be {self.size}, got {pixels.shape} and {out.shape}")
        return self._render(check_pixels(pixels), values, check_pixels(out), guide)

    @abstractmethod
    def _load(self, progress: Progress) -> Report: ...

    @abstractmethod
    def _render(self, pixels: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]: ...
