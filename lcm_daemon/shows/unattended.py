"""The keys of a show that is left alone: what keeps it going, and whom it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcm_daemon.core.document import Problems
from lcm_daemon.core.schema import Fields


@dataclass(frozen=True)
class Unattended:
    """What a show says about being left alone. Each attribute is one key of the show."""


def unattended_fields(base: Path) -> Fields:
    """The keys. base: Folder that relative paths start from."""
    return {}


def read_unattended(found: Mapping[str, Any], problems: Problems) -> Unattended:
    """What the show says. found: The values of all keys of the show; what is wrong with them goes to `problems`."""
    return Unattended()
