"""Reads the AppleScript for QLab: the cues that it makes, and the messages of each as QLab types them."""

from __future__ import annotations

import re
from typing import Any

_LITERAL = r'(?:"(?:[^"\\]|\\.)*"|\(character id \{[\d, ]+\}\))'
_TEXT = rf"{_LITERAL}(?: & {_LITERAL})*"
_CUE = re.compile(rf"^addCue\(theGroup, ({_TEXT}), ({_TEXT})\)$", re.MULTILINE)
_ARGUMENT = re.compile(r'"([^"]*)"|(\S+)')


def cues(data: bytes) -> list[tuple[str, str]]:
    """Name and message of each cue."""
    script = data.decode("ascii")
    return [(text(name), text(message)) for name, message in _CUE.findall(script)]


def text(expression: str) -> str:
    """The value of texts that are joined by &."""
    found = ""
    for part in re.findall(_LITERAL, expression):
        if part.startswith('"'):
            found += re.sub(r"\\(.)", r"\1", part[1:-1])
        else:
            found += "".join(chr(int(number)) for number in re.findall(r"\d+", part.partition("{")[2]))
    return found


def addresses(data: bytes) -> list[tuple[str, list[Any]]]:
    """Every message that the cues send."""
    return [(message.partition(" ")[0], _arguments(message.partition(" ")[2])) for _, message in cues(data)]


def _arguments(typed: str) -> list[Any]:
    """QLab takes what is quoted for a text, and the rest for numbers."""
    return [quoted if not bare else float(bare) if "." in bare else int(bare)
            for quoted, bare in _ARGUMENT.findall(typed)]
