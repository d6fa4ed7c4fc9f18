"""Names that other packages add: read from metadata alone, refused where another part has the name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcm_daemon import controllers
from lcm_daemon.core import plugins
from lcm_daemon.core.plugins import NameTable, PluginError
from lcm_daemon.core.schema_shapes import NameIn
from lcm_daemon.shows.reader import show_fields
from tests.rigs.plugins import install

GROUP = "lcm_daemon.transports"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    plugins.declared.cache_clear()
    yield tmp_path
    plugins.declared.cache_clear()


def table() -> NameTable:
    return NameTable("transport", {"file": "fractions:Fraction"}, frozenset({"name"}))


def load(names: NameTable, name: str) -> object:
    return names.load(name, lambda part: isinstance(part, type), "a class")


def test_a_plugin_is_found_by_its_metadata_and_imported_when_it_is_loaded(site: Path) -> None:
    install(site, "a-pack", "3.1", {GROUP: {"ramp": "a_pack_one:Ramp"}}, {"a_pack_one": "class Ramp: ...\n"})
    names = table()
    assert list(names) == ["file", "ramp"]
    assert "ramp" in names
    assert [str(each) for each in names.plugins] == ["transport ramp of a-pack 3.1"]
    assert NameIn(names).describe() == "one of file, ramp"
    assert "a_pack_one" not in sys.modules
    assert load(names, "ramp").__name__ == "Ramp"
    assert not names.refused


def test_built_in_names_are_found_without_reading_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "declared", lambda: pytest.fail("packages were read"))
    names = table()
    assert "file" in names
    assert names["file"] == "fractions:Fraction"
    assert load(names, "file").__name__ == "Fraction"


@pytest.mark.parametrize(("name", "reason"), [
    ("file", "the built-in transport has this name"), ("name", "another key of shows has this name"),
    ("Big Name", "a name is 1 to 32 lower-case letters")])
def test_a_name_that_another_part_has_is_refused_with_a_line(site: Path, name: str, reason: str) -> None:
    install(site, "a-pack", "3.1", {GROUP: {name: "nowhere:Class", "good": "fractions:Fraction"}})
    names = table()
    assert list(names) == ["file", "good"]
    assert names["file"] == "fractions:Fraction"
    line, = names.refused
    assert f"the transport {name} of a-pack 3.1 is refused" in line
    assert reason in line


def test_of_two_packages_with_one_name_the_first_has_it(site: Path) -> None:
    install(site, "b-pack", "1", {GROUP: {"ramp": "b:B"}})
    install(site, "a-pack", "1", {GROUP: {"ramp": "a:A"}})
    names = table()
    assert names["ramp"] == "a:A"
    assert names.refused == ("the transport ramp of b-pack 1 is refused: a-pack has this name too",)


@pytest.mark.parametrize(("text", "reason"), [
    ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
    ("1 / 0", "ZeroDivisionError"), ("class Other", "SyntaxError"), ("", "AttributeError"),
    ("Part = 3", "is not a class"), ("import sys; sys.exit(3)", "SystemExit: 3")])
def test_a_broken_plugin_is_one_line_and_leaves_the_others_alone(
    site: Path, text: str, reason: str, request: pytest.FixtureRequest,
) -> None:
    module = f"broken_{abs(hash(text))}"
    install(site, "a-pack", "3.1", {GROUP: {"bad": f"{module}:Part", "good": "fractions:Fraction"}}, {module: text})
    names = table()
    with pytest.raises(PluginError, match=r"transport bad of a-pack 3\.1 does not work") as caught:
        load(names, "bad")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert load(names, "good").__name__ == "Fraction"


def test_damaged_metadata_takes_nothing_with_it(site: Path) -> None:
    install(site, "a-pack", "1", {GROUP: {"good": "fractions:Fraction"}})
    broken = site / "broken-1.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_bytes(b"[lcm_daemon.transports]\n\xff\xfe no equals sign\n")
    assert list(table()) == ["file", "good"]


def test_controllers_may_have_no_other_key_of_a_show() -> None:
    assert set(show_fields(Path(), Path())) - set(controllers.CONTROLLERS) == controllers.RESERVED
