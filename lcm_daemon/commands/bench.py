"""`lcm-daemon bench`: measures the stage, a whole daemon, and the model of a recipe on this machine.

Everything that loads torch runs in a process of its own, as it does in a show.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import psutil

from lcm_daemon.commands.arguments import find_recipes
from lcm_daemon.commands.bench_daemon import measure_bus, measure_start
from lcm_daemon.commands.bench_engines import EngineFigures, as_figures, measure_engines
from lcm_daemon.commands.bench_model import measure_model
from lcm_daemon.commands.bench_report import Figures
from lcm_daemon.commands.bench_stage import measure_stage
from lcm_daemon.commands.bench_task import Task
from lcm_daemon.commands.output import print_line
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Size
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.recipes.registry import ACCELERATOR_CHOICES

MEASUREMENTS: Mapping[str, Callable[[Task], Figures]] = {
    "stage": measure_stage,
    "bus in to bus out": measure_bus,
    "start": measure_start,
    "model": measure_model,
}


def task_for(
    name: str, frames: int, steps: tuple[int, ...], size: Size | None, accelerator: str | None, random: bool,
) -> Task:
    """Return the task for a recipe.

    Args:
        name: name of a packaged recipe, or a file.
        frames: frames to measure for each figure.
        steps: numbers of steps to measure.
        size: size in pixels, or None for the recipe's.
        accelerator: name of an accelerator, or None for the recipe's.
        random: use random weights.

    Raises:
        LcmDaemonError: the recipe or the accelerator is unknown.
    """
    if accelerator is not None and accelerator not in ACCELERATOR_CHOICES:
        raise LcmDaemonError(f"--accelerate: no accelerator {accelerator!r}{nearest(accelerator, ACCELERATOR_CHOICES)}")
    recipe = find_recipes(name)[0]
    reference = recipe.name if recipe.name == name else str(Path(name).absolute())
    recipe = replace(recipe, size=size or recipe.size, accelerate=accelerator or recipe.accelerate)
    return Task(recipe, frames, steps, random, reference)


def bench(task: Task, file: str | None = None) -> int:
    """Measure everything and print each figure as it comes. Return the exit code.

    Args:
        task: what to measure.
        file: also write the figures to this file, as JSON.

    Raises:
        LcmDaemonError: the file cannot be written. This is checked before anything is measured.
    """
    _check_writable(file)
    report: dict[str, Figures] = {}
    for title, measure in MEASUREMENTS.items():
        if task.random and title != "model":
            continue
        print_line(f"\n{title}")
        try:
            report[title] = measure(task)
        except LcmDaemonError as error:
            report[title] = {"failed": str(error)}
        for name, value in report[title].items():
            print_line(f"  {name:44} {value if isinstance(value, str) else f'{value:10.2f}'}")
    if file:
        about = {"machine": _machine(), "recipe": task.recipe.name, "random weights": task.random}
        Path(file).write_text(json.dumps({**about, **report}, indent=2) + "\n")
    return 0


def bench_engines(most: int, size: Size, file: str | None = None) -> int:
    """Measure 1, 2, 4, ... `most` engines and print a line for each. Arguments and errors as of `bench`."""
    _check_writable(file)
    runs: list[EngineFigures] = []
    for run in measure_engines(most, size):
        runs.append(run)
        print_line(str(run))
    if file:
        about = {"machine": _machine(), "size": "{}x{}".format(*size)}
        Path(file).write_text(json.dumps({**about, "engines": as_figures(runs)}, indent=2) + "\n")
    return 0


def _check_writable(file: str | None) -> None:
    try:
        if file:
            Path(file).open("a").close()
    except OSError as error:
        raise LcmDaemonError(f"{file}: cannot be written: {error.strerror}") from error


def _machine() -> Figures:
    memory = psutil.virtual_memory().total / 2**30
    return {"system": platform.platform(), "python": platform.python_version(), "cores": float(os.cpu_count() or 0),
            "memory GiB": memory}
