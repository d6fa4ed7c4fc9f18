"""Parts of one name: both places are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.recipes.reader import read_recipe

TWICE = """\
base: sd15-lcm
loras:
  - {name: ink, model: a/b}
  - c/d
  - e/f
  - {model: g/h, name: ink}
controlnets:
  - {name: ink, model: a/b}
  - {name: edges, model: c/d}
"""


def read(text: str) -> list[str]:
    problems = Problems()
    read_recipe(compose(text, "recipe.yaml"), Path(), problems)
    return [str(problem) for problem in problems.found]


def test_two_loras_of_one_name_are_refused_with_both_places() -> None:
    assert read(TWICE) == [
        "recipe.yaml:3:12: another LoRA is named 'ink', at 6:24; names must differ, as each has parameters of its own",
        "recipe.yaml:6:24: another LoRA is named 'ink', at 3:12; names must differ, as each has parameters of its own"]


@pytest.mark.parametrize("name", ["edges", "Edges"])
def test_two_controlnets_of_one_name_are_refused(name: str) -> None:
    text = TWICE.replace(", name: ink", "")
    found = read(text.replace("controlnets:\n  - {name: ink", f"controlnets:\n  - {{name: {name}"))
    assert [line.partition(";")[0] for line in found] == ([
        "recipe.yaml:8:12: another ControlNet is named 'edges', at 9:12",
        "recipe.yaml:9:12: another ControlNet is named 'edges', at 8:12"] if name == "edges" else [])


def test_three_are_one_line_each() -> None:
    found = read("{base: sd15-lcm, loras: [{name: a, model: x/y}, {name: a, model: x/y}, {name: a, model: x/y}]}")
    assert [line.partition(";")[0] for line in found] == [
        f"recipe.yaml:1:{here}: another LoRA is named 'a', at 1:{one} and 1:{two}"
        for here, one, two in ((33, 56, 79), (56, 33, 79), (79, 33, 56))]
