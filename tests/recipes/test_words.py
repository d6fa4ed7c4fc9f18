"""The words that a model knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.words import words_of


def test_the_built_in_model() -> None:
    recipe = load_recipe("builtin")
    found = words_of([recipe, replace(recipe, name="mine"), load_recipe("sd-turbo"), load_recipe("passthrough")])
    assert list(found) == [recipe.model]
    rows = found[recipe.model]
    assert len(rows) == 25 + 12 + 5
    assert rows[1] == {"word": "ocean", "kind": "subjects", "help": "rolling waves seen from above",
                       "also": "sea waves, water"}


@pytest.mark.parametrize("content", ["[a, b]", "a: b", "{", "\x00"])
def test_a_damaged_file_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str) -> None:
    (tmp_path / "words.yaml").write_text(content)
    assert words_of([Recipe("mine", model=str(tmp_path))]) == {}
    assert "words.yaml: cannot be read" in caplog.text
