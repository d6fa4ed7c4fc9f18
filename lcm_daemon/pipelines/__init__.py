"""The pipelines, by their names in recipes. Importing this package does not import torch."""

from __future__ import annotations

import importlib
from contextlib import nullcontext

from lcm_daemon.core.frame import Size
from lcm_daemon.pipelines.base import Pipeline
from lcm_daemon.processes.garbage import garbage_kept
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import PIPELINES

WITHOUT_TORCH = ("passthrough", "timed_copy")  # pipelines that import neither torch nor a library of models


def build(recipe: Recipe, size: Size) -> Pipeline:
    """Make the recipe's pipeline for frames of `size`, (width, height). It is not loaded yet."""
    module, _, name = PIPELINES[recipe.pipeline].partition(":")
    pipeline: Pipeline = getattr(importlib.import_module(module), name)(recipe, size)
    return pipeline


def warm_imports(name: str) -> None:
    """Import what a pipeline needs: this is most of an engine's start, and the same for all its recipes."""
    from lcm_daemon.pipelines.light_imports import light_imports

    with nullcontext() if name in WITHOUT_TORCH else light_imports(), garbage_kept():
        importlib.import_module(PIPELINES[name].partition(":")[0])
