"""Texts that are private do not appear in others, whole or cut off."""

from __future__ import annotations

import pytest

from lcm_daemon.core.redaction import HIDDEN, Redaction, without_quotations

PROMPT = "a portrait of Anna Schmidt, 24 Rose Street, oil on canvas"
TWO_LINES = "deep\nblue"


@pytest.mark.parametrize(("text", "wanted"), [
    (f"prompt {PROMPT} is refused", f"prompt {HIDDEN} is refused"),
    (f"{PROMPT[:40]}... is too long", f"{HIDDEN}... is too long"),
    (f"{PROMPT}{PROMPT}", HIDDEN * 2),
    ("no word of it", "no word of it"),
    ("a portrait of Bob", "a portrait of Bob"),
    (f"got {TWO_LINES!r}", "got '(hidden)'"),
])
def test_a_text_is_hidden_where_it_is_quoted(text: str, wanted: str) -> None:
    assert Redaction([PROMPT, TWO_LINES]).apply(text) == wanted


def test_the_longer_of_two_texts_is_hidden_first_and_short_ones_are_not_looked_for() -> None:
    assert Redaction(["ocean", "deep ocean", "", "a"]).apply("a deep ocean, an ocean") == f"a {HIDDEN}, an {HIDDEN}"


@pytest.mark.parametrize(("text", "wanted"), [
    ("the show's 'a' is \"b\"", "the show's '(hidden)' is '(hidden)'"),
    (f"no {'it is Bob s' + chr(39) + 's'!r}; there are x, y", "no '(hidden)'; there are x, y"),
    (r"""no 'it\'s "Bob" and' there""", "no '(hidden)' there"),
    (f"{b'Bob'!r} and {['Bob', 'Bob']}", "b'(hidden)' and ['(hidden)', '(hidden)']"),
    (f"refused: {'Bob' * 40!r:.80}", "refused: '(hidden)'"),
    ("refused: 'Bob\\", "refused: '(hidden)'"),
    ("it's fine, don't", "it's fine, don't"),
])
def test_quotations(text: str, wanted: str) -> None:
    assert without_quotations(text) == wanted
