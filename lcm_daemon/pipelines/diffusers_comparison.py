"""DiffusersComparison: times one recipe in this package and in diffusers' own pipeline, frame by frame alternately, so
that other load on the machine affects all of them equally.

Image to image, with the same steps, size and precision. diffusers' modules have the memory layout it loads them with.
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
from lcm_daemon.pipelines.components import Components, ComponentsLoader, load_components
from lcm_daemon.pipelines.diffusers_reference import DiffusersReference
from lcm_daemon.pipelines.latent_consistency import LatentConsistency
from lcm_daemon.recipes.recipe import Recipe

UNTIMED_FRAMES = 3  # rendered before times are recorded
COMPILE_TIMEOUT = 1800.0  # seconds
ACCELERATED, EAGER, DIFFUSERS = "accelerated", "eager", "diffusers"

Row = Mapping[str, float]  # seconds of one frame: "frame", and by part where that is known
Contender = Callable[[Pixels, Values], Row]


class DiffusersComparison:
    """The contenders for one recipe, loaded.

    Args:
        recipe: What to render.
        loader: Where the parts come from: `load_components`, or random weights.

    Attributes:
        where: Device and precision, for people.
    """

    def __init__(self, recipe: Recipe, loader: ComponentsLoader = load_components) -> None:
        self.recipe = recipe
        shared = loader if recipe.image_prompt else _once(loader)  # an adapter changes the UNet that it is put into
        eager = _load(replace(recipe, accelerate="none"), shared)
        components = eager.renderer.components
        self.where = f"{devices.describe(components.device)}, {str(components.dtype).removeprefix('torch.')}"
        self._fast = _load(recipe, shared) if recipe.accelerate != "none" else None
        reference = DiffusersReference(recipe, recipe.size, loader=loader)
        self._contenders: dict[str, Contender] = {
            EAGER: lambda frame, values: _time_frame(eager, frame, values, is_plain=True),
            DIFFUSERS: lambda frame, values: _time_reference(reference, frame, values),
        }

    @property
    def accelerators(self) -> str:
        """Accelerators in use at this moment: "openvino", "none", or by part where they differ."""
        names = self._fast.renderer.acceleration.active_names() if self._fast else {}
        same = len(set(names.values())) == 1
        return next(iter(names.values())) if same else ", ".join(map(" ".join, names.items())) or "none"

    def measure(self, steps: int, frames: int) -> dict[str, list[Row]]:
        """Render this many frames with each contender, alternately, after a warm-up.

        ACCELERATED is part of the result if at least one module could be accelerated.
        """
        values: Values = self.recipe.start_values() | {"steps": steps, "strength": 1.0, "mode": "image", "mix": 1.0}
        width, height = self.recipe.size
        frame = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
        contenders = {**self._accelerate(frame, values), **self._contenders}
        rows: dict[str, list[Row]] = {name: [] for name in contenders}
        for number in range(UNTIMED_FRAMES + frames):
            for name, render in contenders.items():
                row = render(frame, values)
                if number >= UNTIMED_FRAMES:
                    rows[name].append(row)
        return rows

    def _accelerate(self, frame: Pixels, values: Values) -> dict[str, Contender]:
        fast = self._fast
        if fast is None:
            return {}
        _time_frame(fast, frame, values, is_plain=False)  # requests the compilation for these values
        acceleration = fast.renderer.acceleration
        acceleration.wait(COMPILE_TIMEOUT)
        if set(acceleration.active_names().values()) == {"none"}:
            return {}
        return {ACCELERATED: lambda frame, values: _time_frame(fast, frame, values, is_plain=False)}


def _once(loader: ComponentsLoader) -> ComponentsLoader:
    """Load only once, so that the two contenders of this package share their modules."""
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


def _time_reference(reference: DiffusersReference, frame: Pixels, values: Values) -> Row:
    begun = time.perf_counter()
    reference.render(frame, values)
    return {"frame": time.perf_counter() - begun}


def _time_frame(pipeline: LatentConsistency, frame: Pixels, values: Values, is_plain: bool) -> Row:
    """Time one frame, in total and by part. For plain modules on the CPU also the time outside of forward passes."""
    out, components = solid(pipeline.size), pipeline.renderer.components
    timing: AbstractContextManager[list[float]] = nullcontext([])
    if is_plain and components.device.type == "cpu":
        timing = _forward_times(components)
    with timing as inside:
        begun = time.perf_counter()
        parts = pipeline.render(frame, values, out)
        total = time.perf_counter() - begun
    return {**parts, "frame": total, **({"outside": total - sum(inside)} if inside else {})}


@contextmanager
def _forward_times(components: Components) -> Iterator[list[float]]:
    """Collect the seconds of every forward pass of the UNet and of both halves of the VAE."""
    inside, begun = list[float](), [0.0]

    def enter(*_: Any) -> None:
        begun[0] = time.perf_counter()

    def leave(*_: Any) -> None:
        inside.append(time.perf_counter() - begun[0])

    modules = (components.unet, components.vae.encoder, components.vae.decoder)
    handles = [handle for module in modules
               for handle in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave))]
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()
