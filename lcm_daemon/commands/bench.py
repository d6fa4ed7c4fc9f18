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
from typing import Any

import psutil

from lcm_daemon.commands.arguments import find_recipes
from lcm_daemon.commands.bench_daemon import measure_bus, measure_start
from lcm_daemon.commands.bench_engines import EngineFigures, as_figures, measure_engines
from lcm_daemon.commands.bench_model import measure_model
from lcm_daemon.commands.bench_report import Figures
from lcm_daemon.commands.bench_stage import measure_stage
from lcm_daemon.commands.bench_task import Task
from lcm_daemon.commands.html_page import check_writable, heading, page, table
from lcm_daemon.commands.output import print_line
from lcm_daemon.commands.svg_plot import bar_chart
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


def bench(task: Task, file: str | None = None, html: str | None = None) -> int:
    """Measure everything and print each figure as it comes. Return the exit code.

    Args:
        task: what to measure.
        file: also write the figures to this file, as JSON.
        html: also write them to this file, as a page.

    Raises:
        LcmDaemonError: a file cannot be written. This is checked before anything is measured.
    """
    check_writable(file)
    check_writable(html)
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
    about = {"machine": machine(), "recipe": task.recipe.name, "random weights": task.random}
    if file:
        Path(file).write_text(json.dumps({**about, **report}, indent=2) + "\n")
    if html:
        Path(html).write_text(bench_page(about, report), "utf-8")
    return 0


def bench_page(about: Mapping[str, Any], report: Mapping[str, Figures]) -> str:
    """The report as a page. about: Machine and recipe. report: The figures of each measurement."""
    body = [table(("", ""), [(name, _shown(value)) for name, value in about["machine"].items()])]
    for title, figures in report.items():
        bars = [(name.partition(",")[0], value) for name, value in figures.items()
                if isinstance(value, float) and name.endswith("frames/s")]
        rows = [(name, _shown(value)) for name, value in figures.items()]
        body += [heading(title), *([bar_chart(bars, "frames/s")] if bars else []), table(("figure", "value"), rows)]
    return page(f"Bench of {about['recipe']}", body, {**about, **report})


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2f}"


def bench_engines(most: int, size: Size, file: str | None = None) -> int:
    """Measure 1, 2, 4, ... `most` engines and print a line for each. Arguments and errors as of `bench`."""
    check_writable(file)
    runs: list[EngineFigures] = []
    for run in measure_engines(most, size):
        runs.append(run)
        print_line(str(run))
    if file:
        about = {"machine": machine(), "size": "{}x{}".format(*size)}
        Path(file).write_text(json.dumps({**about, "engines": as_figures(runs)}, indent=2) + "\n")
    return 0


def machine() -> Figures:
    """What figures were measured on."""
    memory = psutil.virtual_memory().total / 2**30
    return {"system": platform.platform(), "python": platform.python_version(), "cores": float(os.cpu_count() or 0),
            "memory GiB": memory}
