"""MoveKeys: which messages a later one to the same address replaces, so that a sender's moves can be merged."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence

from lcm_daemon.controllers.osc_protocol.aliases import Alias
from lcm_daemon.controllers.osc_protocol.type_tags import padded
from lcm_daemon.core.osc_names import ROOT
from lcm_daemon.core.parameters import Parameter

_FLOATS = {b"f": struct.Struct(">f").unpack_from, b"d": struct.Struct(">d").unpack_from}
_OTHER_NUMBERS = (b"i", b"h", b"T", b"F")  # type tags of numbers that are finite
_QUESTION = b"?"


class MoveKeys:
    """Finds the messages that set a parameter to a value which is accepted for certain: one that is refused, or that
    moves from the present value, asks, or runs a command, must neither replace another nor be replaced.

    Args:
        table: The parameters by name.
        aliases: Aliases by address.
    """

    def __init__(self, table: Mapping[str, Parameter], aliases: Mapping[str, Sequence[Alias]]) -> None:
        found: dict[str, Sequence[Alias]] = {ROOT + name: [Alias(ROOT + name, name)] for name in table}
        found.update(aliases)
        known = {address.encode(): own for address, own in found.items() if all(each.to in table for each in own)}
        self._numbers = frozenset(address for address, own in known.items() if all(
            (each.is_plain or each.scales) and table[each.to].kind != "text" for each in own))
        self._texts = frozenset(address for address, own in known.items() if all(
            each.is_plain and table[each.to].kind == "text" for each in own))

    def key(self, message: bytes) -> bytes:
        """The address of a message that a later one to that address replaces; b"" of any other one.

        Args:
            message: A message that `check_packet` has returned.
        """
        end = message.index(0)
        address, at = message[:end], padded(end + 1)
        if address in self._numbers:
            return address if _is_number(message, at) else b""
        if address in self._texts:
            return address if _is_text(message, at) else b""
        return b""


def _is_number(message: bytes, at: int) -> bool:
    """Whether the first argument is a finite number. at: Where the type tags begin."""
    tag = message[at + 1:at + 2]
    if tag in _FLOATS:
        (number,) = _FLOATS[tag](message, padded(message.index(0, at) + 1))
        return math.isfinite(number)
    return tag in _OTHER_NUMBERS


def _is_text(message: bytes, at: int) -> bool:
    """Whether the arguments are texts, and no question. at: Where the type tags begin."""
    end = message.find(0, at)
    tags = message[at + 1:end]
    if not tags or tags.strip(b"s"):
        return False
    at = padded(end + 1)
    return len(tags) > 1 or message[at:message.index(0, at)] != _QUESTION
