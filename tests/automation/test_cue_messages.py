"""The messages of cues, as a show file has them."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.automation.cue_messages import MAX_MESSAGES, MESSAGES, MidiMessageOut, OscMessageOut
from lcm_daemon.core.document import Problems, compose


def read(text: str) -> tuple[Any, list[str]]:
    problems = Problems()
    found = MESSAGES.read(compose(text, "show.yaml"), problems)
    return found, [str(problem) for problem in problems.found]


@pytest.mark.parametrize(("text", "message"), [
    ("{osc: /light/go, to: 'desk.local:8000'}", OscMessageOut("/light/go", (), "desk.local", 8000)),
    ("{osc: '/eos/cue/1/fire', args: [1, 0.5, go, true, '007'], to: 10.0.0.5:8000}",
     OscMessageOut("/eos/cue/1/fire", (1, 0.5, "go", True, "007"), "10.0.0.5", 8000)),
    ("{osc: /a, to: '[fe80::1%eth0]:65535'}", OscMessageOut("/a", (), "fe80::1%eth0", 65535)),
    ("{midi: {note: 60}, to: 'APC*'}", MidiMessageOut(b"\x90\x3c\x7f", "APC*")),
    ("{midi: {note: 60, value: 0, channel: 16}, to: APC}", MidiMessageOut(b"\x9f\x3c\x00", "APC")),
    ("{midi: {cc: 7, value: 100, channel: 2}, to: APC}", MidiMessageOut(b"\xb1\x07\x64", "APC")),
    ("{midi: {program: 5}, to: APC}", MidiMessageOut(b"\xc0\x05", "APC")),
    ("{midi: {pitchbend: 0}, to: APC}", MidiMessageOut(b"\xe0\x00\x40", "APC")),
    ("{midi: {pitchbend: -8192}, to: APC}", MidiMessageOut(b"\xe0\x00\x00", "APC")),
    ("{midi: {bytes: [0xF0, 0x7F, 0x7F, 0x02, 0x01, 0x01, 0x31, 0xF7]}, to: Light}",
     MidiMessageOut(b"\xf0\x7f\x7f\x02\x01\x01\x31\xf7", "Light")),
    ("{midi: {bytes: [0xFA]}, to: Drums}", MidiMessageOut(b"\xfa", "Drums")),
])
def test_a_message_is_read_and_its_mapping_is_the_same_message(text: str, message: Any) -> None:
    assert read(f"[{text}]") == ((message,), [])
    assert read(str([message.as_mapping()])) == ((message,), []), "as a recorded cue keeps it"


@pytest.mark.parametrize(("text", "problem"), [
    ("{osc: light, to: 'a:1'}", "1:8: 'light' is not an OSC address, such as /light/go"),
    ("{osc: '/a b', to: 'a:1'}", "1:8: '/a b' is not an OSC address"),
    ("{osc: '/a/*', to: 'a:1'}", "1:8: '/a/*' is not an OSC address"),
    ("{osc: /a/, to: 'a:1'}", "1:8: '/a/' is not an OSC address"),
    ("{osc: /a}", "1:2: key 'to' is missing"),
    ("{osc: /a, to: a}", "1:16: 'a' is not a destination, such as 192.168.1.20:8000"),
    ("{osc: /a, to: 'a:0'}", "1:16: 'a:0' is not a destination"),
    ("{osc: /a, to: 'a:65536'}", "1:16: 'a:65536' is not a destination"),
    ("{osc: /a, to: 'http://a:1'}", "1:16: 'http://a:1' is not a destination"),
    ("{osc: /a, args: [[1]], to: 'a:1'}", "1:19: an argument is a number, a text, true or false"),
    ("{osc: /a, args: [.nan], to: 'a:1'}", "1:19: an argument is a number"),
    ("{osc: /a, args: [9223372036854775808], to: 'a:1'}", "1:19: 9223372036854775808 is not an argument"),
    ("{to: 'a:1'}", "1:2: a message needs exactly one of osc, midi"),
    ("{osc: /a, midi: {note: 1}, to: 'a:1'}", "1:2: a message needs exactly one of osc, midi"),
    ("{midi: {note: 1}, args: [1], to: a}", "1:2: args belong to osc"),
    ("{midi: {}, to: a}", "1:2: midi needs exactly one of note, cc, program, pitchbend, bytes; it has none"),
    ("{midi: {note: 1, cc: 2}, to: a}", "1:2: midi needs exactly one of note, cc, program, pitchbend, bytes; it has "
     "note and cc"),
    ("{midi: {note: 128}, to: a}", "1:16: 128 is not a whole number from 0 to 127"),
    ("{midi: {nte: 1}, to: a}", "1:10: unknown key 'nte'; did you mean 'note'?"),
    *((f"{{midi: {{bytes: {data}}}, to: a}}", "1:17: these bytes are not one MIDI message")
      for data in ("[]", "[1, 2]", "[0x90, 60]", "[0x90, 60, 200]", "[0xF0, 1]", "[0xF0, 0xF7]", "[0xF0, 200, 0xF7]",
                   "[0xF8, 1]", "[0xF4]", "[0x90, 60, 1, 0x90, 61, 1]", f"[0xF0, {'1, ' * 1100} 0xF7]")),
])
def test_a_mistake_has_its_place(text: str, problem: str) -> None:
    found, problems = read(f"[{text}]")
    assert found == ()
    assert problems[0].startswith(f"show.yaml:{problem}")


def test_a_cue_sends_a_limited_number_of_messages() -> None:
    one = "{osc: /a, to: 'a:1'}"
    assert read(f"[{', '.join([one] * MAX_MESSAGES)}]")[1] == []
    assert "at most 64 messages; here are 65" in read(f"[{', '.join([one] * (MAX_MESSAGES + 1))}]")[1][0]
