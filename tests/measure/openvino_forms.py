"""Time the built-in model in OpenVINO's forms, alternately: `python -m tests.measure.openvino_forms --seconds 60`.

Float and int8, each without LoRAs and with both up, beside torch's eager form and diffusers' own pipeline. The machine
should be quiet. Everything runs alternately in one process, so other load slows all of them; the medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Value
from lcm_daemon.pipelines.diffusers_reference import DiffusersReference
from lcm_daemon.pipelines.latent_consistency import LatentConsistency
from lcm_daemon.recipes.reader import load_recipe

SIZE = (256, 256)
LORAS = {"lora/neon": 0.7, "lora/ink": 0.4}
COMPILE_SECONDS = 900.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--diffusers", action="store_true", help="time diffusers and the eager form too")
    options = parser.parse_args()
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8).repeat(8, 0).repeat(8, 1).copy()
    jobs: dict[str, Callable[[], Any]] = {}
    for name, changes in (("float", {"dtype": "float32"}), ("int8", {"dtype": "auto"})):
        pipeline = load(frame, accelerate="openvino", **changes)
        jobs[name] = player(pipeline, frame, {})
        jobs[f"{name}, LoRAs up"] = player(pipeline, frame, LORAS)
    if options.diffusers:
        jobs["eager"] = player(load(frame, accelerate="none"), frame, {})
        recipe = replace(load_recipe("builtin"), accelerate="none")
        reference = DiffusersReference(recipe, SIZE)
        values = {**recipe.start_values(), "mix": 1.0}
        jobs["diffusers"] = lambda: reference.render(frame, values)
    for name, (median, parts) in measure(jobs, options.seconds).items():
        shares = ", ".join(f"{part} {1000 * seconds:.1f}" for part, seconds in parts.items())
        print(f"{name:20} {1000 * median:7.1f} ms {1 / median:6.1f} frames/s  {shares}")


def load(frame: Pixels, **changes: Any) -> LatentConsistency:
    """Load, and wait until everything is compiled."""
    pipeline = LatentConsistency(replace(load_recipe("builtin"), **changes), SIZE)
    pipeline.load(lambda line: None)
    acceleration = pipeline.renderer.acceleration
    for values in ({}, LORAS):
        player(pipeline, frame, values)()
        if not acceleration.wait(COMPILE_SECONDS):
            raise SystemExit("the modules are not compiled")
    print(changes, acceleration.active_names(), flush=True)
    return pipeline


def player(pipeline: LatentConsistency, frame: Pixels, changes: dict[str, Value]) -> Callable[[], Any]:
    """Render one frame with these values."""
    out, values = np.zeros_like(frame), {**pipeline.recipe.start_values(), "mix": 1.0, **changes}
    return lambda: pipeline.render(frame, values, out)


def measure(jobs: dict[str, Callable[[], Any]], seconds: float) -> dict[str, tuple[float, dict[str, float]]]:
    """Seconds of a frame of each job, and of each part that it reports: the medians."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    parts: dict[str, dict[str, list[float]]] = {name: {} for name in jobs}
    for job in jobs.values():
        job()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, job in jobs.items():
            for number in range(4):
                begun = time.perf_counter()
                made = job()
                if number:  # the first one may move the LoRAs
                    times[name].append(time.perf_counter() - begun)
                    for part, seconds_spent in made.items() if isinstance(made, dict) else ():
                        parts[name].setdefault(part, []).append(seconds_spent)
    return {name: (statistics.median(each), {part: statistics.median(some) for part, some in parts[name].items()})
            for name, each in times.items()}


if __name__ == "__main__":
    main()
