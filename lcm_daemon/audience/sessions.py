"""VisitorSessions: a secret in a cookie for each visitor, and a short public number for the performer."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lcm_daemon.core.parameters import Value
from lcm_daemon.web.address import is_open, network_of

MOST_BLOCKED = 4096  # digests, and the same number of addresses; the oldest is forgotten first
MOST_TOKEN = 100  # characters of a cookie that may be a token
NUMBERS_SKIPPED = 100  # by a later server: the earlier one may have given some since it last told what it knew


@dataclass
class VisitorSession:
    """A visitor's session.

    Attributes:
        number: Public number, from 1; no number is used twice.
        digest: SHA-256 of its token. The token itself is in the visitor's browser only.
        address: The visitor's address, as of `network_of`.
        values: What it has set, by parameter name.
        uses_camera: Whether it sends frames of its camera.
    """

    number: int
    digest: str = field(repr=False)
    address: str
    values: dict[str, Value] = field(default_factory=dict)
    uses_camera: bool = False


class VisitorSessions:
    """All sessions, and who is blocked.

    per_address: How many sessions one address of the network may have at once.

    Attributes:
        last: The highest number that was given.
        blocks: Counts the visitors that were blocked.
    """

    def __init__(self, per_address: int) -> None:
        self._per_address = per_address
        self.last = self.blocks = 0
        self._numbers: dict[int, VisitorSession] = {}
        self._digests: dict[str, VisitorSession] = {}
        self._blocked: dict[str, None] = {}  # digests of tokens
        self._blocked_addresses: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[VisitorSession]:
        return iter(self._numbers.values())

    def __getitem__(self, number: int) -> VisitorSession:
        """Raises KeyError for a session that has ended."""
        return self._numbers[number]

    def start(self, address: str) -> tuple[VisitorSession, str]:
        """Start a session. Returns it and its token, which is not kept here."""
        token = secrets.token_urlsafe(32)
        self.last += 1
        session = VisitorSession(self.last, digest_of(token), network_of(address))
        self._add(session)
        return session, token

    def find(self, token: str) -> VisitorSession | None:
        """The session of a token; None for one that never was, or has ended."""
        return self._digests.get(digest_of(token)) if len(token) < MOST_TOKEN else None

    def get(self, number: int) -> VisitorSession | None:
        """The session of a number; None for one that has ended."""
        return self._numbers.get(number)

    def end(self, number: int) -> None:
        """Forget a session."""
        session = self._numbers.pop(number, None)
        if session is not None:
            self._digests.pop(session.digest, None)

    def has_room(self, address: str) -> bool:
        """Whether this address may start another session. A proxy on this machine speaks for many."""
        own = network_of(address)
        return not is_open(own) or sum(s.address == own for s in self._numbers.values()) < self._per_address

    def block(self, number: int) -> list[int]:
        """Refuse the visitor of a session in future: its cookie, and its address unless that is this machine's.

        Returns:
            The sessions that the visitor has: this one, and the others of its IPv4 address unless that is this
            machine's. A network of IPv6 may be that of all visitors.
        """
        session = self._numbers[number]
        self.blocks += 1
        found = [session]
        if is_open(session.address):
            _remember(self._blocked_addresses, session.address)
            others = [each for each in self if each.address == session.address]
            found = found if "/" in session.address else others
        for each in found:
            _remember(self._blocked, each.digest)
        return [each.number for each in found]

    def is_blocked(self, address: str, token: str = "") -> bool:
        """Whether the visitor at an address, with the token of an earlier session, has been blocked."""
        return network_of(address) in self._blocked_addresses or (
            len(token) < MOST_TOKEN and digest_of(token) in self._blocked)

    def kept(self, number: int) -> dict[str, Any]:
        """What a later server needs of a session. Raises KeyError for one that has ended."""
        session = self._numbers[number]
        return {**vars(session), "values": dict(session.values)}

    def kept_blocked(self) -> list[list[str]]:
        """What a later server needs of those that were blocked."""
        return [list(self._blocked), list(self._blocked_addresses)]

    def restore(
        self, last: int, sessions: Iterable[Mapping[str, Any]], blocked: Sequence[Iterable[str]] = (),
    ) -> None:
        """Take over the last number, what `kept` gave of each session, and `kept_blocked`."""
        self.last = last + NUMBERS_SKIPPED
        for fields in sessions:
            self._add(VisitorSession(**fields))
        for own, kept in zip((self._blocked, self._blocked_addresses), blocked, strict=False):
            own.update(dict.fromkeys(kept))

    def _add(self, session: VisitorSession) -> None:
        self._numbers[session.number] = self._digests[session.digest] = session


def digest_of(token: str) -> str:
    """What is kept of a token: a copy of it opens nothing, and a look-up of it tells nothing by its time."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _remember(kept: dict[str, None], key: str) -> None:
    kept[key] = None
    if len(kept) > MOST_BLOCKED:
        del kept[next(iter(kept))]
