"""Errors that a damaged or foreign weight file causes, and how they are reported."""

from __future__ import annotations

from safetensors import SafetensorError

from lcm_daemon.recipes.safetensors_header import BadWeightFile

# Raised while reading such a file: by the file system, json, torch and safetensors, and where a shape is impossible.
UNREADABLE = (OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError,
              SafetensorError, BadWeightFile)


def first_line(error: BaseException) -> str:
    """The first line of the error's text, at most 200 characters; without a text the name of its class."""
    if isinstance(error, KeyError):  # its text is the key alone
        return f"it lacks {error}"[:200]
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
