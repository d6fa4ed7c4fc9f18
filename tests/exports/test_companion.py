"""The buttons for Companion: a full export of version 6, with lamps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lcm_daemon.exports import companion
from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports.read_companion import arguments, buttons


@pytest.fixture(scope="module")
def demo() -> Surface:
    return surface_of(load_show("demo", environment={}))


@pytest.fixture(scope="module")
def export(demo: Surface) -> dict[str, Any]:
    return dict(json.loads(companion.build(demo)))


def test_a_page_has_the_size_of_a_stream_deck_and_buttons_that_change_it(export: dict[str, Any]) -> None:
    for page in export["pages"].values():
        assert [page["controls"][row]["0"]["type"] for row in "012"] == ["pageup", "pagenum", "pagedown"]
        assert {int(row) for row in page["controls"]} <= set(range(4))
        assert {int(column) for row in page["controls"].values() for column in row} <= set(range(8))


def test_the_connection_hears_at_the_port_that_it_sends_from(export: dict[str, Any]) -> None:
    (connection,) = export["instances"].values()
    assert connection["instance_type"] == "generic-osc"
    assert connection["config"] == {"host": "127.0.0.1", "targetPort": "9000", "protocol": "udp", "listen": True,
                                    "feedbackPort": "9002"}
    (trigger,) = export["triggers"].values()
    assert trigger["events"][0]["options"]["seconds"] < 60  # of the subscription
    assert arguments(trigger["action_sets"]["0"][0]["options"]["arguments"]) == [0, 60]


def test_a_choice_is_lit_by_its_name_and_a_switch_by_1(demo: Surface) -> None:
    lamps = {button["style"]["text"]: button["feedbacks"][0] for button in buttons(companion.build(demo))
             if button["feedbacks"]}
    assert lamps["Mode\ntext"]["type"] == "osc_feedback_string"
    assert lamps["Mode\ntext"]["options"] == {"path": "/lcm/mode", "arguments": "text", "comparison": "equal"}
    assert lamps["Freeze"]["type"] == "osc_feedback_int"
    assert lamps["Freeze"]["options"]["arguments"] == "1"


def test_the_buttons_of_a_parameter_are_side_by_side(export: dict[str, Any]) -> None:
    rows = [row for page in export["pages"].values() for row in page["controls"].values()]
    for row in rows:
        texts = [control["style"]["text"] for control in row.values() if control["type"] == "button"]
        for text in texts:
            assert not text.endswith(" -") or f"{text[:-1]}+" in texts


@pytest.mark.parametrize(("typed", "read"), [
    ('"+" 0.050000', ["+", 0.05]), ('"-" 1', ["-", 1]), ('"Act \\"One\\""', ['Act "One"']), ("-1", [-1]), ("", []),
    ('"lava, glowing red"', ["lava, glowing red"]), ("1.000000", [1.0]),
])
def test_the_reader_takes_arguments_as_the_module_does(typed: str, read: list[Any]) -> None:
    assert arguments(typed) == read
