"""PrivateTexts: the prompts that play or have played lately, so that they can be taken out of messages and reports."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Table
from lcm_daemon.core.redaction import Redaction

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

MOST_TEXTS = 64  # texts that are remembered


class PrivateTexts:
    """Notes the texts of every tick. stage: Whose."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._texts: OrderedDict[str, None] = OrderedDict()
        self._table: Table | None = None  # the names below are those of its texts
        self._names: list[str] = []

    def note(self) -> None:
        """Note the texts in force. Call it once a tick."""
        table = self._stage.parameters.table
        if table is not self._table:
            self._table, self._names = table, [name for name, each in table.items() if each.kind == "text"]
        for name in self._names:
            for text, _ in Blend.of(self._stage.values.get(name, "")).parts:
                self._texts[str(text)] = None
                self._texts.move_to_end(str(text))
        while len(self._texts) > MOST_TEXTS:
            self._texts.popitem(last=False)

    def all(self) -> list[str]:
        """Those, the show's bank of prompts, and what visitors have written."""
        return [*self._texts, *self._stage.show.prompts, *self._stage.audience.texts()]

    def redaction(self) -> Redaction:
        """What takes them out of a text."""
        return Redaction(self.all())
