"""The side file of recorded cues: whole or not at all, the newest list, and no harm from a hand or a disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.cue_store import CueStore

DAWN = Cue("dawn", {"prompt": "sunset — ocean", "strength": 0.4, "seed": 2**32 - 1, "freeze": True}, fade=6.0)
STORM = Cue("storm", curve="smooth", delay=0.5, follow=20.0, recipe="night", at="22:00")


def test_what_is_written_comes_back_and_is_short(tmp_path: Path) -> None:
    file = CueStore(tmp_path / "mirror.yaml")
    file.write([DAWN])
    file.write([DAWN, STORM])
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.cues.yaml"]
    assert CueStore(tmp_path / "mirror.yaml").read() == [DAWN, STORM]
    rows = yaml.safe_load((tmp_path / "mirror.cues.yaml").read_text("utf-8"))
    assert rows[0].keys() == {"name", "values", "fade"}


def test_a_cue_recorded_again_takes_its_place(tmp_path: Path) -> None:
    file = CueStore(tmp_path / "mirror.yaml")
    for number in range(50):
        file.write([Cue("dawn", {"steps": number % 8 + 1}), STORM])
    file.close()
    assert CueStore(tmp_path / "mirror.yaml").read() == [Cue("dawn", {"steps": 2}), STORM]


def test_without_a_show_file_nothing_is_kept() -> None:
    file = CueStore(None)
    file.write([DAWN])
    file.close()
    assert file.read() == []


@pytest.mark.parametrize("text", [
    "- {nme: wrong}", "7", "- [", "- {name: x, values: {a: 1}, 3: 4}", "- {name: x, values: 7}",
    "- {name: x, fade: long}", "- {name: x, curve: smoth}", "- x",
])
def test_a_damaged_file_is_said_and_left(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mirror.cues.yaml").write_text(text)
    assert CueStore(tmp_path / "mirror.yaml").read() == []
    assert caplog.text.count("recorded cues cannot be read") == 1
    assert (tmp_path / "mirror.cues.yaml").read_text() == text


def test_a_damaged_file_is_kept_when_another_cue_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "mirror.cues.yaml").write_text("- {nme: hours of work}")
    file = CueStore(tmp_path / "mirror.yaml")
    file.read()
    file.write([DAWN])
    file.close()
    assert (tmp_path / "mirror.cues.yaml.bad").read_text() == "- {nme: hours of work}"
    assert CueStore(tmp_path / "mirror.yaml").read() == [DAWN]


def test_a_disk_that_cannot_be_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "nowhere").touch()
    file = CueStore(tmp_path / "nowhere" / "mirror.yaml")
    file.write([DAWN])
    file.close()
    assert "recorded cues cannot be kept" in caplog.text
