"""The pipelines, by their names in recipes. Importing this package does not import torch."""

from __future__ import annotations

from contextlib import nullcontext, suppress

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Size
from lcm_daemon.core.plugins import PluginError, blame
from lcm_daemon.pipelines.base import Pipeline
from lcm_daemon.processes.garbage import garbage_kept
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import PIPELINES

WITHOUT_TORCH = ("passthrough", "timed_copy")  # pipelines that import neither torch nor a library of models


def build(recipe: Recipe, size: Size) -> Pipeline:
    """Make the recipe's pipeline for frames of `size`, (width, height). It is not loaded yet.

    Raises:
        RecipeError: The pipeline is of a plugin that does not work.
    """
    plugin = PIPELINES.plugin(recipe.pipeline)
    try:
        kind = load_class(recipe.pipeline)
        with blame(plugin) if plugin else nullcontext():
            return kind(recipe, size)
    except PluginError as error:
        raise RecipeError(f"recipe {recipe.name}: {error}") from error


def load_class(name: str) -> type[Pipeline]:
    """Import a pipeline's class. Raises PluginError if it is of a plugin that does not work."""
    return PIPELINES.load_class(name, Pipeline)  # type: ignore[type-abstract]


def warm_imports(name: str) -> None:
    """Import what a pipeline needs: this is most of an engine's start, and the same for all its recipes."""
    from lcm_daemon.pipelines.light_imports import light_imports

    imports = nullcontext() if name in WITHOUT_TORCH else light_imports()
    with imports, garbage_kept(), suppress(PluginError):  # `build` raises it again, with the recipe's name
        load_class(name)
