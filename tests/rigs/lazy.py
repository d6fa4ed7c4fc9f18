"""Import a slow module at its first use, so that collecting the tests does not wait for it.

    torch = Lazy("torch")             # costs nothing
    torch.zeros(3)                    # imports torch

Where a test module needs a value while it is collected (parametrize), it must not come from a lazy module.
"""

from __future__ import annotations

import importlib
from typing import Any


class Lazy:
    """A module by name; an attribute that is read comes from the module itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
