"""Prompt syntax: weighted texts that blend, words with emphasis, breaks, LoRAs. No prompt is an error.

`ocean::0.7 lava::0.3` are two texts with their shares; blanks may stand before a number. `(word:1.3)` weights a word by
1.3, `(word)` by 1.1, `[word]` by 1 / 1.1; nested brackets multiply. A bracket, colon or backslash after a backslash is
plain text, and so is a bracket without a partner. `BREAK` begins another chunk of tokens, as in stable-diffusion-webui,
and tags such as `<lora:ink:0.8>` do not belong to the text (`prompt_tags`).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lcm_daemon.pipelines.prompt_tags import without_tags

TEXTS_LIMIT = 8  # texts in a blend: each is a pass of the text encoder when it is first used
SHARE_LIMIT = 1e6
EMPHASIS = 1.1  # factor of one pair of round brackets, as in stable-diffusion-webui
EMPHASIS_LIMIT = 10.0
BREAK = "BREAK"  # begins another chunk of tokens

Texts = tuple[tuple[str, float], ...]
"""Texts, or pieces of one text, with their weights."""

_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
# A number after a blank is a share only if no letter follows: `ocean:: 3d render` are two texts.
_SEPARATOR = re.compile(rf"\\[()\[\]:\\]|::+(?:({_NUMBER})|[ \t]+({_NUMBER})(?![\w%]|\.[0-9]))?")
_MARK = re.compile(rf"\\[()\[\]:\\]|[(\[]|(?::\s*({_NUMBER})\s*)?\)|\]")
_BLANK = " \t\r\n"  # what every tokenizer skips; some treat other whitespace that Python strips as letters
_PARTNER: Mapping[str, str] = {")": "(", "]": "["}


def mix(parts: Iterable[tuple[str, float]]) -> Texts:
    """Merge prompts with their shares into texts: each once, shares summing to 1, the largest TEXTS_LIMIT.

    Texts of share 0 are kept, because they may be about to fade in.
    """
    return _shared((text, inner * share) for prompt, share in parts for text, inner in split(prompt))


@functools.lru_cache(maxsize=256)
def split(prompt: str) -> Texts:
    """Split `a::0.7 b::0.3` into texts with their shares, which sum to 1. A text without a number has the weight 1.

    Blank texts are ignored. A weight below 0 counts as 0; where all are 0 the prompt is empty.
    """
    weighted = _weighted(without_tags(prompt))
    return _shared((text.strip(_BLANK), weight) for text, weight in weighted if text.strip(_BLANK))


def _weighted(prompt: str) -> Iterator[tuple[str, float]]:
    start = 0
    for separator in _SEPARATOR.finditer(prompt):
        if separator[0][0] == ":":
            yield prompt[start:separator.start()], float(separator[1] or separator[2] or 1.0)
            start = separator.end()
    yield prompt[start:], 1.0


def _shared(texts: Iterable[tuple[str, float]]) -> Texts:
    shares: dict[str, float] = {}
    for text, weight in texts:
        shares[text] = shares.get(text, 0.0) + min(max(weight, 0.0), SHARE_LIMIT)
    largest = sorted(shares.items(), key=lambda pair: -pair[1])[:TEXTS_LIMIT]
    total = sum(share for _, share in largest)
    if total <= 0.0:
        return ("", 1.0), *((text, 0.0) for text, _ in largest if text)
    return tuple((text, share / total) for text, share in largest)


def without_breaks(text: str) -> str:
    """The text without BREAK, for text encoders that have no chunks."""
    return re.sub(rf"\b{BREAK}\b", "", text)


def emphases(text: str) -> Texts:
    """Split a text into pieces with their emphasis, in order and without the brackets. Neighbours differ in emphasis.

    Joined, the pieces are the text. Brackets without a partner are part of it. Linear in the length of the text.
    """
    marks = list(_MARK.finditer(text))
    partners = _partners(marks)
    closings = set(partners.values())
    pieces: list[tuple[str, float]] = []
    factors, end = [1.0], 0
    for index, mark in enumerate(marks):
        pieces.append((text[end:mark.start()], factors[-1]))
        end = mark.end()
        if index in partners:
            factors.append(_limited(factors[-1] * _factor(marks[partners[index]])))
        elif index in closings:
            factors.pop()
        else:
            pieces.append((mark[0].removeprefix("\\"), factors[-1]))
    pieces.append((text[end:], factors[-1]))
    return tuple(_joined(pieces))


def _partners(marks: Sequence[re.Match[str]]) -> dict[int, int]:
    """Closing brackets by their opening ones, both as indices of `marks`. In `([)` the square one has no partner."""
    partners: dict[int, int] = {}
    open_marks: list[int] = []
    count = {"(": 0, "[": 0}
    for index, mark in enumerate(marks):
        if mark[0] in count:
            open_marks.append(index)
            count[mark[0]] += 1
        elif mark[0][0] != "\\" and count[_PARTNER[mark[0][-1]]]:
            partners[_pop(_PARTNER[mark[0][-1]], open_marks, marks, count)] = index
    return partners


def _pop(bracket: str, open_marks: list[int], marks: Sequence[re.Match[str]], count: dict[str, int]) -> int:
    """The last open bracket of this kind. Brackets opened after it stay without a partner."""
    while True:
        opening = open_marks.pop()
        count[marks[opening][0]] -= 1
        if marks[opening][0] == bracket:
            return opening


def _factor(closing: re.Match[str]) -> float:
    if closing[0] == "]":
        return 1.0 / EMPHASIS
    return float(closing[1]) if closing[1] else EMPHASIS


def _limited(factor: float) -> float:
    return min(max(factor, -EMPHASIS_LIMIT), EMPHASIS_LIMIT)


def _joined(pieces: Iterable[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    for factor, group in itertools.groupby((piece for piece in pieces if piece[0]), key=lambda piece: piece[1]):
        yield "".join(text for text, _ in group), factor
