"""Redaction: takes texts that are private, such as prompts, out of other texts."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "(hidden)"
SHORTEST = 3  # characters of a text that is looked for; shorter ones are parts of every word
BEGINNING = 24  # characters of a long text that show where it is quoted, whole or cut off
# As Python writes a text, also one that was cut off; not the apostrophe of "the show's".
_QUOTED = re.compile(r"""(?:(?<!\w)|(?<=\bb))(?:'(?:\\.|[^'\\])*(?:'|\\?$)|"(?:\\.|[^"\\])*(?:"|\\?$))""", re.DOTALL)


class Redaction:
    """Replaces texts by HIDDEN, also where only their beginning is quoted.

    Args:
        texts: What to replace.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        wanted = {form for text in texts for form in (text.strip(), repr(text.strip())[1:-1])}
        self._texts = sorted((text for text in wanted if len(text) >= SHORTEST), key=len, reverse=True)

    def apply(self, text: str) -> str:
        """The text without the private ones."""
        for private in self._texts:
            text = _replace(text, private)
        return text


def without_quotations(text: str) -> str:
    """The text with HIDDEN in place of each quotation: what a message quotes, someone has sent."""
    return _QUOTED.sub(f"'{HIDDEN}'", text)


def _replace(text: str, private: str) -> str:
    beginning, parts, at = private[:BEGINNING], list[str](), 0
    while (found := text.find(beginning, at)) >= 0:
        end = found + len(beginning)
        while end < len(text) and end - found < len(private) and text[end] == private[end - found]:
            end += 1
        parts += [text[at:found], HIDDEN]
        at = end
    return "".join([*parts, text[at:]])
