"""What `lcm-daemon check` notes of `upscale` and `interpolate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.cli import main


def notes(folder: Path, capsys: pytest.CaptureFixture[str], **show: Any) -> list[str]:
    file = folder / "show.yaml"
    file.write_text(json.dumps({"panel": False, "osc": False, **show}))
    assert main(["check", str(file)]) == 0
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(("  unused", "  absent"))]


def test_an_output_that_is_not_larger_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show: dict[str, Any] = {"recipe": "builtin", "parameters": {"upscale": 2}, "output": {"size": [256, 256]}}
    assert notes(tmp_path, capsys, **show) == [
        "  unused   upscale has no effect at the start: the output, 256x256, is not larger than what the recipe "
        "builtin renders, 256x256"]
    assert notes(tmp_path, capsys, **{**show, "output": {"size": [512, 256]}}) == []
    cues = [{"name": "large", "set": {"upscale": 4}}, {"name": "small", "set": {"upscale": 1}}]
    assert [line[:50] for line in notes(tmp_path, capsys, **{**show, "parameters": {}}, cues=cues)] == [
        "  unused   upscale has no effect in cue large: the"]


def test_engines_on_a_cluster_alone_make_no_pictures_between_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show: dict[str, Any] = {"recipe": "passthrough", "parameters": {"interpolate": 2}}
    assert notes(tmp_path, capsys, **show, engines={"ray": "auto"}) == [
        "  unused   interpolate has no effect at the start: engines on a Ray cluster make no pictures between two"]
    assert notes(tmp_path, capsys, **show, engines=[{"ray": "auto"}, {"device": "cpu"}]) == []
    assert notes(tmp_path, capsys, **show) == []


def test_networks_of_the_hub_that_are_absent_are_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that leads nowhere is a mistake, as for all weights."""
    recipe = {"base": "builtin", "upscaler": "someone/x4", "interpolator": "someone/rife"}
    assert notes(tmp_path, capsys, recipe=recipe) == [
        "  absent   recipe builtin: upscaler someone/x4 is not on this machine; the package's own network is "
        "used",
        "  absent   recipe builtin: interpolator someone/rife is not on this machine; pictures are moved along the "
        "motion"]
