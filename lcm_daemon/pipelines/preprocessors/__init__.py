"""Choice of preprocessors by name. A preprocessor computes the control map that a ControlNet follows."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from safetensors import SafetensorError

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.plugins import PluginError, blame
from lcm_daemon.pipelines.preprocessors.base import Preprocessor, PreprocessorConfig
from lcm_daemon.pipelines.weights import find
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import PREPROCESSORS

# What reading a damaged or foreign file raises, by library: the file system, json, torch, safetensors.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def build(control: ControlNet, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> Preprocessor:
    """Build the preprocessor of a recipe's ControlNet, with its own model loaded on `device`.

    Raises:
        RecipeError: it cannot be built; the text says what would be right.
    """
    where = f"recipe {recipe.name}: controlnet {control.name}"
    kind = _load_class(control.preprocessor, where)
    if kind.detector and not control.detector:
        raise RecipeError(f"{where}: the preprocessor {control.preprocessor} needs a model of its own, such as "
                          f"detector: {kind.detector}; or send the control map itself, with preprocessor: none")
    detector = find(control.detector, recipe) if kind.detector else None
    plugin = PREPROCESSORS.plugin(control.preprocessor)
    try:
        with blame(plugin) if plugin else nullcontext():
            return kind.load(PreprocessorConfig(detector, device, dtype))
    except PluginError as error:
        raise RecipeError(f"{where}: {error}") from error
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RecipeError(f"{where}: the detector {control.detector} cannot be loaded: {reason[0]:.200}") from error


def _load_class(name: str, where: str) -> type[Preprocessor]:
    if name not in PREPROCESSORS:
        raise RecipeError(f"{where}: no preprocessor {name!r}; known are {', '.join(PREPROCESSORS)}")
    try:
        return load_class(name)
    except PluginError as error:
        raise RecipeError(f"{where}: {error}") from error


def load_class(name: str) -> type[Preprocessor]:
    """Import a preprocessor's class. Raises PluginError if it is of a plugin that does not work."""
    return PREPROCESSORS.load_class(name, Preprocessor)  # type: ignore[type-abstract]
