"""The AppleScript for QLab: texts and messages."""

from __future__ import annotations

import pytest

from lcm_daemon.exports import qlab
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports.hostile import CUES, hostile_surface
from tests.exports.read_qlab import cues, text


@pytest.mark.parametrize("name", [*CUES, "", "plain", "tab\there", "日本", 'ends with "'])
def test_a_text_of_applescript_is_ascii_and_says_the_same(name: str) -> None:
    literal = qlab.literal(name)
    assert literal.isascii()
    assert text(literal) == name


@pytest.mark.parametrize(("arguments", "typed"), [
    ((0.5,), "/a 0.5"), ((1.0,), "/a 1.0"), ((0.0,), "/a 0.0"), ((2,), "/a 2"), ((True,), "/a 1"), ((), "/a"),
    (("Act One",), '/a "Act One"'), ((0.123456789,), "/a 0.123457"), ((600.0,), "/a 600.0"),
    (('say "#x#"',), '/a "say x"'),
])
def test_a_message_is_typed_as_qlab_reads_it(arguments: tuple[float | str, ...], typed: str) -> None:
    assert qlab.osc_text("/a", arguments) == typed


def test_groups_have_numbers_so_that_a_second_run_is_refused() -> None:
    script = qlab.build(surface_of(load_show("demo", environment={}))).decode("ascii")
    assert script.count("set theGroup to groupOf(") == 4
    assert 'set theGroup to groupOf("lcm 1", "demo: prompts")' in script
    assert "if exists (cue theNumber) then error" in script
    assert script.count("tell application id") == script.count("end tell") == 2


def test_a_look_whose_name_qlab_would_change_is_called_by_its_place() -> None:
    made = dict(cues(qlab.build(hostile_surface())))
    assert made["#/cue/selected/number#"] == "/lcm/cue/goto 6"
    assert made["été ☀"] == '/lcm/cue/goto "été ☀"'
