from __future__ import annotations

import itertools
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcm_daemon.core.parameters import TEXT_LIMIT
from lcm_daemon.pipelines.prompt_syntax import EMPHASIS_LIMIT, TEXTS_LIMIT, emphases, mix, split

SYNTAX = st.text(st.sampled_from("ab (:)[]\\.0159-+e\n"), max_size=60)
ANY = SYNTAX | st.text(max_size=60)


@pytest.mark.parametrize(("prompt", "texts"), [
    ("", {"": 1.0}),
    ("  ", {"": 1.0}),
    ("a red cat", {"a red cat": 1.0}),
    (" ocean ", {"ocean": 1.0}),
    ("ocean::0.7 lava::0.3", {"ocean": 0.7, "lava": 0.3}),
    ("ocean::7 lava::3", {"ocean": 0.7, "lava": 0.3}),
    ("ocean::3 lava", {"ocean": 0.75, "lava": 0.25}),
    ("ocean:: lava", {"ocean": 0.5, "lava": 0.5}),
    ("ocean::.5,lava::1.", {"ocean": 1 / 3, ",lava": 2 / 3}),
    ("deep ocean::1e-1 (lava:1.2)::9e-1", {"deep ocean": 0.1, "(lava:1.2)": 0.9}),
    ("ocean::1 ocean::1 lava::2", {"ocean": 0.5, "lava": 0.5}),
    ("ocean::0", {"": 1.0, "ocean": 0.0}),
    ("ocean::0 lava::0", {"": 1.0, "ocean": 0.0, "lava": 0.0}),
    ("ocean::1 lava::0", {"ocean": 1.0, "lava": 0.0}),
    ("ocean::1 lava::-1", {"ocean": 1.0, "lava": 0.0}),
    ("::0.5", {"": 1.0}),
    ("::0.5 ::0.3", {"": 1.0}),
    ("::::", {"": 1.0}),
    ("ocean::0.7 ::0.3", {"ocean": 1.0}),
    ("ocean :: 0.7 lava:: 0.3", {"ocean": 0.7, "lava": 0.3}),
    ("ocean:: .5, lava ::  1", {"ocean": 1 / 3, ", lava": 2 / 3}),
    ("ocean:: 3d render", {"ocean": 0.5, "3d render": 0.5}),
    ("ocean:: 35mm lava", {"ocean": 0.5, "35mm lava": 0.5}),
    ("ocean:: 0.7x", {"ocean": 0.5, "0.7x": 0.5}),
    ("ocean:: 50% lava", {"ocean": 0.5, "50% lava": 0.5}),
    ("12:30 o'clock", {"12:30 o'clock": 1.0}),
    (r"std\::vector", {r"std\::vector": 1.0}),
    (r"std\:\:vector::1 b::1", {r"std\:\:vector": 0.5, "b": 0.5}),
    ("ocean::" + "9" * 400 + " lava::1000000", {"ocean": 0.5, "lava": 0.5}),
])
def test_texts_and_their_shares(prompt, texts) -> None:
    assert dict(split(prompt)) == pytest.approx(texts)


@pytest.mark.parametrize(("text", "pieces"), [
    ("", []),
    ("a red cat", [("a red cat", 1.0)]),
    ("a (red:1.3) cat", [("a ", 1.0), ("red", 1.3), (" cat", 1.0)]),
    ("a (red) cat", [("a ", 1.0), ("red", 1.1), (" cat", 1.0)]),
    ("((red))", [("red", 1.21)]),
    ("[red]", [("red", 1 / 1.1)]),
    ("([red])", [("red", 1.0)]),
    ("(a [b] c: 2 )", [("a ", 2.0), ("b", 2 / 1.1), (" c", 2.0)]),
    ("(red:.5)(blue:-1)", [("red", 0.5), ("blue", -1.0)]),
    ("(red:0)", [("red", 0.0)]),
    ("()", []),
    ("(:1.3)", []),
    ("[red:1.3]", [("red:1.3", 1 / 1.1)]),
    (r"a \(red\) \[cat\]", [("a (red) [cat]", 1.0)]),
    (r"(a \) b:2)", [("a ) b", 2.0)]),
    (r"(a\:2)", [("a:2", 1.1)]),
    (r"\\(a)", [("\\", 1.0), ("a", 1.1)]),
    (r"C:\new", [(r"C:\new", 1.0)]),
    ("a smile :) and :1.3)", [("a smile :) and :1.3)", 1.0)]),
    ("and :( again", [("and :( again", 1.0)]),
    ("(a [b)", [("a [b", 1.1)]),
    ("(a [b) c]", [("a [b", 1.1), (" c]", 1.0)]),
    (")(", [(")(", 1.0)]),
    ("(a:1000)", [("a", EMPHASIS_LIMIT)]),
    ("(a:-1000)", [("a", -EMPHASIS_LIMIT)]),
    ("(a:1.3:1.4)", [("a:1.3", 1.4)]),
])
def test_emphasis(text, pieces) -> None:
    assert [piece for piece, _ in emphases(text)] == [piece for piece, _ in pieces]
    assert [factor for _, factor in emphases(text)] == pytest.approx([factor for _, factor in pieces])


