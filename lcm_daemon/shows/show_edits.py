"""ShowEdits: changes of a show file, as `show_writer` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lcm_daemon.core.bindings import BindingEdit
from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Value


@dataclass(frozen=True)
class ShowEdits:
    """Changes of a show file.

    Attributes:
        parameters: Start values to set.
        sections: Top-level keys to replace, such as `prompts`; None leaves a key out.
        size: (width, height) in pixels that the recipe is rendered at; None does not change it.
        copies: Top-level keys that become a copy of an entry of `sources`, with its name.
        bindings: Changes of the MIDI and OSC maps, in their order.
    """

    parameters: Mapping[str, Value] = field(default_factory=dict)
    sections: Mapping[str, Any] = field(default_factory=dict)
    size: Size | None = None
    copies: Mapping[str, str] = field(default_factory=dict)
    bindings: Sequence[BindingEdit] = ()

    @property
    def keys(self) -> frozenset[str]:
        """The top-level keys that change, but for `parameters` and the maps."""
        return frozenset({*self.sections, *self.copies, *({"recipe"} if self.size else ())})

    def of(self, key: str) -> tuple[Any, ...]:
        """What a top-level key becomes."""
        return self.sections.get(key), self.copies.get(key), self.size if key == "recipe" else None

    def __bool__(self) -> bool:
        return bool(self.parameters or self.keys or self.bindings)
