"""What cues send, to sockets and MIDI ports of this machine."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import pytest
from pythonosc.osc_message import OscMessage

from lcm_daemon.automation.cue_messages import CueMessage, MidiMessageOut, OscMessageOut
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.desk.cue_sender import CueSender
from tests.rigs.midi import Plugboard


def play(messages: list[CueMessage], until: Callable[[], bool], board: Plugboard | None = None) -> dict[str, int]:
    async def scenario() -> dict[str, int]:
        metrics, plugged = Metrics(), board or Plugboard()
        destinations = [message.destination for message in messages]
        sender = CueSender(destinations, metrics, lambda: plugged)
        sender.start()
        for _ in range(500):
            if board is None or board.opened:
                break
            await asyncio.sleep(0.01)
        sender.send(messages)
        for _ in range(500):
            if until():
                break
            await asyncio.sleep(0.01)
        await sender.stop()
        return metrics.counts("cue/")

    return asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize(("host", "family"), [
    ("127.0.0.1", socket.AF_INET), ("localhost", socket.AF_INET), ("::1", socket.AF_INET6),
])
def test_osc_arrives_in_its_order(host: str, family: socket.AddressFamily) -> None:
    received: list[tuple[str, list[object]]] = []
    with socket.socket(family, socket.SOCK_DGRAM) as ear:
        ear.bind((host, 0))
        ear.setblocking(False)
        port = ear.getsockname()[1]

        def hear() -> bool:
            try:
                message = OscMessage(ear.recv(4096))
            except BlockingIOError:
                return False
            received.append((message.address, list(message.params)))
            return len(received) == 2

        counts = play([OscMessageOut("/a", (1, 0.5, "go", True, 2**40), host, port),
                       OscMessageOut("/b", (), host, port)], hear)
    assert received == [("/a", [1, 0.5, "go", True, 2**40]), ("/b", [])]
    assert counts == {"cue/sent": 2}


@pytest.mark.slow
def test_midi_arrives_at_the_port_that_is_named() -> None:
    board = Plugboard("Pad", "Lights")
    counts = play([MidiMessageOut(b"\x90\x3c\x7f", "Light*"), MidiMessageOut(b"\xb0\x07\x64", "Light*")],
                  lambda: len(board.sent) == 2, board)
    assert board.sent == [("Lights", (0x90, 60, 127)), ("Lights", (0xB0, 7, 100))]
    assert not board.inputs, "no input is opened for it"
    assert counts == {"cue/sent": 2}


@pytest.mark.slow
def test_what_cannot_be_sent_is_logged_and_the_rest_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        counts = play([
            MidiMessageOut(b"\xfa", "Nowhere"), OscMessageOut("/a", (), "no.such.host.invalid", 1),
            OscMessageOut("/b", (), "127.0.0.1", ear.getsockname()[1]),
        ], lambda: caplog.text.count("is not sent") == 2)
        ear.settimeout(5.0)
        assert OscMessage(ear.recv(4096)).address == "/b"
    assert "the message to 'Nowhere' is not sent: no MIDI output of this name is open" in caplog.text
    assert "the message to 'no.such.host.invalid:1' is not sent" in caplog.text
    assert counts["cue/sent"] == 1
