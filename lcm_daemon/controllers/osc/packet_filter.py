"""A filter that the kernel applies to a UDP socket: of some senders it lets only a share of the datagrams through.

Linux only (socket(7), SO_ATTACH_FILTER); it needs no privileges. The filter is a program for the kernel's "classic BPF"
machine, https://docs.kernel.org/networking/filter.html, which sees a datagram from its UDP header (RFC 768) on.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import ipaddress
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

# <asm-generic/socket.h>, <linux/sock_diag.h>: the socket module has no names for them.
SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_MEMINFO = 26, 27, 55
_MEMINFO = struct.Struct("9I")
_IN_USE, _ROOM, _DROPPED = 0, 1, 8  # places in it

MOST_KEYS = 768  # of one list: the kernel bounds the memory of a program (net.core.optmem_max, 20 KiB on older ones)
CACHED_HOSTS = 256
_RUN = 128  # comparisons in a row: a jump reaches 255 instructions
_MIX = 0x9E3779B1  # spreads port numbers over 32 bits

# <linux/bpf_common.h>, <linux/filter.h>
_LOAD, _LOAD_HALF, _LOAD_BYTE, _LOAD_KEPT, _KEEP, _TO_X = 0x20, 0x28, 0x30, 0x60, 0x02, 0x07
_TIMES, _SHIFT_RIGHT, _XOR_X, _JUMP, _IF_EQUAL, _IF_GREATER, _RETURN = 0x24, 0x74, 0xAC, 0x05, 0x15, 0x25, 0x06
_IP_HEADER, _RANDOM = 0xFFF00000, 0xFFFFF000 + 56  # SKF_NET_OFF, SKF_AD_OFF + SKF_AD_RANDOM
_ALL = 0xFFFFFFFF  # bytes of a datagram that pass
_HOST, _SENDER = 0, 1  # places of the machine's memory

Instruction = tuple[int, int, int, int]  # code, instructions to skip if true, and if false, operand

_ACCEPT: Sequence[Instruction] = ((_RETURN, 0, 0, _ALL),)
# Source address: of IPv6 its last 32 bits (RFC 8200), of IPv4 all (RFC 791). Then the sender: address and port in one.
_FIND_SENDER: Sequence[Instruction] = (
    (_LOAD_BYTE, 0, 0, _IP_HEADER), (_SHIFT_RIGHT, 0, 0, 4), (_IF_EQUAL, 0, 2, 6),
    (_LOAD, 0, 0, _IP_HEADER + 20), (_JUMP, 0, 0, 1), (_LOAD, 0, 0, _IP_HEADER + 12), (_KEEP, 0, 0, _HOST),
    (_LOAD_HALF, 0, 0, 0), (_TIMES, 0, 0, _MIX), (_TO_X, 0, 0, 0), (_LOAD_KEPT, 0, 0, _HOST), (_XOR_X, 0, 0, 0),
    (_KEEP, 0, 0, _SENDER),
)


class BufferUse(NamedTuple):
    """The buffer of a socket.

    Attributes:
        used: Bytes in use, with the system's bookkeeping.
        room: Bytes that it has.
        dropped: Datagrams that did not get into it, since the socket was made.
    """

    used: int
    room: int
    dropped: int

    @property
    def share(self) -> float:
        """How much of it is in use, from 0 to 1."""
        return self.used / max(self.room, 1)


def host_key(peer: tuple[Any, ...]) -> int:
    """What the filter knows a host by. peer: An address as the socket module returns it."""
    return _key_of(str(peer[0]))


def sender_key(peer: tuple[Any, ...]) -> int:
    """The same for a sender: its host and port. Two senders may share a key; that is unlikely."""
    return host_key(peer) ^ (int(peer[1]) * _MIX & 0xFFFFFFFF)


@functools.lru_cache(CACHED_HOSTS)
def _key_of(host: str) -> int:
    return int.from_bytes(ipaddress.ip_address(host.partition("%")[0]).packed[-4:])


def program(
    known: Iterable[int], senders: Iterable[int], hosts: Iterable[int], share: float
) -> Sequence[Instruction]:
    """The program of a filter.

    Args:
        known: Keys of senders all of whose datagrams pass.
        senders: Keys of senders a share of whose datagrams passes.
        hosts: Keys of hosts for which the same holds.
        share: From 0 to 1.
    """
    some = ((_LOAD, 0, 0, _RANDOM), (_IF_GREATER, 1, 0, int(share * _ALL)), *_ACCEPT, (_RETURN, 0, 0, 0))
    return (*_FIND_SENDER, *_for_each_of(known, _ACCEPT), *_for_each_of(senders, some),
            (_LOAD_KEPT, 0, 0, _HOST), *_for_each_of(hosts, some), *_ACCEPT)


def _for_each_of(keys: Iterable[int], block: Sequence[Instruction]) -> list[Instruction]:
    """Run a block, which returns, where the present value is one of the keys."""
    listed, instructions = list(keys)[:MOST_KEYS], list[Instruction]()
    for start in range(0, len(listed), _RUN):
        run = listed[start:start + _RUN]
        instructions += [(_IF_EQUAL, len(run) - place, 0, key) for place, key in enumerate(run)]
        instructions += [(_JUMP, 0, 0, len(block)), *block]
    return instructions


def attach(sock: socket.socket, instructions: Sequence[Instruction]) -> None:
    """Let the kernel run a program for each datagram, in place of another one. Raises OSError."""
    code = b"".join(struct.pack("HBBI", *each) for each in instructions)
    memory = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                    struct.pack("HP", len(instructions), ctypes.addressof(memory)))


def detach(sock: socket.socket) -> None:
    """Let every datagram pass."""
    with contextlib.suppress(OSError):  # without a filter
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def buffer_use(sock: socket.socket) -> BufferUse:
    """How full the buffer of a socket is. Raises OSError."""
    found = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size))
    return BufferUse(found[_IN_USE], found[_ROOM], found[_DROPPED])
