"""Guard: checks the shape of an OSC 1.0 packet, and splits it into timed messages, before anything parses it.

What passes is safe for python-osc: it comes to an end, reads no data that is not there, and raises nothing. The work is
linear in the packet's size: every byte is looked at once per level of bundle, and there are few levels.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from lcm_daemon.core.errors import LcmDaemonError

DEPTH = 8  # bundles inside one another
ELEMENTS = 1024  # messages and bundles in one packet
ARGUMENTS = 256  # in one message; python-osc copies the rest of the message for each
ADDRESS = 255  # characters

_BUNDLE = b"#bundle\0"
_HEADER = 16  # "#bundle" and the time tag
_NOW = 1  # the time tag "immediately"
_PRINTABLE = bytes(range(0x21, 0x7F))
_int32 = struct.Struct(">i").unpack_from
_time_tag = struct.Struct(">8xQ").unpack_from


class Malformed(LcmDaemonError):
    """A packet that is not OSC, or beyond the limits of this module. Its text is the reason."""


def check(packet: bytes) -> list[tuple[bytes, int]]:
    """The messages of a packet in their order, each the raw bytes of one message and its time tag; raise Malformed.

    A message's time tag is its bundle's, or 1 ("immediately") outside of any. A bundle inside another is never earlier
    than that one, as OSC 1.0 wants it.
    """
    if len(packet) % 4 or not packet:
        raise Malformed(f"its size of {len(packet)} bytes is not a multiple of 4")
    messages: list[tuple[bytes, int]] = []
    waiting, seen = [(packet, 0, _NOW)], 0
    while waiting:
        element, depth, time = waiting.pop()
        if not element.startswith(_BUNDLE):
            _check_message(element)
            messages.append((element, time))
            continue
        inside = _elements(element)
        seen += len(inside)
        if seen > ELEMENTS or depth >= DEPTH:
            raise Malformed(f"more than {ELEMENTS} elements, or bundles more than {DEPTH} deep")
        time = max(time, _time_tag(element)[0])
        waiting += [(each, depth + 1, time) for each in reversed(inside)]
    return messages


def _elements(bundle: bytes) -> list[bytes]:
    if len(bundle) < _HEADER:
        raise Malformed("a bundle without a time tag")
    elements, at = [], _HEADER
    while at < len(bundle):
        (size,) = _int32(bundle, at)
        at += 4
        if size <= 0 or size % 4 or size > len(bundle) - at:
            raise Malformed(f"a bundle's element says it has {size} bytes")
        elements.append(bundle[at:at + size])
        at += size
    return elements


def _check_message(message: bytes) -> None:
    end = message.find(0)
    if not message.startswith(b"/") or not 0 < end <= ADDRESS:
        raise Malformed(f"no address: it starts with {message[:8]!r}")
    if message[:end].translate(None, _PRINTABLE):
        raise Malformed("an address with characters that are not printable ASCII")
    at = _padded(end + 1)
    if at < len(message):  # some senders leave the type tags out where there are no arguments
        _check_arguments(message, at)


def _check_arguments(message: bytes, at: int) -> None:
    end = message.find(0, at)
    tags = message[at + 1:end]
    if not message.startswith(b",", at) or end < 0 or len(tags) > ARGUMENTS:
        raise Malformed(f"no type tags, or more than {ARGUMENTS}")
    at = _padded(end + 1)
    for tag in tags:
        skip = _ARGUMENTS.get(tag)
        if skip is None:
            raise Malformed(f"unknown type tag {chr(tag)!r}")
        at = skip(message, at)
        if at > len(message):
            raise Malformed(f"too short for its type tags {tags[:16]!r}")
    if at != len(message):
        raise Malformed(f"too long for its type tags {tags[:16]!r}")
    if b"[" in tags or b"]" in tags:
        _check_brackets(tags)


def _check_brackets(tags: bytes) -> None:
    level = 0
    for tag in tags:
        level += {0x5B: 1, 0x5D: -1}.get(tag, 0)
        if level < 0:
            break
    if level:
        raise Malformed(f"brackets do not pair in the type tags {tags[:16]!r}")


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _bytes(count: int) -> Callable[[bytes, int], int]:
    return lambda message, at: at + count


def _string(message: bytes, at: int) -> int:
    end = message.find(0, at)
    if end < 0:
        raise Malformed("a string without an end")
    try:
        message[at:end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("a string that is not UTF-8") from error
    return _padded(end + 1)


def _blob(message: bytes, at: int) -> int:
    size = _int32(message, at)[0] if at + 4 <= len(message) else -1
    if size < 0:
        raise Malformed(f"a blob of {size} bytes")
    return _padded(at + 4 + size)


# Where the argument of each type tag ends. Only tags that python-osc knows: it does not skip the data of any other.
_ARGUMENTS: Mapping[int, Callable[[bytes, int], int]] = {
    ord(tag): skip
    for tags, skip in (("ifrm", _bytes(4)), ("hdt", _bytes(8)), ("TFN[]", _bytes(0)), ("s", _string), ("b", _blob))
    for tag in tags
}
