"""The file that says what was prepared."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lcm_daemon.recipes.prepared import Prepared, PreparedForm, digest_of
from lcm_daemon.recipes.recipe import Recipe

RECIPE = Recipe("own", model="/models/own", accelerate="compile")
FORM = PreparedForm(digest_of(RECIPE), "own", "512x512", "compile", "2.13.0", "a card", True, 8.0)


def test_a_form_is_found_by_what_decides_its_kernels(tmp_path: Path) -> None:
    Prepared(file=tmp_path / "prepared.json").add(FORM)
    prepared = Prepared.read(tmp_path / "prepared.json")
    assert prepared.find(RECIPE, "2.13.0", "a card") == FORM
    assert prepared.find(RECIPE, "2.13.0") == FORM, "any card"
    renamed = replace(RECIPE, name="renamed", title="The same", accelerate="auto", parameters={"steps": 2})
    assert prepared.find(renamed, "2.13.0") == FORM
    assert Prepared([replace(FORM, wanted="compile")]).find(renamed, "2.13.0") is None, "auto may choose another one"
    for other in (replace(RECIPE, size=(384, 384)), replace(RECIPE, accelerate="tensorrt"),
                  replace(RECIPE, model="/models/other")):
        assert prepared.find(other, "2.13.0") is None
    assert prepared.find(RECIPE, "2.14.0") is None
    assert prepared.find(RECIPE, "2.13.0", "another card") is None


def test_a_form_replaces_its_older_one_and_keeps_those_of_other_processes(tmp_path: Path) -> None:
    file = tmp_path / "prepared.json"
    first, second = Prepared.read(file), Prepared.read(file)
    first.add(FORM)
    second.add(replace(FORM, card="another card"))
    second.add(replace(FORM, seconds=5.0))
    assert sorted(form.seconds for form in Prepared.read(file).forms) == [5.0, 8.0]


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"name": "an older version"}]', "null",
                                     json.dumps([{**asdict(FORM), "seconds": "8"}])])
def test_a_damaged_file_is_as_none(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "prepared.json"
    file.write_text(content)
    assert Prepared.read(file).forms == []
    assert caplog.messages == [f"{file} is damaged; nothing counts as prepared until lcm-daemon prepare has run again"]


def test_a_form_is_lost_with_its_folder(tmp_path: Path) -> None:
    prepared = Prepared([replace(FORM, folder=str(tmp_path))])
    assert prepared.find(RECIPE, "2.13.0") is not None
    assert Prepared([replace(FORM, folder=str(tmp_path / "absent"))]).find(RECIPE, "2.13.0") is None
