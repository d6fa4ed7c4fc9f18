"""The patcher for Max and Max for Live."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lcm_daemon.exports import max_device, max_for_live
from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports import read_max_device
from tests.exports.read_max_for_live import Patcher


@pytest.fixture(scope="module")
def demo() -> Surface:
    return surface_of(load_show("demo", environment={}))


@pytest.fixture(scope="module")
def patcher(demo: Surface) -> Patcher:
    return Patcher(max_for_live.build(demo))


def parameters(patcher: Patcher) -> dict[str, dict[str, Any]]:
    """The Live parameters by their long names."""
    return {box["varname"]: {**box["saved_attribute_attributes"]["valueof"], "class": box["maxclass"]}
            for box in patcher.boxes.values() if box.get("parameter_enable")}


def test_parameters_of_live_have_ranges_choices_and_start_values(patcher: Patcher) -> None:
    found = parameters(patcher)
    assert len(found) == sum(bool(box.get("parameter_enable")) for box in patcher.boxes.values())  # no name twice
    strength, mode = found["strength"], found["mode"]
    assert (strength["parameter_type"], strength["parameter_mmin"], strength["parameter_mmax"]) == (0, 0.0, 1.0)
    assert strength["parameter_initial"] == [0.5]
    assert (mode["class"], mode["parameter_enum"]) == ("live.menu", ["image", "text", "control"])
    assert found["prompt_glide"]["parameter_exponent"] > 1
    assert found["steps"]["parameter_type"] == 1
    assert "seed" not in found  # more values than Live holds as a parameter


def test_every_parameter_is_set_by_what_the_daemon_reports(patcher: Patcher, demo: Surface) -> None:
    (receiver,) = [key for key, box in patcher.boxes.items() if str(box.get("text")).startswith("udpreceive")]
    heard = {}
    for route in patcher.lines[receiver, 0]:
        (setter,) = patcher.lines[route, 0]
        (control,) = patcher.lines[setter, 0]
        address = patcher.boxes[route]["text"].split()[1]
        heard[address] = (patcher.boxes[setter]["text"].split()[1], patcher.boxes[control]["maxclass"])
    assert heard.keys() == {control.address for control in demo.controls()}
    for message, kind in heard.values():
        assert message == ("setsymbol" if kind == "live.menu" else "set")  # without output: nothing is sent back


def test_the_presentation_fits_a_device_and_boxes_do_not_lie_on_each_other(patcher: Patcher) -> None:
    shown = [box["presentation_rect"] for box in patcher.boxes.values() if "presentation" in box]
    assert max(y + height for _, y, _, height in shown) <= 169
    corners = [(x, y) for x, y, _, _ in shown]
    assert len(set(corners)) == len(corners)


def test_a_device_is_the_patcher_and_lets_midi_through(demo: Surface, patcher: Patcher) -> None:
    device = Patcher(read_max_device.patcher(max_device.build(demo)))
    own = {key: box for key, box in device.boxes.items() if key not in patcher.boxes}
    assert {key: device.boxes[key] for key in patcher.boxes} == patcher.boxes
    (midi_in, midi_out) = own
    assert [box["text"] for box in own.values()] == ["midiin", "midiout"]
    assert device.lines[midi_in, 0] == [midi_out]


def test_the_file_is_a_patcher(demo: Surface) -> None:
    patcher = json.loads(max_for_live.build(demo))["patcher"]
    assert patcher["openinpresentation"] == 1
    assert patcher["classnamespace"] == "box"