def test_a_mix_of_prompts_holds_each_text_once() -> None:
    mixed = mix([("ocean::3 lava::1", 0.5), ("lava", 0.25), ("clouds", 0.25), ("fire", 0.0)])
    assert dict(mixed) == pytest.approx({"ocean": 0.375, "lava": 0.375, "clouds": 0.25, "fire": 0.0})


def test_a_prompt_of_weights_0_is_an_empty_one_beside_others() -> None:
    assert dict(mix([("ocean::0", 0.5), ("lava", 0.5)])) == {"": 0.5, "ocean": 0.0, "lava": 0.5}


def test_no_prompts_are_the_empty_prompt() -> None:
    assert mix([]) == mix([("", 1.0)]) == mix([("ocean", 0.0)])[:1] == (("", 1.0),)


def test_a_mix_keeps_the_largest() -> None:
    mixed = mix([(" ".join(f"text {n}::{n}" for n in range(30)), 1.0)])
    assert [text for text, _ in mixed] == [f"text {n}" for n in range(29, 29 - TEXTS_LIMIT, -1)]


@pytest.mark.slow
@given(st.lists(st.tuples(ANY, st.floats(0.0, 1.0)), max_size=4))
def test_shares_are_finite_and_sum_to_1(parts) -> None:
    mixed = mix(parts)
    assert math.isclose(sum(share for _, share in mixed), 1.0)
    assert all(0.0 <= share <= 1.0 for _, share in mixed)
    assert len({text for text, _ in mixed}) == len(mixed) <= TEXTS_LIMIT + 1


@pytest.mark.slow
@given(ANY)
def test_emphasis_takes_nothing_but_brackets_weights_and_backslashes(text) -> None:
    pieces = emphases(text)
    assert all(piece for piece, _ in pieces)
    assert all(abs(factor) <= EMPHASIS_LIMIT for _, factor in pieces)
    assert all(one[1] != other[1] for one, other in itertools.pairwise(pieces))
    rest = iter(text)
    assert all(letter in rest for letter in "".join(piece for piece, _ in pieces))  # a subsequence, in order


@pytest.mark.slow
@given(st.text())
def test_an_escaped_text_is_itself(text) -> None:
    escaped = "".join("\\" + letter if letter in "()[]:\\" else letter for letter in text)
    assert "".join(piece for piece, _ in emphases(escaped)) == text
    assert split(escaped)[0] == (escaped.strip(" \t\r\n"), 1.0)


@pytest.mark.slow
@given(st.text().filter(lambda text: not set(text) & set("()[]:\\")))
def test_plain_text_passes_as_it_is(text) -> None:
    assert emphases(text) == (((text, 1.0),) if text else ())
    assert split(text) == ((text.strip(" \t\r\n"), 1.0),)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["(", "[", ")", "([", "([)", "(a)", "\\", ":", "::", ": ", ":1", "1", ":1.1e1 ", "(:",
                                  ":" + "1" * 50, ":: " + "1" * 50, ":: 1.", ":: \t", "<lora:", "[a:",
                                  "((a:2", "\ud800("])
def test_hostile_text_takes_linear_time(unit) -> None:
    """Fifty times what a parameter takes: anything quadratic would need billions of steps."""
    text = (unit * (50 * TEXT_LIMIT))[:50 * TEXT_LIMIT]
    begun = time.process_time()
    emphases(text)
    split.__wrapped__(text)
    emphases("(" + text + ")")
    assert time.process_time() - begun < 5.0
