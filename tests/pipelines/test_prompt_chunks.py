"""Chunks of tokens. The right cuts are those of stable-diffusion-webui's `tokenize_line` (sd_hijack_clip.py)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lcm_daemon.pipelines.prompt_chunks import chunks_of

WORDS = {"easynegative": (1000, 1001), "<cat-toy>": (1002,), "bad": (1003,), "bad-hands-5": (1004, 1005, 1006)}


class Letters:
    """A tokenizer with one token for each letter except blanks."""

    def __call__(self, texts: list[str], **_: Any) -> Any:
        self.input_ids = [[ord(letter) for letter in text if letter not in " ,"] for text in texts]
        return self


def cut(text: str, room: int = 5, limit: int = 4) -> list[str]:
    """The chunks as letters; a token of a learned word as its number."""
    chunks = chunks_of(Letters(), text, WORDS, room, limit)
    return ["".join(f"{number} " if number >= 1000 else chr(number) for number, _ in chunk).strip()
            for chunk in chunks]


@pytest.mark.parametrize(("text", "chunks"), [
    ("", [""]), ("AB", ["AB"]), ("ABCDEFG", ["ABCDE", "FG"]), ("A BREAK B", ["A", "B"]), ("A, BREAK, B", ["A", "B"]),
    ("BREAK A", ["", "A"]), ("A BREAK", ["A"]), ("BREAK", [""]), ("A BREAK BREAK B", ["A", "", "B"]),
    ("ABCDE BREAK FG", ["ABCDE", "FG"]), ("ABCDEF BREAK G", ["ABCDE", "F", "G"]), ("A break", ["Abrea", "k"]),
    ("A BREAKS", ["ABREA", "KS"]), ("ABREAK", ["ABREA", "K"]),
    ("A BREAK B BREAK C BREAK D BREAK X", ["A", "B", "C", "D"]),
])
def test_a_text_is_cut_by_length_and_at_breaks(text: str, chunks: list[str]) -> None:
    assert cut(text) == chunks


def test_breaks_are_no_words_where_there_is_one_chunk() -> None:
    assert cut("A BREAK B", limit=1) == ["AB"]
    assert cut("ABCDEF", limit=1) == ["ABCDE"]


@pytest.mark.parametrize(("text", "chunks"), [
    ("A easynegative", ["A1000 1001"]), ("EasyNegative,A", ["1000 1001 A"]), ("(easynegative:1.2)", ["1000 1001"]),
    ("embedding:easynegative A", ["1000 1001 A"]), ("embedding:EasyNegative.safetensors", ["1000 1001"]),
    ("A <cat-toy>", ["A1002"]), ("<cat-toy>s", ["<cat-", "toy>s"]),
    ("bad bad-hands-5", ["1003 1004 1005 1006"]), ("Bbad", ["Bbad"]), ("badB", ["badB"]),
    ("ABCD easynegative", ["ABCD", "1000 1001"]), ("ABC bad-hands-5 D", ["ABC", "1004 1005 1006 D"]),
])
def test_learned_words_stay_together(text: str, chunks: list[str]) -> None:
    assert cut(text) == chunks


def test_emphasis_reaches_every_token_of_a_learned_word() -> None:
    (chunk,) = chunks_of(Letters(), "A (easynegative B:1.5)", WORDS, 10, 4)
    assert chunk == [(65, 1.0), (1000, 1.5), (1001, 1.5), (66, 1.5)]


def test_a_word_longer_than_a_chunk_is_cut_off() -> None:
    assert cut("A bad-hands-5", room=2) == ["A", "1004 1005"]


@pytest.mark.parametrize("unit", ["BREAK ", "embedding:", "bad-hands-", "easynegative", "<cat-toy", " "])
def test_hostile_texts_take_linear_time(unit: str) -> None:
    begun = time.process_time()
    chunks_of(Letters(), unit * 20_000, WORDS, 75, 4)
    assert time.process_time() - begun < 3.0
