"""Weights that a recipe names and can do without."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.load_errors import UNREADABLE, first_line
from lcm_daemon.pipelines.weights import find
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import OPTIONAL_WEIGHTS

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Network = TypeVar("_Network", bound=nn.Module)


def read_optional(recipe: Recipe, key: str, read: Callable[[Path], _T]) -> _T | None:
    """Read the file that a recipe names.

    Args:
        recipe: The recipe.
        key: One of OPTIONAL_WEIGHTS: it names the file, or a folder with one .safetensors file.
        read: Reads the file; raises one of UNREADABLE.

    Returns:
        None if the recipe names no file, or one that is not on this machine, which is logged.

    Raises:
        RecipeError: The file is there and cannot be read.
    """
    source: str = getattr(recipe, key)
    if not source:
        return None
    file = find(source, recipe)
    if file is not None and file.is_dir():
        file = next(iter(sorted(file.glob("*.safetensors"))), None)
    if file is None:
        log.warning("recipe %s: %s %s is not on this machine; %s", recipe.name, key, source,
                    OPTIONAL_WEIGHTS[key])
        return None
    try:
        return read(file)
    except UNREADABLE as error:
        raise RecipeError(f"recipe {recipe.name}: {key} {file} cannot be loaded: {first_line(error)}") from error


def place(network: _Network, device: torch.device, dtype: torch.dtype) -> _Network:
    """Move a network of convolutions to a device, in the layout that is fastest there; return it."""
    movable: Any = network
    placed: _Network = movable.to(device, dtype, memory_format=torch.channels_last)
    return placed
