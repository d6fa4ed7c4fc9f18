"""Changes in show files: PyYAML reads what was meant, and comments, order and other values stay as they are."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lcm_daemon.core.bindings import BindingEdit
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show_writer import ShowEdits, edit_show

ROOT = Path(__file__).parents[2]
SHOWS = sorted(itertools.chain((ROOT / "show_configs").glob("*.yaml"), (ROOT / "examples").glob("*/*.yaml")))
SHOWS = [path for path in SHOWS if not path.name.endswith(".cues.yaml")
         and path.parent.name != "deploy"]  # files of other programs
NASTY = [
    "on", "yes", "No", "~", "null", "012", "0o12", "0x1F", "1e3", "1.5e3", "1_000", "1:30", "12:30:45", "2024-01-01",
    "=", "<<", "a: b", "a:", ": a", "- a", "# a", "a # b", "'a'", '"a"', "it's", "a\\b", "{a: 1}", "[a]", "&a", "*a",
    "!a", "%a", "@a", "`a`", "|", ">", "? a", " a ", "", "ä ö 雪 🙂", "one\ntwo", "one\n\n  two\n", "\ttab", "x" * 300,
    "y", "n", "ocean::0.7 lava::0.3, (deep:1.3)", "\u2028", "é" * 200,
]
NUMBERS = [0, 1, -3, 2**32 - 1, 0.5, 1e-05, 1e22, 0.1 + 0.2, 0.6699999570846558, 1.0, True, False]

SMALL = """\
# The show of the club.
name: 007          # an agent
parameters:
  prompt: on       # a switch to YAML, a word to us
  strength: .50
  seed: 012

x-notes: {time: 1:30, born: 2024-01-01, big: 1_000, none: ~}
midi:
  map:
    # left hand
    - {cc: 1, to: strength, range: [0.20, 0.9]}  # the first fader
    # right hand
    - {cc: 2, channel: 3, to: mix}
    - {note: [1, 2, 3], to: mode, button: radio}
