"""The type tags of OSC 1.0 and 1.1: the size of their data, and how python-osc can read those that it does not know.

Tags that python-osc reads as meant are *plain*. The others are rewritten:

    S   a symbol, and c, a character    become strings
    r   a colour                        becomes a blob: python-osc would read it as a number
    I   an impulse ("bang")             is dropped: its message has no value, as a button's
    [ ] the brackets of an array        are dropped: `[f]` is `f`
    any other                           is dropped, with a fault, and its data skipped

The size of an unknown argument's data is not known. The first of 0, 4 and 8 bytes is taken that fits the rest of the
message. Where none fits, the arguments before the unknown one are taken.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from lcm_daemon.core.errors import LcmDaemonError

PLAIN_TAGS = b"ifsbhtdmTFN"
UNKNOWN_SIZES = (0, 4, 8)  # bytes of data of an unknown argument that are tried

_int32 = struct.Struct(">i").unpack_from


class ArgumentError(LcmDaemonError):
    """Arguments that do not fit their type tags. The text is the reason."""


def padded(size: int) -> int:
    """The size with padding to a multiple of 4."""
    return (size + 3) & ~3


def skip_arguments(message: bytes, tags: bytes, at: int) -> list[int]:
    """Check that the message has data for each tag and nothing more.

    Args:
        message: The message.
        tags: Known type tags, without the comma.
        at: Where the data begins.

    Returns:
        Where the data of each tag ends.

    Raises:
        ArgumentError: It does not.
    """
    return _skip(message, tags, at, 0)


def rewrite_arguments(message: bytes, tags: bytes, at: int, faults: list[str]) -> bytes:
    """Write the type tags and the data so that python-osc reads them.

    Args:
        message: The message.
        tags: Its type tags, without the comma.
        at: Where the data begins.
        faults: Receives the unknown tag.

    Returns:
        The type tags, with the comma, and the data.

    Raises:
        ArgumentError: The known arguments do not fit their tags.
    """
    unknown = tags.translate(None, _KNOWN_TAGS)
    if unknown:
        faults.append(f"the type tag {chr(unknown[0])!r} is unknown; its argument is skipped")
    known, ends = _fit(message, tags, at, bool(unknown))
    written, data, start = bytearray(b","), bytearray(), at
    for tag, end in zip(known, ends, strict=True):
        if tag in _REWRITERS:
            new, argument = _REWRITERS[tag](message[start:end])
            written += new
            data += argument
        elif tag in PLAIN_TAGS:
            written.append(tag)
            data += message[start:end]
        start = end
    return _string(bytes(written)) + bytes(data)


def _fit(message: bytes, tags: bytes, at: int, any_unknown: bool) -> tuple[bytes, list[int]]:
    """The tags that can be read, and where the data of each ends."""
    if not any_unknown:
        return tags, _skip(message, tags, at, 0)
    for size in UNKNOWN_SIZES:
        try:
            return tags, _skip(message, tags, at, size)
        except ArgumentError:
            continue
    before = tags[:next(place for place, tag in enumerate(tags) if tag not in _SKIPPERS)]
    return before, _skip(message, before, at, 0, whole=False)


def _skip(message: bytes, tags: bytes, at: int, unknown_size: int, whole: bool = True) -> list[int]:
    ends: list[int] = []
    for tag in tags:
        skip = _SKIPPERS.get(tag)
        at = at + unknown_size if skip is None else skip(message, at)
        if at > len(message):
            raise ArgumentError(f"the message is too short for its type tags {tags[:16]!r}")
        ends.append(at)
    if whole and at != len(message):
        raise ArgumentError(f"the message is too long for its type tags {tags[:16]!r}")
    return ends


def _skip_bytes(count: int) -> Callable[[bytes, int], int]:
    return lambda message, at: at + count


def _skip_string(message: bytes, at: int) -> int:
    end = message.find(0, at)
    if end < 0:
        raise ArgumentError("a string is not terminated")
    try:
        message[at:end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArgumentError("a string is not UTF-8") from error
    return padded(end + 1)


def _skip_blob(message: bytes, at: int) -> int:
    size = _int32(message, at)[0] if at + 4 <= len(message) else -1
    if size < 0:
        raise ArgumentError(f"a blob has the invalid size {size}")
    return padded(at + 4 + size)


def _string(text: bytes) -> bytes:
    return text + b"\0" * (4 - len(text) % 4)


def _write_character(data: bytes) -> tuple[bytes, bytes]:
    """A character is ASCII in 32 bits; others than printable ones become an empty string."""
    code = int.from_bytes(data, "big")
    return b"s", _string(bytes([code]) if 0x20 <= code < 0x7F else b"")


# Position after an argument, by type tag.
_SKIPPERS: Mapping[int, Callable[[bytes, int], int]] = {
    ord(tag): skip
    for tags, skip in (
        ("ifrcm", _skip_bytes(4)), ("hdt", _skip_bytes(8)), ("TFNI[]", _skip_bytes(0)), ("sS", _skip_string),
        ("b", _skip_blob),
    )
    for tag in tags
}
_KNOWN_TAGS = bytes(_SKIPPERS)
_REWRITERS: Mapping[int, Callable[[bytes], tuple[bytes, bytes]]] = {
    ord("S"): lambda data: (b"s", data),
    ord("c"): _write_character,
    ord("r"): lambda data: (b"b", b"\0\0\0\4" + data),
}
