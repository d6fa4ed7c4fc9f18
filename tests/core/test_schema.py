"""YAML with places."""

from __future__ import annotations

import pytest

from lcm_daemon.core.document import Problems, compose, override
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.core.schema import Boolean, Choice, Field, Fields, Items, Number, PixelSize, Section, Text

FIELDS: Fields = {
    "title": Field(Text(), ""),
    "port": Field(Number(1, 65535, whole=True), 9000),
    "gain": Field(Number(0, 2), 1.0),
    "on": Field(Boolean(), True),
    "mode": Field(Choice(("hold", "fade")), "hold"),
    "size": Field(PixelSize(), (512, 512)),
    "names": Field(Items(Text()), ()),
    "inner": Field(Section({"must": Field(Text())}), None),
}


def read(text: str) -> dict[str, object]:
    problems = Problems()
    found = Section(FIELDS).read(compose(text, "show.yaml"), problems)
    problems.raise_if_any()
    return found


def complaints(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        read(text)
    return str(caught.value).splitlines()


def test_an_empty_document_is_all_defaults() -> None:
    assert read("") == {name: field.default for name, field in FIELDS.items()}


def test_every_kind_reads_its_value() -> None:
    text = "{title: a, port: 80, gain: 0.5, 'on': false, mode: fade, size: [640, 480], names: [x, y], inner: {must: z}}"
    assert read(text) == {
        "title": "a", "port": 80, "gain": 0.5, "on": False, "mode": "fade", "size": (640, 480),
        "names": ("x", "y"), "inner": {"must": "z"},
    }


@pytest.mark.parametrize(("text", "line"), [
    ("port: loud", "show.yaml:1:7: 'loud' is not a whole number from 1 to 65535"),
    ("port: 1.5", "show.yaml:1:7: 1.5 is not a whole number from 1 to 65535"),
    ("gain: true", "show.yaml:1:7: True is not a number from 0 to 2"),
    ("gain: .nan", "show.yaml:1:7: nan is not a number from 0 to 2"),
    ("\nmode: fad", "show.yaml:2:7: 'fad' is not one of hold, fade"),
    ("size: [1, 2]", "show.yaml:1:7: a list is not a size such as [512, 512] (pixels, 16 to 8192 each)"),
    ("title: [a]", "show.yaml:1:8: a list is not text"),
    ("prt: 1", "show.yaml:1:1: unknown key 'prt'; did you mean 'port'?"),
    ("port: 1\nport: 2", "show.yaml:2:1: key 'port' is here twice"),
    ("inner: {}", "show.yaml:1:8: key 'must' is missing: text"),
    ("inner: 3", "show.yaml:1:8: 3 is not a mapping with the keys must"),
])
def test_each_mistake_has_its_place_and_what_would_be_right(text: str, line: str) -> None:
    assert complaints(text) == [line]


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    lines = complaints("gain: x\nport: y\nnames: [[1], 2]\nzzz: 1")
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\t- x", "a: !!python/object:os.system x", "a: !own x", "\x00",
                                  "[" * 40 + "]" * 40])
def test_what_is_no_yaml_is_one_line_with_a_place(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        compose(text, "bad.yaml")
    assert str(caught.value).startswith("bad.yaml:")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", [r"C:\clips", r"C:\Users\me", r"C:\xtra"])
def test_a_windows_path_in_double_quotes_says_what_to_write(path: str) -> None:
    with pytest.raises(DocumentError, match=r"^bad\.yaml:1:\d+: not YAML: .*write / instead, or use single quotes$"):
        compose(f'title: "{path}"', "bad.yaml")
    assert compose(f"title: '{path}'", "good.yaml").value == {"title": path}


def test_an_override_reaches_down_and_names_itself_in_errors() -> None:
    node = compose("{names: [a, b]}", "show.yaml")
    override(node, "inner.must", "deep", "--set inner.must")
    override(node, "names.1", "c", "--set names.1")
    override(node, "port", "loud", "--set port")
    problems = Problems()
    found = Section(FIELDS).read(node, problems)
    assert found["inner"] == {"must": "deep"}
    assert found["names"] == ("a", "c")
    assert [str(p) for p in problems.found] == ["--set port:1:1: 'loud' is not a whole number from 1 to 65535"]


def test_an_override_that_leads_nowhere_says_so() -> None:
    with pytest.raises(DocumentError, match="there is no 'deep' to set"):
        override(compose("{port: 1}", "show.yaml"), "port.deep", "1", "--set port.deep")
