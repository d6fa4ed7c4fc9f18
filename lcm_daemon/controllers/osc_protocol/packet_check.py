"""Checks the structure of an OSC 1.0 packet and splits it into messages with time tags, before it is parsed.

A packet that passes is safe for python-osc: parsing it ends, reads only data of the packet and raises nothing. (Without
the check, python-osc 1.10.2 loops forever on a bundle element with a negative size and recurses on nested bundles.)
The work is linear in the packet's size: each byte is read once per bundle level, and MAX_DEPTH limits the levels.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

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


def check_packet(packet: bytes) -> list[tuple[bytes, int]]:
    """Split a packet into its messages.

    Returns:
        The messages in order, each as its raw bytes and its time tag: that of its bundle, or IMMEDIATELY outside a
        bundle. A nested bundle is never earlier than the bundle that contains it, as OSC 1.0 requires.

    Raises:
        MalformedPacket: The packet is not OSC 1.0 or exceeds a limit.
    """
    if len(packet) % 4 or not packet:
        raise MalformedPacket(f"the size of {len(packet)} bytes is not a positive multiple of 4")
    messages: list[tuple[bytes, int]] = []
    waiting, count = [(packet, 0, IMMEDIATELY)], 0
    while waiting:
        element, depth, timetag = waiting.pop()
        if not element.startswith(_BUNDLE):
            _check_message(element)
            messages.append((element, timetag))
            continue
        inside = _elements(element)
        count += len(inside)
        if count > MAX_ELEMENTS or depth >= MAX_DEPTH:
            raise MalformedPacket(f"more than {MAX_ELEMENTS} elements, or more than {MAX_DEPTH} nested bundles")
        timetag = max(timetag, _timetag(element)[0])
        waiting += [(each, depth + 1, timetag) for each in reversed(inside)]
    return messages


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


def _check_message(message: bytes) -> None:
    end = message.find(0)
    if not message.startswith(b"/") or not 0 < end <= MAX_ADDRESS:
        raise MalformedPacket(f"no valid address: the message starts with {message[:8]!r}")
    if message[:end].translate(None, _PRINTABLE):
        raise MalformedPacket("the address has characters that are not printable ASCII")
    at = _padded(end + 1)
    if at < len(message):  # some senders omit the type tags of a message without arguments
        _check_arguments(message, at)


def _check_arguments(message: bytes, at: int) -> None:
    end = message.find(0, at)
    tags = message[at + 1:end]
    if not message.startswith(b",", at) or end < 0 or len(tags) > MAX_ARGUMENTS:
        raise MalformedPacket(f"no type tags, or more than {MAX_ARGUMENTS}")
    at = _padded(end + 1)
    for tag in tags:
        skip = _SKIP_ARGUMENT.get(tag)
        if skip is None:
            raise MalformedPacket(f"unknown type tag {chr(tag)!r}")
        at = skip(message, at)
        if at > len(message):
            raise MalformedPacket(f"the message is too short for its type tags {tags[:16]!r}")
    if at != len(message):
        raise MalformedPacket(f"the message is too long for its type tags {tags[:16]!r}")
    if b"[" in tags or b"]" in tags:
        _check_brackets(tags)


def _check_brackets(tags: bytes) -> None:
    level = 0
    for tag in tags:
        level += {0x5B: 1, 0x5D: -1}.get(tag, 0)
        if level < 0:
            break
    if level:
        raise MalformedPacket(f"unbalanced brackets in the type tags {tags[:16]!r}")


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _skip_bytes(count: int) -> Callable[[bytes, int], int]:
    return lambda message, at: at + count


def _skip_string(message: bytes, at: int) -> int:
    end = message.find(0, at)
    if end < 0:
        raise MalformedPacket("a string is not terminated")
    try:
        message[at:end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedPacket("a string is not UTF-8") from error
    return _padded(end + 1)


def _skip_blob(message: bytes, at: int) -> int:
    size = _int32(message, at)[0] if at + 4 <= len(message) else -1
    if size < 0:
        raise MalformedPacket(f"a blob has the invalid size {size}")
    return _padded(at + 4 + size)


# Position after an argument, by type tag. Only tags that python-osc knows: it does not skip the data of any other.
_SKIP_ARGUMENT: Mapping[int, Callable[[bytes, int], int]] = {
    ord(tag): skip
    for tags, skip in (
        ("ifrm", _skip_bytes(4)), ("hdt", _skip_bytes(8)), ("TFN[]", _skip_bytes(0)), ("s", _skip_string),
        ("b", _skip_blob),
    )
    for tag in tags
}
