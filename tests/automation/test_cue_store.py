"""The file of recorded cues: writing, reading, and files with mistakes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.cue_messages import MidiMessageOut, OscMessageOut
from lcm_daemon.automation.cue_store import CueStore
from lcm_daemon.automation.recorded_cues import RecordedCues

DAWN = Cue("dawn", {"prompt": "sunset — ocean", "strength": 0.4, "seed": 2**32 - 1, "freeze": True}, fade=6.0)
STORM = Cue("storm", curve="smooth", delay=0.5, follow=20.0, recipe="night", at="22:00")
SENDS = (OscMessageOut("/light/go", (1, 0.5, "go", True), "desk.local", 8000), MidiMessageOut(b"\x90\x3c\x7f", "APC*"))
LIGHT = Cue("light", {"mix": 0.5}, fades={"mix": 2.0}, auto_continue=0.0, send=SENDS)


def test_written_cues_are_read_back_without_their_defaults(tmp_path: Path) -> None:
    file = CueStore(tmp_path / "mirror.yaml")
    file.write(RecordedCues.of([DAWN]))
    file.write(RecordedCues.of([DAWN, STORM, LIGHT]))
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.cues.yaml"]
    assert CueStore(tmp_path / "mirror.yaml").read().cues == (DAWN, STORM, LIGHT)
    rows = yaml.safe_load((tmp_path / "mirror.cues.yaml").read_text("utf-8"))
    assert rows[0].keys() == {"name", "values", "fade"}


def test_a_cue_that_is_recorded_again_is_replaced(tmp_path: Path) -> None:
    file = CueStore(tmp_path / "mirror.yaml")
    for number in range(50):
        file.write(RecordedCues.of([Cue("dawn", {"steps": number % 8 + 1}), STORM]))
    file.close()
    assert CueStore(tmp_path / "mirror.yaml").read().cues == (Cue("dawn", {"steps": 2}), STORM)


def test_without_a_show_file_nothing_is_stored() -> None:
    file = CueStore(None)
    file.write(RecordedCues.of([DAWN]))
    file.close()
    assert file.read().cues == ()


@pytest.mark.parametrize(("text", "place"), [
    ("7", "1:1: a list of cues is wanted"),
    ("{name: x}", "1:1: a list of cues is wanted"),
    ("- [", "1:4: not YAML"),
    ("- {nme: wrong}", "1:4: unknown key 'nme'; did you mean 'name'?"),
    ("- {fade: 1}", "1:3: key 'name' is missing"),
    ("- x", "1:3: 'x' is not a mapping"),
    ("- {name: [x]}", "1:10: a list is not text"),
    ("- {name: true}", "1:10: True is not text"),
    ("- {name: ''}", "1:10: '' is not a cue name"),
    ('- {name: "a\\nb"}', "1:10: 'a\\nb' is not a cue name"),
    ("- {name: x, values: {a: 1}, 3: 4}", "1:29: unknown key '3'"),
    ("- {name: x, values: 7}", "1:21: a mapping of parameters to values is wanted"),
    ("- {name: x, values: {a: [1]}}", "1:25: a number, text, true or false is wanted"),
    ("- {name: x, values: {a: .nan}}", "1:25: a number, text, true or false is wanted"),
    ("- {name: x, values: {a: null}}", "1:25: a number, text, true or false is wanted"),
    ("- {name: x, values: {a: 1, a: 2}}", "1:28: key 'a' is here twice"),
    ("- {name: x, fade: long}", "1:19: 'long' is not a number from 0 to 86400"),
    ("- {name: x, fade: .nan}", "1:19: nan is not a number from 0 to 86400"),
    ("- {name: x, fade: -1}", "1:19: -1 is not a number from 0 to 86400"),
    ("- {name: x, fade: true}", "1:19: True is not a number from 0 to 86400"),
    ("- {name: x, delay: .inf}", "1:20: inf is not a number from 0 to 86400"),
    ("- {name: x, follow: soon}", "1:21: 'soon' is not a number from 0 to 86400"),
    ("- {name: x, follow: 1, auto_continue: 2}", "1:3: follow and auto_continue are both an automatic GO"),
    ("- {name: x, auto_continue: later}", "1:28: 'later' is not a number from 0 to 86400"),
    ("- {name: x, fades: 2}", "1:20: a mapping of parameters to seconds is wanted"),
    ("- {name: x, fades: {mix: -1}}", "1:26: -1 is not a number from 0 to 86400"),
    ("- {name: x, send: [{osc: light, to: 'a:1'}]}", "1:26: 'light' is not an OSC address"),
    ("- {name: x, curve: smoth}", "1:20: 'smoth' is not one of linear, smooth, in, out"),
    ("- {name: x, recipe: {a: 1}}", "1:21: a mapping is not text"),
    ("- {name: x, at: 25:00}", "1:17: a time of day is wanted"),
    ("- {name: x, at: 1290}", "1:17: a time of day is wanted"),
    ("- {name: x, at: [21, 30]}", "1:17: a time of day is wanted"),
    ("- {name: x, name: y}", "1:13: key 'name'"),
    (f"- {'[' * 5000}", "nested too deeply"),
    ("- !!python/object:os.system {name: x}", "1:3: "),
    ("- {name: x}\n- {name: x}", "2:3: two cues are called 'x'; the first one is used"),
])
def test_a_mistake_is_logged_with_its_place_and_the_file_stays(
    tmp_path: Path, text: str, place: str, caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "mirror.cues.yaml"
    file.write_text(text)
    assert [cue.name for cue in CueStore(tmp_path / "mirror.yaml").read().cues] in ([], ["x"])
    assert f"{file}:" in caplog.text
    assert place in caplog.text
    assert caplog.text.count("with these mistakes are skipped") == 1
    assert file.read_text() == text


def test_cues_without_mistakes_are_loaded_from_a_file_with_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "mirror.cues.yaml").write_text("- {name: a, fade: 2}\n- {name: b, fade: soon}\n- {name: c, at: 9:05}\n")
    assert CueStore(tmp_path / "mirror.yaml").read().cues == (Cue("a", fade=2.0), Cue("c", at="09:05"))
    assert "mirror.cues.yaml:2:19: 'soon' is not a number" in caplog.text
    assert "2 cues are loaded" in caplog.text


def test_what_yaml_reads_as_something_else_is_read_as_it_is_written(tmp_path: Path) -> None:
    """YAML 1.1 reads an unquoted 21:30 as the number 1290 and 2026-01-01 as a date."""
    (tmp_path / "mirror.cues.yaml").write_text(
        "- {name: 7, at: 21:30, values: {prompt: 21:30, negative: 2026-01-01, seed: 4294967295, steps: 2, mix: 1e-1,"
        " freeze: yes}}")
    assert CueStore(tmp_path / "mirror.yaml").read().cues == (Cue("7", at="21:30", values={
        "prompt": "21:30", "negative": "2026-01-01", "seed": 4294967295, "steps": 2, "mix": "1e-1", "freeze": True}),)


def test_aliases_that_expand_without_end_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = ["- &a0 {name: x, values: {a: 1}}", *(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    (tmp_path / "mirror.cues.yaml").write_text("\n".join(rows))
    assert CueStore(tmp_path / "mirror.yaml").read().cues == ()
    assert "mirror.cues.yaml" in caplog.text


@pytest.mark.parametrize(("content", "reason"), [
    (b"- {name: x}\n" * 1_000_000, "too long: more than 4,000,000 characters"),
    ("- {name: wide}".encode("utf-16"), "the file is not text in UTF-8"),
])
def test_a_file_that_is_too_long_or_not_text_is_not_read(
    tmp_path: Path, content: bytes, reason: str, caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "mirror.cues.yaml").write_bytes(content)
    assert CueStore(tmp_path / "mirror.yaml").read().cues == ()
    assert reason in caplog.text


@pytest.mark.parametrize(("damage", "names"), [
    (lambda text: text.replace("fade: 2.0", "fade: 2,o"), {"a", "b"}),  # one cue
    (lambda text: text[:-3] + "\0", {"a", "b"}),  # all of the file
    (lambda text: "", set()),  # removed on purpose
])
def test_a_start_with_a_damaged_file_has_the_cues_of_the_one_before(
    tmp_path: Path, damage: Callable[[str], str], names: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    path, copy = tmp_path / "mirror.cues.yaml", tmp_path / "state" / "copy.cues.yaml"
    store = CueStore(tmp_path / "mirror.yaml", copy=copy)
    store.write(RecordedCues.of([Cue("a", fade=2.0, values={"mix": 0.5}), Cue("b", fade=3.0)]))
    store.close()
    path.write_text(damage(path.read_text()))
    found = CueStore(tmp_path / "mirror.yaml", copy=copy).read()
    assert set(found.by_name) == names
    if names:
        assert found.by_name["a"] == Cue("a", fade=2.0, values={"mix": 0.5})
        assert "those of the last file without mistakes" in caplog.text
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "mirror.cues.yaml")
    assert CueStore(tmp_path / "mirror.yaml").read().cues == ()
    assert "cannot be read: it is not a file" in caplog.text


def test_many_mistakes_do_not_fill_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mirror.cues.yaml").write_text("- {nme: wrong}\n" * 200)
    assert CueStore(tmp_path / "mirror.yaml").read().cues == ()
    assert len(caplog.records) == 11
    assert "and 390 more" in caplog.text


def test_an_empty_file_has_no_cues(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mirror.cues.yaml").write_text("")
    assert CueStore(tmp_path / "mirror.yaml").read().cues == ()
    assert not caplog.records


def test_a_damaged_file_is_kept_when_another_cue_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "mirror.cues.yaml").write_text("- {nme: hours of work}")
    file = CueStore(tmp_path / "mirror.yaml")
    file.read()
    file.write(RecordedCues.of([DAWN]))
    file.close()
    assert (tmp_path / "mirror.cues.yaml.bad").read_text() == "- {nme: hours of work}"
    assert CueStore(tmp_path / "mirror.yaml").read().cues == (DAWN,)


def test_a_write_error_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "nowhere").touch()
    file = CueStore(tmp_path / "nowhere" / "mirror.yaml")
    file.write(RecordedCues.of([DAWN]))
    file.close()
    assert "recorded cues cannot be saved" in caplog.text
