"""Schemas: every kind reads its value or reports a mistake with its place."""

from __future__ import annotations

import json

import pytest

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.core.schema import (
    Boolean,
    Choice,
    Field,
    FieldKind,
    Fields,
    Items,
    Number,
    OrFalse,
    PixelSize,
    Section,
    Text,
    complete_options,
    read_fields,
)

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
    ("size: [1, 2]", "show.yaml:1:7: a list is not a size such as [512, 512] or 512x512 (pixels, 16 to 8192 each)"),
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


def test_a_size_may_be_in_steps() -> None:
    kind, problems = PixelSize(64, 2048, 8), Problems()
    assert kind.read(compose("[512, 384]", "a"), problems) == (512, 384)
    for text in ("[500, 512]", "[512, 4096]", "[512]", "[512.0, 512]", "[512, true]", "512"):
        assert kind.read(compose(text, "a"), problems) is None
    assert len(problems) == 6
    assert "in multiples of 8" in problems.found[0].text


def test_false_switches_a_section_off() -> None:
    kind, problems = OrFalse(Section({"port": Field(Number(0, 9), 1)})), Problems()
    assert kind.read(compose("false", "a"), problems) is None
    assert kind.read(compose("{port: 2}", "a"), problems) == {"port": 2}
    assert len(problems) == 0


def test_options_are_completed_and_unknown_ones_refused() -> None:
    fields: Fields = {"port": Field(Number(0, 9), 1), "host": Field(Text(), "here")}
    assert complete_options("Osc", {"port": 2}, fields) == {"port": 2, "host": "here"}
    with pytest.raises(ValueError, match=r"^Osc: unknown option colour; there are port, host$"):
        complete_options("Osc", {"colour": 1}, fields)


@pytest.mark.parametrize("text", ["title: " + "x" * 100_000 + "\nsize: 3", "? " + "x" * 100_000 + "\n: 1",
                                  "port: 0x" + "f" * 9000, "mode: " + "9" * 5000])
def test_a_long_value_does_not_make_a_long_message(text: str) -> None:
    (line,) = complaints(text)
    assert len(line) < 250


@pytest.mark.parametrize(("kind", "text", "value"), [
    (Number(1, 240), "30000/1001", 30000 / 1001), (Number(1, 240), "3e1", 30.0), (Number(1, 240), "'30'", 30.0),
    (Number(1, 240), ".5e2", 50.0), (Number(1, 240, whole=True), "3e1", 30), (Number(1, 240, whole=True), "'30'", 30),
    (Number(1, 240, whole=True), "60/2", 30), (PixelSize(), "512x512", (512, 512)),
    (PixelSize(), "1920X1080", (1920, 1080)), (PixelSize(), "640 x 360", (640, 360)), (PixelSize(), "64×32", (64, 32)),
    (PixelSize(), "64*32", (64, 32)), (Boolean(), "1", True), (Boolean(), "0", False), (Boolean(), "on", True),
    (OrFalse(Boolean()), "null", None), (Number(1, 240), "030", 30.0), (Number(1, 240, whole=True), "08", 8),
    (Number(1, 240), "0x1E", 30.0),
])
def test_values_are_read_as_people_type_them(kind: FieldKind, text: str, value: object) -> None:
    problems = Problems()
    node = compose(f"value: {text}", "show.yaml").items()[0][1]
    assert (kind.read(node, problems), problems.found) == (value, [])


@pytest.mark.parametrize(("kind", "text"), [
    (Number(1, 240), "30000/0"), (Number(1, 240), "30 fps"), (Number(1, 240), "1e999"), (Number(1, 240), "30/1/1"),
    (Number(1, 240, whole=True), "1/3"), (Number(1, 240, whole=True), "9000.0"), (Number(1, 240), "''"),
    (PixelSize(), "512"), (PixelSize(), "512x"), (PixelSize(), "8x8"), (PixelSize(), "512x512x3"), (Boolean(), "2"),
    (Boolean(), "1.0"), (Boolean(), "''"), (Number(1, 240), "1:30"), (Number(1, 240), "1:30.5"),
])
def test_other_forms_are_mistakes(kind: FieldKind, text: str) -> None:
    problems = Problems()
    assert kind.read(compose(f"value: {text}", "show.yaml").items()[0][1], problems) is None
    (problem,) = problems.found
    assert str(problem).startswith("show.yaml:1:8: ")


def test_a_key_without_a_value_has_its_default_and_notes_are_ignored() -> None:
    problems = Problems()
    fields: Fields = {"port": Field(Number(0, 9), 1), "must": Field(Text())}
    text = "x-base: &base {must: a}\nport:\n<<: *base\nx-: 5"
    assert read_fields(compose(text, "show.yaml"), fields, problems) == {"port": 1, "must": "a"}
    assert problems.found == []
    read_fields(compose("must: null", "show.yaml"), fields, problems)
    assert str(problems.found[0]).startswith("show.yaml:1:1: key 'must' is missing")


def test_the_json_schema_says_what_a_show_may_contain() -> None:
    schema = Section(FIELDS).json_schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == []
    shapes = schema["properties"]
    assert shapes["port"]["type"] == ["integer", "string", "null"]
    assert (shapes["port"]["minimum"], shapes["port"]["maximum"]) == (1, 65535)
    assert shapes["gain"]["type"] == ["number", "string", "null"]
    assert shapes["mode"] == {"enum": ["hold", "fade", None]}
    assert shapes["names"] == {"type": ["array", "null"], "items": {"type": ["string", "number"]}}
    assert shapes["size"]["type"] == ["array", "string", "null"]
    assert shapes["inner"]["required"] == ["must"]
    assert OrFalse(Text()).json_schema() == {"anyOf": [{"const": False}, Text().json_schema()]}
    assert json.loads(json.dumps(schema)) == schema
