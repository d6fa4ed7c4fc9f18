"""The look of a run that broke off: what comes back, and what never does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lcm_daemon.automation.look import Look
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.stage.resume_file import HARMLESS_AFTER, STARTS, WRITE_INTERVAL, ResumeFile

STORM = Look("builtin", (256, 192), "storm", {"strength": 0.4, "prompt": "ocean — deep", "seed": 2**32 - 1})


def run(folder: Path, *resume_file: Look, seconds: float = 0.0, orderly: bool = False) -> Look | None:
    """One run of a show that has these looks, the first at once, the others after so many seconds."""
    file = ResumeFile(folder / "mirror.yaml", folder / "state")
    found = file.restore()
    file.on_open(1000.0)
    for number, look in enumerate(resume_file):
        file.write(look, 1000.0 + number * max(seconds, WRITE_INTERVAL))
    if orderly:
        file.remove()
    file.close()
    return found


def side_file(folder: Path) -> Path:
    return next((folder / "state").glob("*.json"))


def test_a_run_that_broke_off_leaves_its_look(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert run(tmp_path, Look("builtin", (256, 256)), STORM) is None
    assert run(tmp_path) == STORM
    assert "the last run was interrupted; restoring builtin, cue 'storm', strength, prompt, seed" in caplog.text


def test_source_and_guide_come_back_and_files_without_them_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    look = Look("builtin", (256, 256), source="wide", guide="ndi CAM 1")
    run(tmp_path, look)
    assert run(tmp_path) == look
    assert "restoring builtin, source 'wide', guide 'ndi CAM 1'" in caplog.text
    state = json.loads(side_file(tmp_path).read_text())
    del state["source"], state["guide"], state["modulators"]
    side_file(tmp_path).write_text(json.dumps(state))
    assert run(tmp_path) == Look("builtin", (256, 256))


def test_one_that_ended_in_order_leaves_none(tmp_path: Path) -> None:
    run(tmp_path, STORM, orderly=True)
    assert run(tmp_path) is None
    assert not list((tmp_path / "state").glob("*.json*"))


def test_a_held_picture_and_a_blackout_are_not_restored(tmp_path: Path) -> None:
    run(tmp_path, Look("builtin", (256, 256), values={"freeze": True, "blackout": True, "mix": 0.5}))
    assert run(tmp_path) == Look("builtin", (256, 256), values={"mix": 0.5})


def test_runs_that_break_off_at_once_do_not_go_on_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, STORM)
    for _ in range(STARTS):
        assert run(tmp_path, STORM) == STORM
    assert run(tmp_path) is None
    assert f"the last {STARTS} runs were interrupted soon after their start" in caplog.text


def test_a_start_that_never_opened_does_not_count(tmp_path: Path) -> None:
    """A port that is held, or an address that is not up yet at boot: the state must survive any number of these."""
    run(tmp_path, STORM)
    for _ in range(2 * STARTS):
        file = ResumeFile(tmp_path / "mirror.yaml", tmp_path / "state")
        assert file.restore() == STORM
        file.close()
    assert run(tmp_path) == STORM


def test_a_run_that_lasted_is_held_for_harmless(tmp_path: Path) -> None:
    for _ in range(STARTS + 2):
        run(tmp_path, STORM, STORM, seconds=HARMLESS_AFTER)
    assert run(tmp_path) == STORM


def test_a_stream_of_moves_does_not_wear_out_the_disk(tmp_path: Path) -> None:
    file = ResumeFile(tmp_path / "mirror.yaml", tmp_path / "state")
    file.restore()
    file.on_open(0.0)
    written: list[int] = []
    assert file._file is not None
    file._file.write = lambda compose: written.append(  # type: ignore[method-assign]
        json.loads(compose())["values"]["seed"])
    for beat in range(120):
        file.write(Look("builtin", (256, 256), values={"seed": beat // 2}), beat * 0.5)
    file.write(Look("builtin", (256, 256), values={"seed": 59}), 63.0)
    file.close()
    assert len(written) == 60 / WRITE_INTERVAL + 1
    assert written[-1] == 59


def test_a_show_that_runs_twice_keeps_the_look_of_the_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    first = ResumeFile(tmp_path / "mirror.yaml", tmp_path / "state")
    first.restore()
    first.write(STORM, 0.0)
    assert run(tmp_path, Look("builtin", (64, 64)), orderly=True) is None
    assert "another run of this show uses it" in caplog.text
    first.close()
    assert run(tmp_path) == STORM


def test_two_shows_of_one_name_do_not_meet(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        ResumeFile(tmp_path / folder / "mirror.yaml", tmp_path / "state").close()
    assert len(list((tmp_path / "state").glob("mirror-*.lock"))) == 2


@pytest.mark.parametrize("text", [
    "", "{", "7", "[]", "{}",
    json.dumps({"recipe": "x", "size": [9, 9], "cue": "", "minute": "", "values": {}, "tries": 0}),
    json.dumps({"recipe": "x", "size": [64, 64], "cue": "", "minute": "", "values": {}, "tries": 0, "more": 1}),
    json.dumps({"recipe": 1, "size": [64, 64], "cue": "", "minute": "", "values": {}, "tries": 0}),
    json.dumps({"recipe": "x", "size": 64, "cue": "", "minute": "", "values": {}, "tries": 0}),
])
def test_of_a_damaged_file_the_one_before_counts(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, STORM)
    run(tmp_path)
    side_file(tmp_path).write_text(text)
    assert run(tmp_path) == STORM
    assert caplog.text.count("cannot be read") == 1


def test_without_a_show_or_a_folder_nothing_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    for file in (ResumeFile(), ResumeFile(tmp_path / "mirror.yaml", tmp_path / "file")):
        assert file.restore() is None
        file.write(STORM, 0.0)
        file.remove()
        file.close()
    assert caplog.text.count("this run's state is not kept") == 1


def test_a_recipe_comes_back_in_its_size_and_one_that_has_gone_does_not() -> None:
    builtin, other = load_recipe("builtin"), load_recipe("sd-turbo")
    assert STORM.recipe_to_start({"builtin": builtin}, other).size == (256, 192)
    assert STORM.recipe_to_start({"sd-turbo": other}, other) is other
