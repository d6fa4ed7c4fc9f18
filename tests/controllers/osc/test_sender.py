"""`send`: the types that command-line arguments get, the message on the wire, and its errors."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc import sender
from lcm_daemon.controllers.osc.sender import Answers, parse_argument, send, typed_arguments
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.errors import LcmDaemonError


@pytest.mark.parametrize(("text", "value"), [
    ("0.7", 0.7), ("-1e3", -1000.0), ("7", 7), ("-7", -7), ("true", True), ("False", False), ("lava", "lava"),
    ("1_000", "1_000"), ("nan", "nan"), ("infinity", "infinity"), ("e", "e"), ("", ""), ("1.2.3", "1.2.3"),
    ("127.0.0.1:9001", "127.0.0.1:9001"), ("4294967295", 4294967295),
])
def test_arguments_get_the_type_they_look_like(text: str, value: object) -> None:
    found = parse_argument(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("address", "typed", "sent"), [
    ("/lcm/prompt", ["007"], ["007"]), ("/lcm/prompt", ["true"], ["true"]), ("/lcm/prompt_b", ["0.5"], ["0.5"]),
    ("/lcm/prompt", ["7", "0.5", "lava", "0.3"], ["7", 0.5, "lava", 0.3]), ("/lcm/prompt", [], []),
    ("/lcm/strength", ["0.5"], [0.5]), ("/lcm/steps", ["007"], [7]), ("/lcm/freeze", ["true"], [True]),
    ("/lcm/strength", ["+", "0.1"], ["+", 0.1]), ("/lcm/mode", ["1"], [1]), ("/lcm/lora/ink", ["1"], [1]),
    ("/lcm/cue/goto", ["007", "5"], ["007", 5]), ("/lcm/cue/record", ["1e3"], ["1e3"]), ("/lcm/cue/go", ["5"], [5]),
    ("/lcm/next", ["prompt", "007"], ["prompt", "007"]), ("/lcm/adjust", ["steps", "1"], ["steps", 1]),
    ("/lcm/size", ["640", "360"], [640, 360]), ("/prompt", ["007"], ["007"]), ("/scope/prompt", ["7"], ["7"]),
    ("/scope/noise_scale", ["7"], [7]), ("/1/prompt", ["007"], [7]), ("/lcm/nothing", ["007"], [7]),
])
def test_what_takes_text_gets_it_as_it_is_typed(address: str, typed: list[str], sent: list[object]) -> None:
    found = typed_arguments(address, typed)
    assert [(each, type(each)) for each in found] == [(each, type(each)) for each in sent]


@contextlib.contextmanager
def listening(*answers: bytes, syncs: bool = True) -> Iterator[tuple[int, list[OscMessage]]]:
    """A program that answers the first message; its port, and what it receives."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        received: list[OscMessage] = []

        def answer() -> None:
            for _ in range(2):
                packet, source = sock.recvfrom(999)
                received.append(OscMessage(packet))
            for each in (*answers, *([packet] if syncs else [])):
                sock.sendto(each, source)

        thread = threading.Thread(target=answer)
        thread.start()
        yield sock.getsockname()[1], received
        thread.join()


def test_send() -> None:
    with listening() as (port, received):
        answers = send("/lcm/prompt", ["lava, glowing red", "0.5", "7"], port=port)
    assert received[0].address == "/lcm/prompt"
    assert received[0].params == ["lava, glowing red", 0.5, 7]
    assert answers == Answers(confirmed=True)


def test_answers_and_refusals() -> None:
    packets = encode("/lcm/seed", [7]), b"junk", encode("/lcm/sync", [-1]), encode("/lcm/error", ["no"])
    with listening(*packets) as (port, _):
        answers = send("/lcm/seed", [], "localhost", port)
    assert answers == Answers([("/lcm/seed", [7])], ["no"], confirmed=True)


def test_a_program_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "PATIENCE", 0.05)
    with listening(syncs=False) as (port, _):
        assert send("/lcm/panic", [], port=port) == Answers()


def test_nothing_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(LcmDaemonError, match=f"nothing listens on UDP port {port} of localhost: is the daemon running"):
        send("/lcm/panic", [], "localhost", port)


@pytest.mark.parametrize(("arguments", "reason"), [
    (("lcm/seed", ["1"]), "starts with a slash"),
    (("/lcm/seed", ["1"], "127.0.0.1", 70000), "could not send to"),
    (("/lcm/prompt", ["x" * 70000]), "could not send to"),
])
def test_an_error_is_one_line(arguments: tuple[object, ...], reason: str) -> None:
    with pytest.raises(LcmDaemonError, match=reason) as caught:
        send(*arguments)
    assert "\n" not in str(caught.value)
