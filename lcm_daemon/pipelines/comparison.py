"""Comparison: one recipe painted by us and by diffusers' own pipeline, in turn, so that a busy machine is busy for all.

Image to image, at the same steps, size and precision; diffusers' modules lie in memory as it loads them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines import device as devices
from lcm_daemon.pipelines.components import Components, load_components
from lcm_daemon.pipelines.latent_consistency import LatentConsistency, Loading
from lcm_daemon.pipelines.reference import Reference
from lcm_daemon.recipes.recipe import Recipe

WARM_UP = 3  # frames before the clock runs
COMPILING = 1800.0  # seconds for the accelerator, at most
ACCELERATED, EAGER, DIFFUSERS = "accelerated", "eager", "diffusers"

Row = Mapping[str, float]  # seconds of one frame: "frame", and by part where that is known
Painter = Callable[[Pixels, Values], Row]


class Comparison:
    """The contenders for one recipe, loaded. loading: where the parts come from, `load_components` or random ones.

    where: the device and the precision, for people.
    """

    def __init__(self, recipe: Recipe, loading: Loading = load_components) -> None:
        self.recipe = recipe
        shared = loading if recipe.image_prompt else _once(loading)  # an adapter changes the UNet it is put into
        eager = _load(replace(recipe, accelerate="none"), shared)
        parts = eager.components
        self.where = f"{devices.describe(parts.device)}, {str(parts.dtype).removeprefix('torch.')}"
        self._fast = _load(recipe, shared) if recipe.accelerate != "none" else None
        reference = Reference(recipe, recipe.size, loading=loading)
        self._painters: dict[str, Painter] = {
            EAGER: lambda pixels, values: _paint(eager, pixels, values, is_plain=True),
            DIFFUSERS: lambda pixels, values: _refer(reference, pixels, values),
        }

    @property
    def accelerators(self) -> str:
        """What our modules play on by now: "openvino", "none", or by part where they differ."""
        names = self._fast.acceleration.names() if self._fast else {}
        same = len(set(names.values())) == 1
        return next(iter(names.values())) if same else ", ".join(map(" ".join, names.items())) or "none"

    def race(self, steps: int, frames: int) -> dict[str, list[Row]]:
        """So many frames by each in turn, after a warm-up; ours accelerated first, where anything could be."""
        values: Values = self.recipe.start() | {"steps": steps, "strength": 1.0, "mode": "image", "mix": 1.0}
        width, height = self.recipe.size
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
        painters = {**self._accelerate(pixels, values), **self._painters}
        rows: dict[str, list[Row]] = {name: [] for name in painters}
        for number in range(WARM_UP + frames):
            for name, paint in painters.items():
                row = paint(pixels, values)
                if number >= WARM_UP:
                    rows[name].append(row)
        return rows

    def _accelerate(self, pixels: Pixels, values: Values) -> dict[str, Painter]:
        fast = self._fast
        if fast is None:
            return {}
        _paint(fast, pixels, values, is_plain=False)  # asks for what these values need
        fast.acceleration.wait(COMPILING)
        if set(fast.acceleration.names().values()) == {"none"}:
            return {}
        return {ACCELERATED: lambda pixels, values: _paint(fast, pixels, values, is_plain=False)}


def _once(loading: Loading) -> Loading:
    """Our two contenders share their modules."""
    made: list[Components] = []

    def load(*arguments: Any) -> Components:
        if not made:
            made.append(loading(*arguments))
        return made[0]

    return load


def _load(recipe: Recipe, loading: Loading) -> LatentConsistency:
    pipeline = LatentConsistency(recipe, recipe.size, loading)
    pipeline.load(lambda line: None)
    return pipeline


def _refer(reference: Reference, pixels: Pixels, values: Values) -> Row:
    begun = time.perf_counter()
    reference.paint(pixels, values)
    return {"frame": time.perf_counter() - begun}


def _paint(pipeline: LatentConsistency, pixels: Pixels, values: Values, is_plain: bool) -> Row:
    """One frame, with what it spends by part; of plain modules on the CPU also what is outside their forward passes."""
    out, parts = solid(pipeline.size), pipeline.components
    timing: AbstractContextManager[list[float]] = nullcontext([])
    if is_plain and parts.device.type == "cpu":
        timing = _timed(parts)
    with timing as inside:
        begun = time.perf_counter()
        spent = pipeline.render(pixels, values, out)
        whole = time.perf_counter() - begun
    return {**spent, "frame": whole, **({"outside": whole - sum(inside)} if inside else {})}


@contextmanager
def _timed(parts: Components) -> Iterator[list[float]]:
    """Collect the seconds of every forward pass of the UNet and of the VAE's two halves."""
    inside, begun = list[float](), [0.0]

    def enter(*_: Any) -> None:
        begun[0] = time.perf_counter()

    def leave(*_: Any) -> None:
        inside.append(time.perf_counter() - begun[0])

    modules = (parts.unet, parts.vae.encoder, parts.vae.decoder)
    handles = [handle for module in modules
               for handle in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave))]
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()
