"""The pipelines by name, as recipes give them. Importing this package imports no torch."""

from __future__ import annotations

import importlib

from lcm_daemon.core.frame import Size
from lcm_daemon.pipelines.base import Pipeline
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import PIPELINES


def build(recipe: Recipe, size: Size) -> Pipeline:
    """The recipe's pipeline for pictures of `size`, not yet loaded."""
    module, _, name = PIPELINES[recipe.pipeline].partition(":")
    pipeline: Pipeline = getattr(importlib.import_module(module), name)(recipe, size)
    return pipeline


def warm_imports(name: str) -> None:
    """Import what the pipeline of that name needs: most of an engine's start, and the same for every recipe of it."""
    importlib.import_module(PIPELINES[name].partition(":")[0])
