"""What the parts of the bench share: the task, shows made of a mapping, and the memory of processes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from lcm_daemon.core.frame import Size
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show

BENCH_SIZE: Size = (512, 512)  # pixels, of input and output
STEPS = (1, 2, 4)


@dataclass(frozen=True)
class Task:
    """What to measure.

    Attributes:
        recipe: the recipe whose model is measured.
        frames: frames to measure for each figure.
        steps: the numbers of steps to measure.
        random: use the model's architecture with random weights, from no file. Only the model is measured then.
        reference: how a show file names the recipe.
    """

    recipe: Recipe
    frames: int = 60
    steps: tuple[int, ...] = STEPS
    random: bool = False
    reference: str = ""


def show_of(content: Mapping[str, Any]) -> Show:
    """Return the show that a file with this content describes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.yaml"
        path.write_text(yaml.safe_dump({"crash_reports": {"keep": 0}, **content}))  # nothing stays of a bench
        return load_show(path, environment={})


def tree_memory(pid: int) -> float:
    """Return the private memory of a process and all its descendants, in MiB."""
    process = psutil.Process(pid)
    return sum(_private_memory(each) for each in (process, *process.children(recursive=True))) / 2**20


def _private_memory(process: psutil.Process) -> int:
    """Return bytes. macOS reports shared memory to administrators only; there it is the resident set."""
    try:
        return int(process.memory_full_info().uss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
