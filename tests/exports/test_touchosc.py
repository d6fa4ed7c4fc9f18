"""The layout for TouchOSC, read back and checked by py2tosc."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

import py2tosc
import pytest

from lcm_daemon.core.parameters import GROUPS
from lcm_daemon.exports import touchosc
from lcm_daemon.exports.surface import Surface
from lcm_daemon.exports.touchosc_controls import FINE_HIGH
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports.hostile import CUES, hostile_surface
from tests.exports.read_touchosc import layout


@pytest.fixture(scope="module")
def demo() -> Surface:
    return surface_of(load_show("demo", environment={}))


@pytest.fixture(scope="module")
def tree(demo: Surface) -> py2tosc.Document:
    return layout(touchosc.build(demo))


def by_name(tree: py2tosc.Document, kind: str) -> dict[str, py2tosc.Control]:
    return {control.get("name"): control for control in tree.root.walk() if control.control_type.value == kind}


def tabs(tree: py2tosc.Document) -> list[str]:
    (pager,) = by_name(tree, "PAGER").values()
    return [page.get("tabLabel") for page in pager.children]


def test_touchosc_gets_what_its_editor_would_write(demo: Surface) -> None:
    data = touchosc.build(demo)
    read = layout(data)
    assert read.validate() == []
    assert py2tosc.dumps(read, pretty=False) == zlib.decompress(data).decode()  # byte for byte: order, CDATA, numbers


def test_tabs_are_the_groups_of_the_console_then_lists_of_buttons(tree: py2tosc.Document, demo: Surface) -> None:
    groups = [group for group in GROUPS if any(each.group == group for each in demo.table.values())]
    assert tabs(tree) == [*groups, "Bank", "Recipes", "Recipes 2", "Commands", "Status", "Status 2"]


def test_many_looks_get_further_tabs(demo: Surface) -> None:
    many = layout(touchosc.build(replace(demo, cues=tuple(f"look {number}" for number in range(90)))))
    assert [tab for tab in tabs(many) if tab.startswith("All")] == ["All looks", "All looks 2", "All looks 3"]


def test_every_control_is_inside_its_group_and_has_an_id_of_its_own(tree: py2tosc.Document) -> None:
    def outside(parent: py2tosc.Control) -> Iterator[str]:
        room = parent.get("frame")
        for child in parent.children:
            frame = child.get("frame")
            if min(frame.x, frame.y) < 0 or frame.x + frame.w > room.w or frame.y + frame.h > room.h:
                yield str(child.get("name"))
            yield from outside(child)

    assert not list(outside(tree.root))
    ids = [control.id for control in tree.root.walk()]
    assert len(set(ids)) == len(ids)


def test_faders_start_where_the_show_does_and_have_its_ranges(tree: py2tosc.Document, demo: Surface) -> None:
    faders = by_name(tree, "FADER")
    for control in demo.controls():
        if control.kind != "fader":
            continue
        fader = faders[control.parameter.name]
        (message,) = [each for each in fader.messages if isinstance(each, py2tosc.OscMessage)]
        (argument,) = message.arguments
        high = FINE_HIGH if control.parameter.logarithmic else control.high
        assert (argument.scale_min, argument.scale_max) == (control.low, high)
        assert message.send
        assert message.receive
        assert fader.get("tag") == control.address  # the script finds it by that, to leave a touched one alone
        start = next(value.default for value in fader.values if value.key == "x")
        assert start * (high - control.low) + control.low == pytest.approx(control.value, abs=1e-4)


def test_what_the_daemon_reports_is_shown_on_every_parameter(tree: py2tosc.Document, demo: Surface) -> None:
    heard = {"".join(part.value for part in message.path) for control in tree.root.walk()
             for message in control.messages if isinstance(message, py2tosc.OscMessage) and message.receive}
    scripted = {control.get("tag") for control in tree.root.walk() if "onReceiveOSC" in (control.get("script") or "")}
    assert {control.address for control in demo.controls()} <= heard | scripted
    assert set(demo.status_addresses()) <= heard


def test_the_layout_asks_for_values_before_the_subscription_ends(tree: py2tosc.Document) -> None:
    script = tree.root.get("script")
    assert f"RECEIVE_PORT = {touchosc.RECEIVE_PORT}" in script
    assert "sendOSC('/lcm/subscribe', RECEIVE_PORT, 60)" in script
    assert "now - asked >= 20000" in script


def test_names_that_xml_cannot_hold_are_kept_apart() -> None:
    read = layout(touchosc.build(hostile_surface()))
    assert read.validate() == []
    assert {cue.replace("\a", "") for cue in CUES} <= by_name(read, "BUTTON").keys()
