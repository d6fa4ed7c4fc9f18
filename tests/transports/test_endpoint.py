"""Sources and sinks as a show writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.transports.endpoint import EndpointConfig, sink_schema, source_schema, switch_names
from lcm_daemon.transports.silence import SilencePolicy


def read(text: str, base: Path, sink: bool = False) -> tuple[EndpointConfig | None, list[str]]:
    problems = Problems()
    config = (sink_schema if sink else source_schema)(base).read(compose(text, "show.yaml"), problems)
    return config, [problem.text for problem in problems.found]


def test_a_path_starts_at_the_base_and_a_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    for text, expected in (("sea.mp4", tmp_path / "sea.mp4"), ("~/sea.mp4", tmp_path / "home" / "sea.mp4")):
        config, problems = read(f"{{transport: file, path: {text}}}", tmp_path)
        assert problems == []
        assert config is not None
        assert config.options["path"] == str(expected)


@pytest.mark.parametrize(("text", "words"), [
    ("{transport: file}", "key 'path' is missing"),
    ("{transport: file, pat: sea.mp4}", "unknown key 'pat'; did you mean 'path'?"),
    ('{transport: file, path: ""}', "empty: a video, an image or a folder of images is wanted"),
])
def test_a_file_without_a_path_is_a_problem(text: str, words: str, tmp_path: Path) -> None:
    assert words in read(text, tmp_path)[1][0]


@pytest.mark.parametrize(("path", "words"), [
    (r'"C:\new\take.mp4"', "is not a path: in double quotes a backslash begins a special character; write / instead"),
    ("~nobody-of-this-name/x.mp4", "no user of that name has a home folder here"),
    ("[a]", "a list is not a path"),
])
def test_bad_path_is_a_problem(path: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "expanduser", _expanduser)
    for sink, transport in ((False, "file"), (True, "record")):
        config, problems = read(f"{{transport: {transport}, path: {path}}}", tmp_path, sink)
        assert [words in problem for problem in problems] == [True]
        assert config is None or not config.options["path"]


def _expanduser(path: Path) -> Path:
    """As Linux and macOS have it; Windows looks for no user."""
    if str(path).startswith("~nobody"):
        raise RuntimeError("Could not determine home directory.")
    return path


@pytest.mark.parametrize(("text", "silence"), [
    ("{transport: ndi, name: a}", SilencePolicy()),
    ("{transport: ndi, name: a, unchanged: ok}", SilencePolicy("ok")),
    ("{transport: spout, name: a, unchanged: lost, after: 2.5}", SilencePolicy("lost", 2.5)),
    ("{transport: camera, after: 60}", SilencePolicy("", 60.0)),
])
def test_what_a_silent_source_is(tmp_path: Path, text: str, silence: SilencePolicy) -> None:
    config, problems = read(text, tmp_path)
    assert problems == []
    assert config is not None
    assert config.silence == silence


@pytest.mark.parametrize("text", ["unchanged: fine", "after: -1", "after: soon", "idle: true"])
def test_a_wrong_word_about_silence_is_a_problem(tmp_path: Path, text: str) -> None:
    assert len(read(f"{{transport: ndi, name: a, {text}}}", tmp_path)[1]) == 1
    assert len(read("{transport: ndi, name: a, unchanged: ok}", tmp_path, sink=True)[1]) == 1


def test_a_sink_may_begin_switched_off(tmp_path: Path) -> None:
    config, problems = read("{transport: record, path: a.mp4, idle: true}", tmp_path, sink=True)
    assert problems == []
    assert config is not None
    assert config.idle


def test_sinks_are_switched_by_name_by_transport_or_by_both() -> None:
    sinks = [EndpointConfig("ndi", {"name": "lcm"}), EndpointConfig("spout", {"name": "lcm"}),
             EndpointConfig("memory", {"name": "B\u00fchne 1/links"}), EndpointConfig("record", {"path": "a.mp4"}),
             EndpointConfig("record", {"path": "b.mov"}), EndpointConfig("window", {"display": "1"}),
             EndpointConfig("window", {"display": "EPSON PJ"})]
    assert switch_names(sinks) == {
        "lcm": [0, 1], "ndi-lcm": [0], "spout-lcm": [1], "B_hne_1_links": [2], "record": [3, 4],
        "record-record": [3, 4], "window": [5, 6], "window-1": [5], "window-EPSON_PJ": [6],
    }
    assert [sink.label for sink in sinks[-2:]] == ["window 1", "window EPSON PJ"]


def test_there_is_no_display_0(tmp_path: Path) -> None:
    problems = Problems()
    sink_schema(tmp_path).read(compose("transport: window\ndisplay: 0\n", "show.yaml"), problems)
    assert [str(problem) for problem in problems.found] == ["show.yaml:2:10: displays are numbered from 1"]


def test_a_recording_that_cannot_be_is_a_problem_at_its_path(tmp_path: Path) -> None:
    problems = Problems()
    text = "transport: record\npath: take.avi\n"
    sink_schema(tmp_path).read(compose(text, "show.yaml"), problems)
    assert [str(problem) for problem in problems.found] == [
        "show.yaml:2:7: take.avi must end in one of .mkv, .mov, .mp4"]
    assert "prores is written to .mkv or .mov" in read("{transport: record, path: a.mp4, codec: prores}", tmp_path,
                                                       True)[1][0]
    assert read("{transport: record, codec: prores}", tmp_path, True)[1] == []
