"""Blocked words are found however they are written, and others are not."""

from __future__ import annotations

import time

import pytest

from lcm_daemon.audience.words import WordFilter

WORDS = WordFilter(["bad", "grim reaper", "zork*", "плохо", "坏人", "split"])


@pytest.mark.parametrize("text", [
    "bad", "a BAD day", "Bäd", "ｂａｄ", "b a d", "b.a.d",
    "b-a_d", "ba d", "b@d", "b4d!", "baaaad", "b\u200bad",
    "bad,really", "bаd", "b\u0301ad", "𝕓𝕒𝕕", "ⓑⓐⓓ", "b​a​d",
    "the grim reaper", "grimreaper", "Grim  -  REAPER", "zorkish", "ZORK",
    "это плохо", "П Л О Х О", "一个坏人在", "坏 人", "bad\n", "no\tbad", "b*a*d", "8 bad 8",
    "bad1", "2bad", "bad2024", "画bad画", "badя", "ʙᴀᴅ", "🅑🅐🅓", "z0rk", "sp1it", "bad\u0663", "zork1",
])
def test_a_blocked_word_is_found(text: str) -> None:
    assert WORDS.blocks(text)


@pytest.mark.parametrize("text", [
    "", "badge", "a badger", "grim", "reaper of corn", "xzork", "好人", "ocean, deep blue", "b and d",
    "4 cats, 3 dogs", "!", "хорошо",
])
def test_other_words_pass(text: str) -> None:
    assert not WORDS.blocks(text)


def test_a_filter_without_words_blocks_nothing() -> None:
    assert not WordFilter([]).blocks("bad")
    assert not WordFilter(["", "*", " . "]).blocks("bad . *")


def test_a_long_text_takes_little_time() -> None:
    words = WordFilter([f"word{n}x{end}" for n in range(5_000) for end in ("", "*")])
    begun = time.perf_counter()
    for text in ("a " * 1000, "." * 2000, "ｂ" * 2000, "\u0301" * 2000, "aaa " * 500):
        assert not words.blocks(text)
    assert time.perf_counter() - begun < 2.0
