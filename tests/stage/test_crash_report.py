"""The text of a crash report."""

from __future__ import annotations

import json
from pathlib import Path

from lcm_daemon.stage.crash_report import LINES, LINES_AROUND, Crash, compose, read_recent

PROMPT = "a portrait of Anna Schmidt"


def line(pid: int, process: str, message: str, **more: str) -> str:
    return json.dumps({"time": "t", "level": "warning", "process": process, "pid": pid, "logger": "x",
                       "message": message, **more}) + "\n"


def recent(tmp_path: Path) -> Path:
    path = tmp_path / "show.recent.log"
    (tmp_path / "show.recent.log.1").write_text("".join(line(7, "engine", f"old {n}") for n in range(LINES)))
    path.write_text(
        "".join(line(9, "stage", f"around {n}") for n in range(2 * LINES_AROUND))
        + line(7, "engine", f"cannot encode {PROMPT}", traceback="Traceback ...\nValueError: twelve")
        + line(8, "desk", "OSC: 'the words of a visitor' is refused") + '{"torn": ')
    return path


def test_the_last_lines_of_the_process_and_some_of_the_others(tmp_path: Path) -> None:
    text = compose(Crash("engine", 7, {"cause": "died", "show": "mirror"}, [PROMPT]), recent(tmp_path), "Fatal: stack")
    assert "cause              died\n" in text
    assert "Python 3." in text
    assert "torch 2." in text
    assert "Fatal: stack" in text
    assert f"--- its last {LINES} log lines ---" in text
    assert "x: old 0\n" not in text
    assert f"x: old {LINES - 1}\n" in text
    assert "ValueError: twelve" in text
    assert f"around {2 * LINES_AROUND - 1}" in text
    assert f"around {LINES_AROUND - 2}\n" not in text


def test_prompts_are_hidden_unless_the_show_allows_them(tmp_path: Path) -> None:
    hidden = compose(Crash("engine", 7, {"text": f"no {PROMPT}"}, [PROMPT]), recent(tmp_path), "")
    shown = compose(Crash("engine", 7, {"text": f"no {PROMPT}"}, None), recent(tmp_path), "")
    assert "Schmidt" not in hidden
    assert "words of a visitor" not in hidden
    assert "no (hidden)" in hidden
    assert "Schmidt" in shown
    assert "words of a visitor" in shown


def test_quotations_that_are_cut_off_or_hold_quotes_are_hidden_too(tmp_path: Path) -> None:
    """A log line shows 80 characters of what a client sent: the quotation then has no end."""
    path = tmp_path / "show.recent.log"
    word = "it's the \"secret\" word of a visitor"
    path.write_text("".join((
        line(8, "desk", f"OSC: the show's {word!r} is refused"),
        line(8, "desk", f"OSC: {3 * word!r:.80}; there are a, b"),
        line(8, "desk", f"OSC: {word.encode()!r:.30}"),
        line(8, "desk", "failed", traceback=f'Traceback:\n  File "desk.py", line 1\nValueError: no {word!r:.40}'),
        line(8, "desk", "the next line"))))
    text = compose(Crash("desk", 8, {"text": f"ValueError: {word!r:.30}"}, []), path, "")
    assert "secret" not in text
    assert "of a visitor" not in text
    assert "OSC: the show's '(hidden)' is refused" in text
    assert 'File "desk.py"' in text


def test_lines_with_other_ends_of_lines_are_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"message": "one\u2028two\x85three"}\n')
    assert [found["message"] for found in read_recent(tmp_path / "a")] == ["one\u2028two\x85three"]


def test_without_recent_lines_there_is_a_report_too(tmp_path: Path) -> None:
    (tmp_path / "folder.1").mkdir()
    assert list(read_recent(tmp_path / "folder")) == []
    assert "its last 0 log lines" in compose(Crash("desk", 3, {}), tmp_path / "folder", "")
