"""The parts that recipes name are declared once, and every declaration leads to a class."""

from __future__ import annotations

import importlib.util

import pytest

from lcm_daemon.core.schema import Choice
from lcm_daemon.core.schema_shapes import NameIn
from lcm_daemon.recipes.reader import FIELDS
from lcm_daemon.recipes.registry import ACCELERATOR_CHOICES, ACCELERATORS, PIPELINES, PREPROCESSORS, SAMPLERS

PATHS = [*PIPELINES.values(), *PREPROCESSORS.values(), *(entry.path for entry in ACCELERATORS.values())]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_names_a_module_with_the_class(path: str) -> None:
    module, _, name = path.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as file:
        assert f"class {name}" in file.read()


def test_the_schema_of_recipes_offers_exactly_these_names() -> None:
    kinds = {key: FIELDS[key].kind for key in ("pipeline", "sampler", "accelerate")}
    assert kinds == {
        "pipeline": NameIn(PIPELINES), "sampler": Choice(tuple(SAMPLERS)),
        "accelerate": Choice(ACCELERATOR_CHOICES, "accelerator"),
    }
    assert ACCELERATOR_CHOICES[0] == "auto"
