"""Resolume's preset and notes: the form that Resolume writes, a dial for each parameter, nothing sent twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.osc_names import FADER
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.exports import resolume, resolume_notes
from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports.hostile import hostile_surface
from tests.exports.read_resolume import addresses

# Attributes of each element in presets that Resolume has written; lcm_daemon/exports/resolume.py says where they are.
WRITTEN_BY_RESOLUME = {
    "OSCShortcutPreset": {"name", "presetId"},
    "versionInfo": {"name", "majorVersion", "minorVersion", "microVersion", "revision"},
    "ShortcutManager": {"name"},
    "Shortcut": {"name", "uniqueId", "paramNodeName", "behaviour", "hasCustomOutputPath"},
    "ShortcutPath": {"name", "path", "translationType", "allowedTranslationTypes"},
    "Subtarget": {"type", "optionIndex"},
    "RawInputMessage": {"name", "key", "value"},
}


@pytest.fixture(scope="module")
def demo() -> Surface:
    return surface_of(load_show("demo", environment={}))


@pytest.fixture(scope="module")
def mapped() -> Surface:
    return surface_of(load_show("resolume", environment={}))


def test_the_form_is_that_of_resolume(mapped: Surface) -> None:
    data = resolume.build(mapped)
    root = ElementTree.fromstring(data)
    assert data.startswith(b'<?xml version="1.0" encoding="utf-8"?>\n<OSCShortcutPreset ')
    assert {element.tag: set(element.attrib) for element in root.iter()} == WRITTEN_BY_RESOLUME
    assert all(set(element.attrib) == WRITTEN_BY_RESOLUME[element.tag] for element in root.iter())
    assert -2**31 <= int(root.attrib["presetId"]) < 2**31
    assert {element.attrib["key"] for element in root.iter("RawInputMessage")} == {"432345564227567616"}
    numbers = [element.attrib["uniqueId"] for element in root.iter("Shortcut")]
    assert len(numbers) == len(set(numbers)) > 20


def test_every_parameter_but_texts_has_a_dial(demo: Surface) -> None:
    wanted = {FADER + control.parameter.name for control in demo.controls() if control.kind != "text"}
    sent = [address for address, _ in addresses(resolume.build(demo))]
    assert sorted(sent) == sorted(wanted)
    assert {FADER + name for name in ("strength", "mix", "blend", "feedback")} <= set(sent[:8])  # of the composition


def test_no_control_sends_twice(mapped: Surface) -> None:
    paths = Counter(output.path for output in resolume.outputs(mapped))
    assert set(paths.values()) == {1}
    sent = Counter(address for address, _ in addresses(resolume.build(mapped)))
    assert set(sent.values()) == {1}
    moved = Counter(output.to for output in resolume.outputs(mapped) if output.to in mapped.table)
    assert set(moved.values()) == {1}, "a parameter has one dial"
    assert moved.keys() == {control.parameter.name for control in mapped.controls() if control.kind != "text"}


def test_what_the_shows_map_expects_comes_from_resolumes_own_addresses(mapped: Surface) -> None:
    sent = dict(addresses(resolume.build(mapped)))
    assert set(mapped.mapped) <= set(sent)
    assert sent["/composition/columns/2/connect"] == [1]
    assert sent["/composition/dashboard/link1"] == [0.5]


def test_other_addresses_of_the_map_are_not_resolumes(demo: Surface) -> None:
    others = replace(demo, mapped={"/1/fader3": "mix", "/composition/master": "master"})
    assert [output.path for output in resolume.outputs(others) if output.control is None] == ["/composition/master"]


def test_more_parameters_than_one_dashboard_has_go_on_to_the_layers(demo: Surface) -> None:
    paths = [output.path for output in resolume.outputs(demo)]
    assert paths[:9] == [*(f"/composition/dashboard/link{dial}" for dial in range(1, 9)),
                         "/composition/layers/1/dashboard/link1"]


def test_a_show_with_many_parameters_leaves_none_away(demo: Surface) -> None:
    names = [f"mod/m{number}/depth" for number in range(200)]
    many = {name: Parameter(name, "float", 0.0, "", 0.0, 1.0) for name in names}
    sent = {address for address, _ in addresses(resolume.build(replace(demo, table={**demo.table, **many})))}
    assert {FADER + name for name in many} <= sent


@pytest.mark.parametrize(("address", "kind", "has_subtarget"), [
    ("/composition/layers/1/clips/2/connect", "ParamEvent", False),
    ("/composition/layers/1/bypassed", "RangedParam[bool]", False),
    ("/composition/layers/1/video/opacity", "ParamRange", True),
])
def test_buttons_switches_and_faders_of_the_map(demo: Surface, address: str, kind: str, has_subtarget: bool) -> None:
    root = ElementTree.fromstring(resolume.build(replace(demo, mapped={address: "freeze"})))
    first = root.findall("ShortcutManager/Shortcut")[0]
    assert first.attrib["paramNodeName"] == kind
    assert (first.find("Subtarget") is not None) == has_subtarget


@pytest.mark.parametrize("module", [resolume, resolume_notes])
def test_a_show_without_osc_is_refused(demo: Surface, module: object) -> None:
    with pytest.raises(LcmDaemonError, match="osc is off"):
        module.build(replace(demo, osc_port=0))  # type: ignore[attr-defined]


def test_names_of_shows_are_quoted() -> None:
    surface = hostile_surface()
    assert ElementTree.fromstring(resolume.build(surface)).attrib["name"] == f"lcm {surface.show}"


def test_the_notes_name_each_end_and_each_dial(mapped: Surface) -> None:
    text = resolume_notes.build(replace(mapped, machine="STAGE")).decode()
    for part in ("`lcm`", "`STAGE (lcm)`", "`lcm in` (ndi)", "port 9000", "resolume_resolume.xml", "`/lcm/prompt`",
                 "| Composition, Dashboard, Link 1 | `strength`, as the show's `osc.map` says |"):
        assert part in text
    assert text.count("| Layer 1, Dashboard, Link") == 8


def test_the_notes_of_a_show_without_sinks_say_what_to_add(demo: Surface) -> None:
    assert "add `{transport: ndi, name: lcm}`" in resolume_notes.build(replace(demo, outputs=())).decode()
