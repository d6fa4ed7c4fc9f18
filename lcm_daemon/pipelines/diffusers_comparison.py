"""DiffusersComparison: times one recipe in this package and in diffusers' own pipeline, alternately, so that other load
on the machine affects all of them equally.

Image to image, with the same steps, size and precision. diffusers' modules have the memory layout it loads them with.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.accelerators import find_upgrade
from lcm_daemon.pipelines.bench_forms import (
    ACCELERATED,
    DIFFUSERS,
    EAGER,
    RECORDED,
    UNTIMED_FRAMES,
    BenchForm,
    Row,
    TimedPipeline,
    forms_of,
)
from lcm_daemon.pipelines.components import Components, ComponentsLoader, load_components
from lcm_daemon.pipelines.diffusers_reference import DiffusersReference, without_pipeline
from lcm_daemon.pipelines.latent_consistency import LatentConsistency
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import STABLE_DIFFUSION


class DiffusersComparison:
    """The forms of one recipe, and diffusers' pipeline, loaded. Of other families than Stable Diffusion only the forms.

    Args:
        recipe: What to render.
        loader: Where the parts come from: `load_components`, or random weights.

    Attributes:
        where: Device and precision, for people.
    """

    def __init__(self, recipe: Recipe, loader: ComponentsLoader = load_components) -> None:
        self.recipe = recipe
        shared = loader if recipe.all_image_prompts else _once(loader)  # an adapter changes the UNet that it is in
        device = devices.choose_device(recipe)
        forms = forms_of(recipe, device.type, find_upgrade(device))
        self._players = {name: TimedPipeline(_load(form, shared)) for name, form in reversed(forms.items())}
        components = self._players[EAGER].components
        self._precision = str(components.dtype).removeprefix("torch.")
        self.where = f"{devices.describe(components.device)}, {self._precision}"
        self._reference: DiffusersReference | None = None
        # diffusers' pipelines of other families take other arguments.
        if recipe.family == STABLE_DIFFUSION and not without_pipeline(recipe, components):
            self._reference = DiffusersReference(recipe, recipe.size, loader=loader)

    @property
    def accelerators(self) -> str:
        """Accelerators in use at this moment: "openvino", "none", or by part where they differ."""
        return self._players[ACCELERATED].accelerators if ACCELERATED in self._players else "none"

    def labels(self) -> dict[str, str]:
        """How each form plays at this moment, by its name."""
        return {name: form.label for name, form in self._forms().items()}

    def measure(self, steps: int, frames: int) -> dict[str, list[Row]]:
        """Render at least this many frames with each form, alternately, after a warm-up.

        ACCELERATED is part of the result if at least one module could be accelerated.
        """
        values: Values = self.recipe.start_values() | {"steps": steps, "strength": 1.0, "mode": "image", "mix": 1.0}
        width, height = self.recipe.size
        frame = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
        if ACCELERATED in self._players:
            self._players[ACCELERATED].compile(frame, values)
        forms = self._forms()
        rows: dict[str, list[Row]] = {name: [] for name in forms}
        for form in forms.values():
            form.play(frame, values, form.untimed)
        for _ in range(frames):
            for name, form in forms.items():
                rows[name] += form.timed(frame, values)
        return rows

    def _forms(self) -> dict[str, BenchForm]:
        """Those that can be compared, the fastest first."""
        names = [name for name in (ACCELERATED, RECORDED, EAGER) if name in self._players]
        if self.accelerators == "none":
            names = [name for name in names if name != ACCELERATED]
        found = {name: self._players[name].form(self._precision) for name in names}
        if self._reference is None:
            return found
        label = f"diffusers' own pipeline, {self._precision}, not recorded, 1 frame in flight"
        return {**found, DIFFUSERS: BenchForm(label, UNTIMED_FRAMES, 1, self._play_reference)}

    def _play_reference(self, frame: Pixels, values: Values, frames: int) -> list[Row]:
        rows: list[Row] = []
        for _ in range(frames):
            begun = time.perf_counter()
            assert self._reference is not None  # otherwise it is not among the forms
            self._reference.render(frame, values)
            seconds = time.perf_counter() - begun
            rows.append({"frame": seconds, "latency": seconds})
        return rows


def _once(loader: ComponentsLoader) -> ComponentsLoader:
    """Load only once, so that the two forms of this package share their modules."""
    loaded: list[Components] = []

    def load(*arguments: Any) -> Components:
        if not loaded:
            loaded.append(loader(*arguments))
        return loaded[0]

    return load


def _load(recipe: Recipe, loader: ComponentsLoader) -> LatentConsistency:
    pipeline = LatentConsistency(recipe, recipe.size, loader)
    pipeline.load(lambda line: None)
    return pipeline
