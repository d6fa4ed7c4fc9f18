"""Structural copies: another arrangement of a module's layers, with the same weights.

An accelerator that exchanges layers works on such a copy. The original stays as it is, for the comparison and for
compilers, and both see the weights that a live LoRA moves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

Replacement = Callable[[nn.Module], nn.Module | None]  # what takes a module's place; None: the module stays

_TABLES = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs",
           "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")


def share(module: nn.Module) -> Any:
    """Copy a module and all modules in it. Parameters, buffers and all other attributes are the same objects."""
    return _share(module, {})


def replace(root: nn.Module, replacement: Replacement) -> int:
    """Replace modules below `root`, in place, from the outside to the inside; what was replaced is not searched.

    Returns:
        Number of replaced modules.
    """
    found = 0
    for name, child in list(root._modules.items()):
        made = None if child is None else replacement(child)
        if made is not None:
            root._modules[name] = made
            found += 1
        elif child is not None:
            found += replace(child, replacement)
    return found


def _share(module: nn.Module, done: dict[int, nn.Module]) -> nn.Module:
    """done: copies by the identity of the original, because a module may appear in several places."""
    if id(module) not in done:
        made = done[id(module)] = copy.copy(module)
        for name in _TABLES:
            table = getattr(module, name, None)
            if table is not None:
                object.__setattr__(made, name, table.copy())
        for name, child in module._modules.items():
            if child is not None:
                made._modules[name] = _share(child, done)
    return done[id(module)]
