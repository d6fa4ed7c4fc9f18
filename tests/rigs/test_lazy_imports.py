"""Lazy imports of the tests: placeholders until a test runs, and no torch while tests are collected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, new_class

import pytest

from tests.rigs import lazy_imports as rig
from tests.rigs.lazy_imports import Placeholder

ROOT = Path(__file__).parents[2]


def module_of(source: str) -> ModuleType:
    module = ModuleType("lazy_example")
    exec(compile(source, "lazy_example", "exec"), vars(module))
    return module


@pytest.fixture(autouse=True)
def _collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "_running", [])


def test_names_and_parameters_are_resolved() -> None:
    module = module_of("from tests.rigs.lazy_imports import lazy_imports\n"
                       "with lazy_imports(globals()):\n"
                       "    import xml.dom\n"
                       "    from fractions import Fraction as F\n"
                       "    from xml.etree import ElementTree\n"
                       "HALF, LISTED = F(1, 2), {'a': [F(1, 4)]}\n"
                       "def double(half=F(2, 4), *, third=F(1, 3)): return half * 2, HALF * 2, third * 3\n")
    parameters = {"share": module.HALF, "plain": 1}
    assert isinstance(module.ElementTree, Placeholder)
    rig.resolve(module, parameters)
    assert parameters == {"share": 0.5, "plain": 1}
    assert module.LISTED == {"a": [0.25]}
    assert module.double() == (1, 1, 1)
    assert module.xml.dom.__name__ == "xml.dom"
    assert module.ElementTree.__name__ == "xml.etree.ElementTree"


def test_what_cannot_wait_fails() -> None:
    def function() -> None:
        pass

    placeholder = Placeholder("module", lambda: pytest.fail("imported too early"))
    with pytest.raises(TypeError, match="define the class in a function"):
        new_class("Class", (placeholder.Class,))
    with pytest.raises(TypeError, match="not iterable"):
        list(placeholder.names)
    with pytest.raises(TypeError, match="cannot decorate a function"):
        placeholder.decorator()(function)


def test_once_tests_run_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "_running", [True])
    assert Placeholder("int", lambda: int)("7") == 7
    assert Placeholder("sys", lambda: sys).version == sys.version


@pytest.mark.slow
def test_collecting_the_pipeline_tests_imports_no_torch() -> None:
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts)
             for file in (ROOT / "tests" / "pipelines").glob("*.py")]
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n" \
           "print(*{'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                          timeout=60).stdout.strip() == ""
