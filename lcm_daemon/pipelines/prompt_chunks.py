"""Splits one text into chunks of tokens, as stable-diffusion-webui does: by their number, and at BREAK.

A learned word (`embeddings`) becomes the token numbers that its vectors have in the text encoder. It is never split: if
it does not fit into a chunk, it begins the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lcm_daemon.pipelines.prompt_syntax import BREAK, emphases

Chunk = Sequence[tuple[int, float]]  # tokens with their emphasis
LearnedWords = Mapping[str, Sequence[int]]  # token numbers by word, in lower case
_Unit = tuple[Sequence[int], float]  # tokens that stay together; none for a break

_ENDINGS = r"(?:\.(?:safetensors|pt|bin))?"


def chunks_of(tokenizer: Any, text: str, words: LearnedWords, room: int, limit: int) -> list[Chunk]:
    """Tokenize a text with emphasis.

    Args:
        tokenizer: A CLIPTokenizer.
        text: One text of a prompt, without `::`.
        words: The learned words of its text encoder.
        room: Tokens in a chunk, without the start and end tokens.
        limit: Most chunks. Further tokens are left out. With one chunk, BREAK has no effect.

    Returns:
        At least one chunk.
    """
    chunks: list[list[tuple[int, float]]] = [[]]
    for numbers, factor in _units(tokenizer, text, words):
        is_full = bool(chunks[-1]) and len(chunks[-1]) + len(numbers) > room
        if is_full or (not numbers and limit > 1):
            if len(chunks) == limit:
                break
            chunks.append([])
        chunks[-1] += [(number, factor) for number in numbers[:room]]
    return list(chunks if chunks[-1] or len(chunks) == 1 else chunks[:-1])  # nothing follows the last break


def _units(tokenizer: Any, text: str, words: LearnedWords) -> Iterator[_Unit]:
    pieces = [(piece, factor) for whole, factor in emphases(text) for piece in _split(whole, words)]
    texts = [piece for piece, _ in pieces if isinstance(piece, str)]
    numbers = iter(tokenizer(texts, add_special_tokens=False, verbose=False).input_ids if texts else ())
    for piece, factor in pieces:
        if isinstance(piece, str):
            yield from (((number,), factor) for number in next(numbers))
        else:
            yield piece, factor


def _split(text: str, words: LearnedWords) -> Iterator[str | Sequence[int]]:
    """Split a text at breaks, which are empty sequences here, and at learned words, which are token numbers."""
    start = 0
    for match in _pattern(words).finditer(text):
        if before := text[start:match.start()]:
            yield before
        yield () if match[0] == BREAK else words[(match["word"] or "").lower()]
        start = match.end()
    if rest := text[start:]:
        yield rest


def _pattern(words: LearnedWords) -> re.Pattern[str]:
    """Matches BREAK and the learned words, the longest first; ComfyUI writes `embedding:word` and `embedding:file`."""
    if not words:
        return _ONLY_BREAK
    names = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"\b{BREAK}\b|(?<!\w)(?i:(?:embedding:)?(?P<word>{names}){_ENDINGS})(?!\w)")


_ONLY_BREAK = re.compile(rf"\b{BREAK}\b(?P<word>)")
