"""The session for Open Stage Control: known widgets and properties, and texts that it does not run as programs."""

from __future__ import annotations

import json

import pytest

from lcm_daemon.exports import open_stage_control
from lcm_daemon.exports.open_stage_control import is_plain
from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports.hostile import hostile_surface
from tests.exports.read_open_stage_control import Widget, widgets

# Properties of version 1.30's widgets that the session uses, after src/client/widgets.
COMMON = {"type", "id", "height", "width", "expand", "padding", "alphaStroke", "default"}
SENDING = {"address", "target", "typeTags", "decimals", "preArgs", "bypass"}
PANEL = COMMON | {"layout", "gridTemplate", "scroll", "widgets", "tabs"}
KNOWN = {
    "root": PANEL | {"onCreate"}, "panel": PANEL, "tab": PANEL | {"label"},
    "text": COMMON | {"address", "target", "bypass", "align"},
    "button": COMMON | SENDING | {"label", "mode", "on", "off", "wrap"},
    "fader": COMMON | SENDING | {"horizontal", "design", "range", "steps"},
    "switch": COMMON | SENDING | {"values", "layout"}, "dropdown": COMMON | SENDING | {"values"},
    "input": COMMON | SENDING | {"align", "numeric", "unit"},
}


@pytest.fixture(scope="module")
def demo() -> Surface:
    return surface_of(load_show("demo", environment={}))


@pytest.fixture(scope="module")
def session(demo: Surface) -> list[Widget]:
    return list(widgets(open_stage_control.build(demo)))


def test_the_file_is_a_session_that_needs_no_conversion(demo: Surface) -> None:
    found = json.loads(open_stage_control.build(demo))
    assert found.keys() == {"createdWith", "version", "type", "content"}
    assert found["content"]["type"] == "root"
    assert tuple(map(int, found["version"].split("."))) > (1, 24, 2)  # the last version that has a conversion


@pytest.mark.parametrize("surface", ["demo", "hostile"])
def test_widgets_have_properties_that_the_program_knows(surface: str, demo: Surface) -> None:
    for widget in widgets(open_stage_control.build(demo if surface == "demo" else hostile_surface())):
        assert widget.keys() <= KNOWN[widget["type"]]
        assert not (widget.get("tabs") and widget.get("widgets"))
        assert widget.get("mode", "toggle") in ("toggle", "push", "momentary", "tap")


def test_every_parameter_is_bound_both_ways(session: list[Widget], demo: Surface) -> None:
    bound = [widget for widget in session if "address" in widget]
    assert {widget["target"] for widget in bound} == {"127.0.0.1:9000"}
    assert {control.address for control in demo.controls()} <= {widget["address"] for widget in bound}
    assert "send(\"127.0.0.1:9000\", '/lcm/subscribe', {type: 'i', value: 0}" in session[0]["onCreate"]


def test_loading_a_session_sets_nothing(session: list[Widget]) -> None:
    assert not [widget for widget in session if "address" in widget and "default" in widget]


def test_a_logarithmic_fader_is_finer_at_its_low_end(session: list[Widget]) -> None:
    (fader,) = [each for each in session if each["id"] == "prompt_glide" and each["type"] == "fader"]
    assert fader["range"] == {"min": 0.0, "25%": 9.375, "50%": 75.0, "75%": 253.125, "max": 600.0}


def test_a_whole_number_has_a_step_for_each_value(session: list[Widget]) -> None:
    (fader,) = [each for each in session if each["id"] == "steps" and each["type"] == "fader"]
    assert (fader["range"], fader["steps"], fader["typeTags"]) == ({"min": 1, "max": 8}, 8, "i")


@pytest.mark.parametrize(("text", "plain"), [
    ("dawn", True), ("Act 1", True), ("{curly}", True), ("5", False), ("true", False), ('"quoted"', False),
    ("[1]", False),
    ("@{prompt}", False), ("JS{alert(1)}", False), ("a #{1}", False), ("OSC{/x}", False), ("IMPORT{x}", False),
])
def test_what_the_program_would_take_for_a_program_or_json(text: str, plain: bool) -> None:
    assert is_plain(text) is plain


def test_no_name_of_a_show_is_a_program() -> None:
    for widget in widgets(open_stage_control.build(hostile_surface())):
        for value in (widget.get("label", ""), *widget.get("preArgs", ())):
            assert "{" not in str(value)


def test_widgets_of_one_id_are_the_value_of_one_parameter() -> None:
    by_id: dict[str, set[str]] = {}
    for widget in widgets(open_stage_control.build(hostile_surface())):
        assert "{" not in widget["id"]
        by_id.setdefault(widget["id"], set()).add(widget.get("address", f"{widget['type']} {len(by_id)}"))
    assert all(len(addresses) == 1 for addresses in by_id.values())
