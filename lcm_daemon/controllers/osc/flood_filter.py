"""FloodFilter: keeps a flood of many senders from filling the buffer of a port, in which the datagrams of all wait.

One sender that floods gets a socket of its own (sender_sockets.py). Where many do, each a little, none can be singled
out; but the buffer is always full, and what others send is lost. Then a filter of the kernel lets only a share of the
datagrams of those pass that send more than others, as much as the desk can read at leisure. It is made smaller or
larger every STEP, and ends with the flood.

Where a machine sends each datagram from another port, its senders cannot be distinguished: then only those are heard
for sure that had sent something before. Linux only.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from lcm_daemon.controllers.osc import packet_filter
from lcm_daemon.controllers.osc.packet_filter import MOST_KEYS, host_key, sender_key
from lcm_daemon.controllers.osc.sender_sockets import Peer, ReadTurn

FULL, EMPTIER = 0.5, 0.25  # shares of the buffer: beyond the first it is a flood, below the second it is held off
FULL_TURNS = 8  # of reading, one after the other, that leave a full buffer behind: then it is a flood
LATE_SECONDS = 0.5  # for which every turn leaves something behind: then it is one too, however large the buffer is
EVIDENCE = 1024  # datagrams read by which those who flood are known from others
STEP = 0.05  # seconds between two decisions
MOST_A_STEP, FEW_A_STEP = 256, 64  # datagrams read within a step: of more less are let through, of fewer more
FIRST_SHARE, LEAST_SHARE = 1 / 16, 2**-16
RAISED_AFTER = 4  # steps with few of them
CALM_STEPS = 20  # in which all are let through, after which the flood is over
COST = 768  # bytes of the buffer that a small datagram takes, with the system's bookkeeping
MODEST = 0.25  # of what a sender sends on average; one that sends less does not flood
KNOWN_AFTER = 2.0  # seconds after a sender was first heard, from which it is known: a flood begins all at once
MOST_HEARD, MOST_KNOWN, MOST_HOSTS = 256, 64, 64


class FloodFilter:
    """The filter of one port.

    Args:
        shared: The bound socket that all senders share. A filter of the desk before is taken off.
        on_dropped: Called with a number of datagrams that did not pass.
        now: Monotonic seconds.

    Attributes:
        share: Of the datagrams of those who flood, how many pass; 1 without a flood.
    """

    def __init__(
        self, shared: socket.socket, on_dropped: Callable[[int], object], now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = 1.0
        self._shared, self._on_dropped, self._now = shared, on_dropped, now
        self._works = sys.platform == "linux"
        self._heard: dict[Peer, float] = {}  # senders that were read in calm times, and when each was the first time
        self._known: dict[Peer, None] = {}  # those that were heard again later, the last one last
        self._senders: dict[int, None] = {}  # keys of those who flood
        self._hosts: dict[int, None] = {}
        self._packets: Counter[Peer] = Counter()  # read since those who flood were listed, and the bytes of them
        self._sizes: Counter[Peer] = Counter()
        self._full_turns = self._calm_steps = self._dropped = 0
        self._behind_since: float | None = None  # from when on each turn has left something behind
        self._read, self._is_behind = 0, True  # since the last step: datagrams, and whether each turn left something
        self._before = 0  # datagrams that may be in the buffer since before the filter became what it is
        self._timer: asyncio.TimerHandle | None = None
        if self._works:
            packet_filter.detach(shared)

    @property
    def is_on(self) -> bool:
        """Whether a flood is held off."""
        return self._timer is not None

    def note(self, turn: ReadTurn) -> None:
        """A turn of reading the socket is over."""
        if not self._works:
            return
        if not self.is_on and not turn.is_more:
            self._full_turns, self._behind_since = 0, None
            self._forget_turns()
            self._note_known(turn)
            return
        if not turn.is_more:
            self._before, self._is_behind = 0, False
        self._read += turn.packets.total()
        self._packets.update(turn.packets)
        self._sizes.update(turn.sizes)
        if not self.is_on and self._is_flood() and self._packets.total() >= EVIDENCE:
            self._begin()

    def _is_flood(self) -> bool:
        """After a turn that has left something behind."""
        now = self._now()
        if self._behind_since is None:
            self._behind_since = now
        self._full_turns = self._full_turns + 1 if self._use().share > FULL else 0
        return self._full_turns >= FULL_TURNS or now - self._behind_since >= LATE_SECONDS

    def passes(self, peer: Peer) -> bool:
        """Whether a datagram that was read is to be handled: not if it came from those who flood, before the filter."""
        if self._before <= 0:
            return True
        self._before -= 1
        return not self._is_listed(peer)

    def close(self) -> None:
        """End. The socket is not filtered any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._works and self._shared.fileno() >= 0:
            packet_filter.detach(self._shared)

    def _note_known(self, turn: ReadTurn) -> None:
        now = self._now()
        for peer in turn.packets:
            if now - self._heard.setdefault(peer, now) >= KNOWN_AFTER:
                self._known.pop(peer, None)
                self._known[peer] = None
        for _ in range(len(self._heard) - MOST_HEARD):
            del self._heard[next(iter(self._heard))]
        for _ in range(len(self._known) - MOST_KNOWN):
            del self._known[next(iter(self._known))]

    def _begin(self) -> None:
        use = self._use()
        self.share, self._calm_steps, self._read, self._is_behind = FIRST_SHARE, 0, 0, True
        self._dropped, self._before = use.dropped, use.used // COST
        self._list_those_who_flood()
        self._forget_turns()
        self._apply()

    def _step(self) -> None:
        """Decide how much passes from now to the next step."""
        use, read, before = self._use(), self._read, self.share
        is_behind, self._is_behind = self._is_behind and read > 0, True
        self._on_dropped(use.dropped - self._dropped)
        self._dropped, self._read = use.dropped, 0
        listed = len(self._senders) + len(self._hosts)
        if is_behind or use.share > EMPTIER or read > MOST_A_STEP:
            self._list_those_who_flood()
            self.share = max(self.share / 4, LEAST_SHARE)
            self._before, self._calm_steps = use.used // COST, 0
        elif read < FEW_A_STEP:
            self._calm_steps += 1
            if self.share < 1.0 and self._calm_steps >= RAISED_AFTER:
                self.share, self._calm_steps = min(self.share * 2, 1.0), 0
        if self._calm_steps or self._packets.total() >= EVIDENCE:
            self._forget_turns()
        if self._calm_steps >= CALM_STEPS:
            self._end()
        else:
            self._apply(self.share != before or len(self._senders) + len(self._hosts) != listed)

    def _end(self) -> None:
        self.close()
        self._full_turns, self._before, self._behind_since = 0, 0, None
        self._senders.clear()
        self._hosts.clear()

    def _apply(self, has_changed: bool = True) -> None:
        if has_changed:
            known = map(sender_key, self._known)
            try:
                packet_filter.attach(self._shared, packet_filter.program(known, self._senders, self._hosts, self.share))
            except OSError:  # the kernel was built without it, or has no memory for it
                self._works = False
                self._end()
                return
        self._timer = asyncio.get_running_loop().call_later(STEP, self._step)

    def _list_those_who_flood(self) -> None:
        """List the senders that have sent more than a modest share lately, or else their hosts."""
        loads = {peer: self._load(peer) for peer in self._packets}
        if not loads:
            return
        if 2 * sum(load for peer, load in loads.items() if peer in self._known) > sum(loads.values()):
            self._known.clear()
        modest = MODEST * sum(loads.values()) / len(loads)
        for peer, load in loads.items():
            floods = self._packets[peer] > 1 and load >= modest and peer not in self._known
            if floods and len(self._senders) < MOST_KEYS:
                self._senders[sender_key(peer)] = None
        listed = sum(load for peer, load in loads.items() if self._is_listed(peer))
        if self._packets.total() >= EVIDENCE and 2 * listed < sum(loads.values()):
            self._list_hosts(loads)

    def _load(self, peer: Peer) -> float:
        """Bytes of the buffer that a sender has taken lately, with what did not pass."""
        load = COST * self._packets[peer] + self._sizes[peer]
        return load / self.share if self._is_listed(peer) else load

    def _is_listed(self, peer: Peer) -> bool:
        return sender_key(peer) in self._senders or host_key(peer) in self._hosts

    def _list_hosts(self, loads: Mapping[Peer, float]) -> None:
        """List the hosts that send the most, from more ports than can be listed."""
        by_host: dict[int, float] = defaultdict(float)
        for peer, load in loads.items():
            by_host[host_key(peer)] += load
        most = sum(by_host.values()) / (2 * len(by_host))
        for host, load in by_host.items():
            if load >= most and len(self._hosts) < MOST_HOSTS:
                self._hosts[host] = None

    def _forget_turns(self) -> None:
        if self._packets:
            self._packets.clear()
            self._sizes.clear()

    def _use(self) -> packet_filter.BufferUse:
        try:
            return packet_filter.buffer_use(self._shared)
        except OSError:  # Linux before 4.12
            self._works = False
            return packet_filter.BufferUse(0, 0, 0)
