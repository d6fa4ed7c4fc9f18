"""Sends one OSC message over UDP and waits for the answer, for `lcm-daemon send`."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc_protocol.aliases import PROFILES
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.controllers.osc_protocol.packet_check import MalformedPacket, check_packet
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.osc_names import ERROR, ROOT, SYNC
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import COMMANDS

PATIENCE = 1.0  # seconds to wait for the daemon's answer

_BOOLEANS = {"true": True, "false": False}
_NUMERAL = frozenset("+-.0123456789eE")


def parse_argument(text: str) -> Value:
    """Convert a command-line argument to an int, a finite float, a bool ("true", "false"), or leave it as text."""
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    for kind in (int, float) if _NUMERAL.issuperset(text) else ():  # not 1_000, and not the words inf and nan
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def typed_arguments(address: str, arguments: Sequence[str]) -> list[Value]:
    """Give command-line arguments the types that the parameter or command at an address takes.

    What takes text gets it as it was typed: 007 stays 007. Of several arguments of a text parameter, that is the first;
    the others may be weights. Everything else, also at an address that only the show's `osc.map` knows, is typed by its
    look (`parse_argument`): the daemon converts numbers, switches and choices to what the parameter takes.
    """
    name = address.removeprefix(ROOT) if address.startswith(ROOT) else _PROFILE_TARGETS.get(address, "")
    if name in TABLE:
        kinds = [TABLE[name].kind]
    else:
        kinds = [argument.kind for argument in COMMANDS[name].arguments] if name in COMMANDS else []
    typed = itertools.zip_longest(arguments, kinds[:len(arguments)])
    return [text if kind == "text" else parse_argument(text) for text, kind in typed]


_PROFILE_TARGETS = {alias.address: alias.to for aliases in PROFILES.values() for alias in aliases}


@dataclass
class Answers:
    """What came back for a message.

    Attributes:
        messages: The answers, each as its address and its arguments.
        errors: Why the daemon refused the message; empty if it did not.
        confirmed: Whether the daemon has said that the message was handled.
    """

    messages: list[tuple[str, Sequence[Any]]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    confirmed: bool = False


def send(address: str, arguments: Sequence[str], host: str = "127.0.0.1", port: int = 9000) -> Answers:
    """Send one message over UDP, and wait until the daemon has carried it out or refused it.

    Args:
        address: The OSC address.
        arguments: The arguments as text; `typed_arguments` gives them their types.
        host: Where to send it: an address, a name or a multicast group.
        port: UDP port at the host.

    Returns:
        The answers that come within PATIENCE. Other programs than lcm-daemon send none.

    Raises:
        LcmDaemonError: The address is invalid, the message could not be sent, or nothing listens at the port.
    """
    if not address.startswith("/"):
        raise LcmDaemonError(f"an OSC address starts with a slash, such as /lcm/strength, and {address!r} does not")
    if not 0 < port < 65536:
        raise LcmDaemonError(f"OSC: could not send to {host}:{port}: ports are 1 to 65535")
    packet = encode(address, typed_arguments(address, arguments))
    try:
        for family, _, _, _, target in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            with contextlib.suppress(ConnectionRefusedError):  # a name may have several addresses
                return _exchange(family, target, packet)
    except (OSError, OverflowError) as error:
        raise LcmDaemonError(f"OSC: could not send to {host}:{port}: {error}") from error
    raise LcmDaemonError(f"OSC: nothing listens on UDP port {port} of {host}: is the daemon running, and is its "
                         f"osc.port {port}?")


def _exchange(family: int, target: tuple[Any, ...], packet: bytes) -> Answers:
    """Send a packet and receive the answers. Raises ConnectionRefusedError if nothing listens."""
    token = secrets.randbelow(2**31)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        is_group = _is_multicast(target)  # its members answer from their own addresses
        if not is_group:
            sock.connect(target)  # the system then reports a port where nothing listens
        for each in (packet, encode(SYNC, [token])):
            if is_group:
                sock.sendto(each, target)
            else:
                sock.send(each)
        return _receive(sock, token)


def _is_multicast(target: tuple[Any, ...]) -> bool:
    return ipaddress.ip_address(str(target[0]).partition("%")[0]).is_multicast


def _receive(sock: socket.socket, token: int) -> Answers:
    answers, end = Answers(), time.monotonic() + PATIENCE
    while not answers.confirmed and (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            messages = check_packet(sock.recv(65536)).messages
        except TimeoutError:
            break
        except MalformedPacket:
            continue
        for each, _ in messages:
            message = OscMessage(each)
            if message.address == SYNC:
                answers.confirmed |= message.params == [token]
            elif message.address == ERROR:
                answers.errors += map(str, message.params)
            else:
                answers.messages.append((message.address, message.params))
    return answers
