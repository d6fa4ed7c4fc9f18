"""Checks the structure of an OSC packet and splits it into messages with time tags, before it is parsed.

A message that passes is safe for python-osc: parsing it ends, reads only data of the message and raises nothing.
(Without the check, python-osc 1.10.2 loops forever on a bundle element with a negative size and recurses on nested
bundles.) A malformed message costs itself only: the other messages of its bundle pass. Type tags of OSC 1.0 and 1.1
that python-osc does not know are rewritten by `type_tags`. The work is linear in the packet's size: each byte is read
once per bundle level, and MAX_DEPTH limits the levels.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from lcm_daemon.controllers.osc_protocol.type_tags import (
    PLAIN_TAGS,
    ArgumentError,
    padded,
    rewrite_arguments,
    skip_arguments,
)
from lcm_daemon.core.errors import LcmDaemonError

MAX_DEPTH = 8  # levels of nested bundles
MAX_ELEMENTS = 1024  # messages and bundles in one packet
MAX_ARGUMENTS = 256  # in one message; python-osc copies the rest of the message for each argument
MAX_ADDRESS = 255  # characters
IMMEDIATELY = 1  # the time tag for "now"

_BUNDLE = b"#bundle\0"
_BUNDLE_HEADER = 16  # bytes of "#bundle" and the time tag
_PRINTABLE = bytes(range(0x21, 0x7F))
_int32 = struct.Struct(">i").unpack_from
_timetag = struct.Struct(">8xQ").unpack_from


class MalformedPacket(LcmDaemonError):
    """A packet that is not OSC, or that exceeds the limits of this module. The text is the reason."""


class CheckedPacket(NamedTuple):
    """What a packet holds.

    Attributes:
        messages: The messages in order, each as bytes that python-osc reads, and its time tag: that of its bundle, or
            IMMEDIATELY outside a bundle. A nested bundle is never earlier than the bundle that contains it, as OSC 1.0
            requires.
        faults: For each message that is malformed, and each argument that is unknown, what was skipped and why.
    """

    messages: Sequence[tuple[bytes, int]]
    faults: Sequence[str]


def check_packet(packet: bytes) -> CheckedPacket:
    """Split a packet into its messages.

    Raises:
        MalformedPacket: The packet is not OSC or exceeds a limit, or it is one message and that is malformed.
    """
    if len(packet) % 4 or not packet:
        raise MalformedPacket(f"the size of {len(packet)} bytes is not a positive multiple of 4")
    messages: list[tuple[bytes, int]] = []
    faults: list[str] = []
    waiting, count = [(packet, 0, IMMEDIATELY)], 0
    while waiting:
        element, depth, timetag = waiting.pop()
        if not element.startswith(_BUNDLE):
            try:
                messages.append((_checked_message(element, faults), timetag))
            except MalformedPacket as fault:
                if not depth:
                    raise
                faults.append(f"{fault}; the other messages of its bundle are taken")
            continue
        inside = _elements(element)
        count += len(inside)
        if count > MAX_ELEMENTS or depth >= MAX_DEPTH:
            raise MalformedPacket(f"more than {MAX_ELEMENTS} elements, or more than {MAX_DEPTH} nested bundles")
        timetag = max(timetag, _timetag(element)[0])
        waiting += [(each, depth + 1, timetag) for each in reversed(inside)]
    return CheckedPacket(messages, faults)


def _elements(bundle: bytes) -> list[bytes]:
    if len(bundle) < _BUNDLE_HEADER:
        raise MalformedPacket("a bundle has no time tag")
    elements, at = [], _BUNDLE_HEADER
    while at < len(bundle):
        (size,) = _int32(bundle, at)
        at += 4
        if size <= 0 or size % 4 or size > len(bundle) - at:
            raise MalformedPacket(f"a bundle element has the invalid size {size}")
        elements.append(bundle[at:at + size])
        at += size
    return elements


def _checked_message(message: bytes, faults: list[str]) -> bytes:
    """Return the message as python-osc reads it; add arguments that are skipped to `faults`."""
    end = message.find(0)
    if not message.startswith(b"/") or not 0 < end <= MAX_ADDRESS:
        raise MalformedPacket(f"no valid address: the message starts with {message[:8]!r}")
    if message[:end].translate(None, _PRINTABLE):
        raise MalformedPacket(f"the address {message[:end]!r:.80} has characters that are not printable ASCII")
    at = padded(end + 1)
    if at >= len(message):  # some senders omit the type tags of a message without arguments
        return message
    end = message.find(0, at)
    tags = message[at + 1:end]
    if not message.startswith(b",", at) or end < 0 or len(tags) > MAX_ARGUMENTS:
        raise MalformedPacket(f"no type tags, or more than {MAX_ARGUMENTS}")
    try:
        if tags.translate(None, PLAIN_TAGS):
            return message[:at] + rewrite_arguments(message, tags, padded(end + 1), faults)
        skip_arguments(message, tags, padded(end + 1))
    except ArgumentError as fault:
        raise MalformedPacket(str(fault)) from fault
    return message
