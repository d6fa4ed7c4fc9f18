"""Preprocessors: what makes the map that a ControlNet follows, by the name that a recipe gives it."""

from __future__ import annotations

from importlib import import_module

import torch
from safetensors import SafetensorError

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.preprocessors.base import Preprocessor, Setting
from lcm_daemon.pipelines.weights import find
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import PREPROCESSORS

# What reading a damaged or foreign file raises, by library: the file system, json, torch, safetensors.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def build(control: ControlNet, recipe: Recipe, device: torch.device, dtype: torch.dtype) -> Preprocessor:
    """The preprocessor that a recipe's ControlNet asks for, its own model loaded on `device`.

    Raises RecipeError, one line that says what would be right.
    """
    where = f"recipe {recipe.name}: controlnet {control.name}"
    kind = _kind(control.preprocessor, where)
    if kind.detector and not control.detector:
        raise RecipeError(f"{where}: the preprocessor {control.preprocessor} needs a model of its own, such as "
                          f"detector: {kind.detector}; or send the map itself, with preprocessor: none")
    place = find(control.detector, recipe) if kind.detector else None
    try:
        return kind.load(Setting(place, device, dtype))
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RecipeError(f"{where}: the detector {control.detector} cannot be loaded: {reason[0]:.200}") from error


def _kind(name: str, where: str) -> type[Preprocessor]:
    if name not in PREPROCESSORS:
        raise RecipeError(f"{where}: there is no preprocessor {name!r}, only {', '.join(PREPROCESSORS)}")
    module, attribute = PREPROCESSORS[name].split(":")
    kind: type[Preprocessor] = getattr(import_module(module), attribute)
    return kind
