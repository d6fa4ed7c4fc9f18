"""Address patterns: they match as OSC 1.0 says, in time of at most pattern length times address length."""

from __future__ import annotations

import fnmatch
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lcm_daemon.controllers.osc import address_pattern
from lcm_daemon.controllers.osc.address_pattern import AddressMap, matches


@pytest.mark.parametrize(("pattern", "hits", "misses"), [
    ("/lcm/*", ["/lcm/seed", "/lcm/"], ["/lcm", "/lcm/cue/go", "/abc/seed"]),
    ("/*/seed", ["/lcm/seed", "//seed"], ["/lcm/a/seed", "/seed"]),
    ("/lcm/s*", ["/lcm/seed", "/lcm/s"], ["/lcm/mix"]),
    ("/lcm/*e*", ["/lcm/seed", "/lcm/e", "/lcm/freeze"], ["/lcm/mix"]),
    ("/lcm/se?d", ["/lcm/seed"], ["/lcm/sed", "/lcm/seeed"]),
    ("/lcm?seed", [], ["/lcm/seed"]),
    ("/lcm/[m-s]*", ["/lcm/mix", "/lcm/seed"], ["/lcm/freeze"]),
    ("/lcm/[!m-s]*", ["/lcm/freeze"], ["/lcm/mix", "/lcm/seed", "/lcm/"]),
    ("/a[b-]", ["/ab", "/a-"], ["/ac"]),
    ("/a[-b]", ["/ab", "/a-"], ["/ac"]),
    ("/a[ab!]", ["/aa", "/a!"], ["/ac"]),
    ("/a[z-a]", [], ["/aa", "/az", "/a-"]),
    ("/a[]", [], ["/a", "/aa"]),
    ("/a[!]", ["/ab"], ["/a"]),
    ("/lcm/{seed,mix}", ["/lcm/seed", "/lcm/mix"], ["/lcm/see", "/lcm/seedmix"]),
    ("/lcm/{se,seed}*d", ["/lcm/seed"], ["/lcm/se"]),
    ("/lcm/{se,s}{ed,eed}", ["/lcm/seed", "/lcm/seeed", "/lcm/sed"], ["/lcm/sd"]),
    ("/lcm/{,neg}mix", ["/lcm/mix", "/lcm/negmix"], ["/lcm/nmix"]),
    ("/lcm/{seed", [], ["/lcm/seed", "/lcm/{seed"]),
    ("/lcm/[seed", [], ["/lcm/s"]),
    ("/lcm/}]*", ["/lcm/}]x"], ["/lcm/x"]),
    ("/*" + "a" * 200, [], ["/" + "a" * 300]),  # too long
])
def test_patterns(pattern: str, hits: list[str], misses: list[str]) -> None:
    assert [a for a in hits if not matches(pattern, a)] == []
    assert [a for a in misses if matches(pattern, a) and a != pattern] == []


@settings(deadline=None)
@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_stars_and_question_marks_match_as_in_fnmatch(pattern: str, text: str) -> None:
    assert matches("/" + pattern, "/" + text) == fnmatch.fnmatchcase(text, pattern)


@settings(deadline=None)
@given(st.text("/ab*?[]!-{},", max_size=40), st.text("/ab-!", max_size=20))
def test_no_pattern_raises(pattern: str, text: str) -> None:
    assert matches(pattern, text) in (True, False)


def test_an_exact_address_is_never_a_pattern() -> None:
    found = AddressMap({"/a*": "exact", "/ab": "other"}, {"/ab": "other"})
    assert list(found.find("/a*")) == ["exact"]
    assert list(found.find("/a?")) == ["other"]


def test_a_pattern_reaches_only_its_addresses() -> None:
    found = AddressMap({"/lcm/panic": "panic", "/lcm/seed": "seed"}, {"/lcm/seed": "seed"})
    assert list(found.find("/lcm/*")) == ["seed"]
    assert list(found.find("/lcm/panic")) == ["panic"]
    assert list(found.find("/unknown")) == []


def bytecodes(pattern: str, address: str) -> int:
    """Count the bytecodes of a match: its work, independent of time."""
    ran = 0

    def trace(frame, event, argument):
        nonlocal ran
        frame.f_trace_opcodes = True
        ran += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        matches(pattern, address)
    finally:
        sys.settrace(before)
    return ran


@pytest.mark.parametrize("evil", [
    lambda n: "/" + "*a" * n + "b",
    lambda n: "/" + "*" * n + "b",
    lambda n: "/" + "*?" * n + "b",
    lambda n: "/" + "{a,aa}" * (n // 3) + "b",
    lambda n: "/" + "{,a}" * (n // 2) + "b",
    lambda n: "/" + "*{a,,a}" * (n // 3) + "b",
    lambda n: "/" + "[!b]*" * (n // 2) + "b",
])
def test_work_is_at_most_pattern_times_address(evil) -> None:
    for size in (6, 12, 24):
        pattern, address = evil(size), "/" + "a" * size
        assert len(pattern) <= address_pattern.MAX_PATTERN
        assert bytecodes(pattern, address) < 20 * len(pattern) * len(address) + 4000