# the end
"""


def edited(text: str, **edits: Any) -> str:
    return edit_show(text, "show.yaml", ShowEdits(**edits))


@pytest.mark.parametrize("show", SHOWS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_pyyaml_reads_what_was_meant_in_every_show_that_ships(show: Path) -> None:
    text = show.read_text("utf-8")
    before = yaml.safe_load(text)
    line, values = {"from": "/1/a", "to": "mix"}, [*NASTY, *NUMBERS]
    named = {f"lora/{number}": value for number, value in enumerate(values)}
    result = edited(text, parameters=named, sections={"prompts": values}, bindings=[BindingEdit("osc", line)])
    found, osc = yaml.safe_load(result), before.get("osc") or {}
    assert found == {
        **before, "parameters": {**(before.get("parameters") or {}), **named}, "prompts": values,
        "osc": {**osc, "map": [*(osc.get("map") or ()), line]},
    }
    assert [type(one) for one in found["prompts"]] == [type(one) for one in values]
    kept = [line for line in text.splitlines() if line.strip().startswith("#")]
    assert [line for line in result.splitlines() if line in kept] == kept


@pytest.mark.parametrize("show", SHOWS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_show_without_changes_stays_as_it_is(show: Path) -> None:
    assert edited(show.read_text("utf-8")) == show.read_text("utf-8")


def test_what_does_not_change_stays_as_it_is_written() -> None:
    result = edited(SMALL, parameters={"strength": 0.7})
    assert result == SMALL.replace(".50", "0.7")


def test_a_daemon_reads_the_texts_as_they_were_meant(tmp_path: Path) -> None:
    file = tmp_path / "show.yaml"
    file.write_text(edited(SMALL, sections={"prompts": NASTY}), "utf-8")
    assert load_show(file, environment={}).prompts == tuple(NASTY)


def test_lines_of_maps_are_added_changed_and_removed() -> None:
    cc1 = {"cc": 1, "to": "strength"}
    result = edited(SMALL, bindings=[
        BindingEdit("midi", cc1, {"range": [0.1, 1e-05], "curve": "exp"}),
        BindingEdit("midi", {"pitchbend": None, "channel": 2, "to": "mix"}),
        BindingEdit("midi", {"note": 40, "command": "cue/goto", "with": ["a"]}),
        BindingEdit("midi", {"note": 40, "command": "cue/goto", "with": ["b"]}),
        BindingEdit("midi", {"note": 40, "command": "cue/goto", "with": ["a"]}, removed=True),
        BindingEdit("midi", {"note": [1, 2, 3], "to": "mode"}, {"button": None, "value": "text"}),
    ])
    assert yaml.safe_load(result)["midi"]["map"] == [
        {**cc1, "range": [0.1, 1e-05], "curve": "exp"}, {"cc": 2, "channel": 3, "to": "mix"},
        {"note": [1, 2, 3], "to": "mode", "value": "text"}, {"pitchbend": None, "channel": 2, "to": "mix"},
        {"note": 40, "command": "cue/goto", "with": ["b"]},
    ]
    assert "curve: exp} # the first fader\n    # right hand\n" in result
    assert result.endswith("# the end\n")


@pytest.mark.parametrize("line", [
    {"cc": 1, "to": "strength"}, {"cc": 2, "channel": 3, "to": "mix"}, {"note": [1, 2, 3], "to": "mode"},
])
def test_the_comments_of_other_lines_stay_when_one_is_removed(line: dict[str, Any]) -> None:
    result = edited(SMALL, bindings=[BindingEdit("midi", line, removed=True)])
    assert len(yaml.safe_load(result)["midi"]["map"]) == 2
    assert [text in result for text in ("# left hand", "# right hand", "# the end")] == [True] * 3
    again = edited(result, bindings=[BindingEdit("midi", line)])
    assert len(yaml.safe_load(again)["midi"]["map"]) == 3


@pytest.mark.parametrize("text", [
    "", "# nothing yet\n", "midi:\n", "midi: false  # not yet\n", "midi: {}\n", "midi:\n  map:\n", "midi: {map: []}\n",
    "midi:\n  map:\n  - {cc: 9, to: mix}\n", "midi: {map: [{cc: 9, to: mix}], clock: true}\n", "name: a",
    "\ufeffname: a\n", "name: a\r\nmidi:\r\n  map:\r\n    - {cc: 9, to: mix}\r\n", "---\nname: a\n",
    "x-b: &b {cc: 9, to: mix}\nmidi: {map: [*b]}\n",
    "parameters: &p {mix: 1}\nx-copy: *p\nx-more: {<<: *p, mix: 0.50}\n",
    "midi:\n    map:\n        - cc: 9\n          to: mix\n",
])
def test_a_line_is_added_to_shows_of_every_layout(text: str) -> None:
    line = {"cc": 5, "channel": 1, "to": "strength"}
    result = edited(text, bindings=[BindingEdit("midi", line)])
    assert yaml.safe_load(result)["midi"]["map"][-1] == line
    assert ("\r\n" in result) == ("\r\n" in text)
    assert result.count("\n") - result.count("\r\n") == 0 or "\r\n" not in text
    if text.strip("\ufeff"):
        assert result.startswith("\ufeff") == text.startswith("\ufeff")


def test_what_cannot_be_changed_safely_is_refused() -> None:
    with pytest.raises(LcmDaemonError, match=r"^show\.yaml: the changes cannot be written safely: .*; save them under"):
        edited("x-a: &a {mix: 1}\nparameters: *a\n", parameters={"mix": 0.5})
    with pytest.raises(LcmDaemonError, match="not YAML"):
        edited("a: [", parameters={"mix": 0.5})


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40).filter(lambda text: text.isprintable() or "\n" in text), st.floats(-1e10, 1e10))
def test_any_text_and_number_is_read_as_it_was_meant(text: str, number: float) -> None:
    if any((character < " " and character != "\n") or character in "\x7f\x85\ufeff" or "\x80" <= character <= "\x9f"
           for character in text):
        return
    found = yaml.safe_load(edited(SMALL, parameters={"prompt": text, "strength": number}))["parameters"]
    assert (found["prompt"], found["strength"]) == (text, number)
