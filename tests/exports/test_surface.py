"""What exports are built from: which control suits a parameter, addresses, buttons, ports."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.core.requests import COMMANDS
from lcm_daemon.exports.surface import PRESSED, Surface, SurfaceControl, SurfaceEnd, control_kind, label_of

INPUTS = SurfaceEnd("testcard", ""), SurfaceEnd("ndi", "CAM")
OUTPUTS = SurfaceEnd("spout", "lcm"), SurfaceEnd("ndi", "wall")
BARE = Surface("show", {}, {}, COMMANDS, ("Intro",), ("ink",), "ink", ("lava", "", "ice"), {"fps": "Frames."}, (), 30.0,
               (512, 512), INPUTS, OUTPUTS, "127.0.0.1", 9000, 8000, 9080)


@pytest.mark.parametrize(("parameter", "kind", "tag", "low", "high"), [
    (Parameter("a", "float", 0.0, "", 0.0, 2.0), "fader", "f", 0.0, 2.0),
    (Parameter("a", "float", 0.0, ""), "number", "f", 0.0, 1.0),
    (Parameter("a", "int", 1, "", 1, 16), "fader", "i", 1, 16),
    (Parameter("a", "int", 0, "", 0, 64_000, step=64), "fader", "i", 0, 64_000),
    (Parameter("a", "int", 0, "", 0, 2**53), "number", "i", 0, 2**31 - 1),
    (Parameter("a", "bool", False, ""), "toggle", "T", 0, 1),
    (Parameter("a", "choice", "x", "", choices=("x", "y", "z")), "menu", "s", 0, 2),
    (Parameter("a", "text", "", ""), "text", "s", 0, 1),
])
def test_a_control_suits_its_parameter(parameter: Parameter, kind: str, tag: str, low: float, high: float) -> None:
    control = SurfaceControl(parameter, parameter.default, control_kind(parameter))
    assert (control.kind, control.tag, control.low, control.high) == (kind, tag, low, high)
    assert math.isfinite(control.low)
    assert control.address == "/lcm/a"


def test_pages_are_the_groups_in_their_order() -> None:
    table = {name: Parameter(name, "float", 0.5, "", 0.0, 1.0, group=group)
             for name, group in (("a", "Play"), ("b", "Master"), ("c", "Play"), ("d", ""))}
    pages = replace(BARE, table=table, values={"a": 0.25}).pages()
    assert {page: [control.parameter.name for control in controls] for page, controls in pages.items()} == {
        "Play": ["a", "c"], "Master": ["b"], "Other": ["d"]}
    assert [control.value for control in pages["Play"]] == [0.25, 0.5]


def test_buttons_give_commands_that_take_what_they_send() -> None:
    buttons = [*BARE.buttons(), *BARE.cue_buttons(), *BARE.prompt_buttons(), *BARE.recipe_buttons()]
    assert [button.name for button in buttons] == [*PRESSED, "cue/goto", "prompts/play", "prompts/play", "recipe"]
    assert [button.arguments for button in buttons[-4:]] == [("Intro",), (1.0,), (3.0,), ("ink",)]
    for button in buttons[:-1]:
        button.command.coerce(button.arguments)
    assert not set(PRESSED) - COMMANDS.keys()


def test_ends_are_found_by_their_transports() -> None:
    assert BARE.output("ndi", "spout") == SurfaceEnd("spout", "lcm")
    assert BARE.output("syphon") is None
    assert BARE.input("ndi") == SurfaceEnd("ndi", "CAM")


def test_addresses_of_the_page_and_of_oscquery() -> None:
    assert (BARE.page_url, BARE.query_url) == ("http://127.0.0.1:8000", "http://127.0.0.1:9080")
    assert replace(BARE, secure=True, host="fe80::1").page_url == "https://[fe80::1]:8000"
    off = replace(BARE, page_port=0, query_port=0)
    assert (off.page_url, off.query_url) == ("", "")
    assert BARE.status_addresses() == {"/lcm/status/fps": "Frames."}


def test_a_section_that_is_off_is_named_with_what_to_write() -> None:
    BARE.need("osc", "oscquery")
    with pytest.raises(LcmDaemonError, match=r"show show: oscquery is off .* `oscquery: \{port: 9080\}`"):
        replace(BARE, query_port=0).need("osc", "oscquery")
    with pytest.raises(LcmDaemonError, match=r"osc is off"):
        replace(BARE, osc_port=0).need_osc()


def test_labels_are_for_people() -> None:
    assert label_of("control/edges/weight") == "Control edges weight"
    assert label_of("seed_lock") == "Seed lock"
