"""Errors that a damaged or foreign weight file causes, and how they are reported."""

from __future__ import annotations

from safetensors import SafetensorError

# Raised while reading such a file, by library: the file system, json, torch, safetensors.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def first_line(error: BaseException) -> str:
    """The first line of the error's text, at most 200 characters; without a text the name of its class."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
