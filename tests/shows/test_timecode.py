"""Cues that start at a timecode, in a show."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.errors import DocumentError
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show


def read(folder: Path, text: str) -> Show:
    file = folder / "show.yaml"
    file.write_text(text)
    return load_show(file)


@pytest.mark.parametrize("way", ["midi: {timecode: true}", "midi: {timecode: {device: DAW}}", "dmx: {timecode: true}",
                                 "audio: {ltc: 1}"])
@pytest.mark.parametrize("written", ['"01:00:10:00"', "01:00:10:00", "1:00:10;00", "10:59:10:00"])
def test_a_cue_starts_at_a_timecode(tmp_path: Path, way: str, written: str) -> None:
    cue, = read(tmp_path, f"{way}\ncues: [{{name: a, at: {written}}}]").cues
    assert cue.timecode == cue.at
    assert len(cue.at) == 11


@pytest.mark.parametrize("section", ["", "midi: {clock: true}", "dmx: {map: []}", "midi: false"])
def test_a_timecode_that_no_part_of_the_show_hears_is_a_mistake(tmp_path: Path, section: str) -> None:
    with pytest.raises(DocumentError, match=r"show\.yaml:1:22: the show follows no timecode: add midi"):
        read(tmp_path, f'cues: [{{name: a, at: "01:00:10:00"}}]\n{section}')


def test_a_time_of_day_needs_none(tmp_path: Path) -> None:
    assert read(tmp_path, "cues: [{name: a, at: 21:30}]").cues[0].time_of_day == "21:30"
