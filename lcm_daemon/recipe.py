"""Recipe: a model set-up as data. Read from YAML, checked with places, handed to the engine as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lcm_daemon.document import Boolean, Choice, Field, Fields, Node, Number, PixelSize, Reader, Text
from lcm_daemon.frame import Size

FOLDER = Path(__file__).parent / "recipes"

FIELDS: Fields = {
    "pipeline": Field(Choice(("latent_consistency", "passthrough")), "latent_consistency"),
    "title": Field(Text(), ""),
}


@dataclass(frozen=True)
class Recipe:
    """A model set-up. `name` is how the show calls it."""

    name: str
    pipeline: str = "latent_consistency"
    title: str = ""
