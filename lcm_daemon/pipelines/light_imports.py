"""Imports of diffusers and transformers without libraries that they import but an engine never uses.

diffusers imports peft for LoRAs, which an engine reads by itself, and both import scipy for training losses and a few
schedulers. Together these are a fifth of what an engine imports before its first picture.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_HIDDEN = ("peft", "scipy")


@contextmanager
def light_imports() -> Iterator[None]:
    """While this is open, diffusers and transformers find neither peft nor scipy; later imports find both again."""
    hidden = [name for name in _HIDDEN if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # importlib reads this as "not to be found"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
            _announce(name)


def _announce(name: str) -> None:
    """Let both libraries look for a package again: they remember for good what they have not found."""
    is_there = importlib.util.find_spec(name) is not None
    of_diffusers: Any = sys.modules.get("diffusers.utils.import_utils")
    if hasattr(of_diffusers, f"_{name}_available"):
        setattr(of_diffusers, f"_{name}_available", is_there)
    of_transformers: Any = sys.modules.get("transformers.utils.import_utils")
    getattr(getattr(of_transformers, f"is_{name}_available", None), "cache_clear", lambda: None)()
