"""Pins: hashed with scrypt, compared in constant time, and guessed at a limited rate."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from lcm_daemon.web.address import network_of

MIN_LENGTH, MAX_LENGTH = 6, 64  # characters of a pin
ADDRESS_BURST, ADDRESS_PAUSE = 5, 30.0  # guesses at once from one address; seconds until each further one
TOTAL_BURST, TOTAL_PAUSE = 20, 10.0  # the same from all addresses together: six digits then take 115 days
ADDRESSES_KEPT = 1024

_LOG_COST, _BLOCK, _THREADS = 15, 8, 1  # scrypt's n (as a power of 2), r and p: 32 MiB and some 80 ms
_MAX_LOG_COST = 17  # of a hash from the show: more would take the memory of the machine
_HASH = re.compile(r"scrypt:(\d{1,2}):([A-Za-z0-9+/=]{8,88}):([A-Za-z0-9+/=]{8,88})")


def hash_pin(pin: str) -> str:
    """The hash of a pin for a show: "scrypt:15:<salt>:<digest>"."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(pin, salt, _LOG_COST, 32)
    return f"scrypt:{_LOG_COST}:{base64.b64encode(salt).decode()}:{base64.b64encode(digest).decode()}"


def is_hash(text: str) -> bool:
    """Whether the text is a hash that `hash_pin` may have made."""
    match = _HASH.fullmatch(text)
    try:
        return match is not None and 10 <= int(match[1]) <= _MAX_LOG_COST and bool(_parts(text))
    except binascii.Error:
        return False


def is_pin(text: str) -> bool:
    """Whether the text may be a pin."""
    return MIN_LENGTH <= len(text) <= MAX_LENGTH and text.isprintable() and text == text.strip()


def matches(expected: str, guess: str) -> bool:
    """Whether a guess is the pin `expected`, or has that hash. It takes the same time for every guess. Slow: use a
    thread."""
    if not is_hash(expected):  # a pin in plain text: digests have one length, so that the comparison tells none
        digests = (hashlib.sha256(text.encode()).digest() for text in (expected, guess))
        return hmac.compare_digest(*digests)
    cost, salt, digest = _parts(expected)
    return hmac.compare_digest(_scrypt(guess, salt, cost, len(digest)), digest)


def _parts(text: str) -> tuple[int, bytes, bytes]:
    _, cost, salt, digest = text.split(":")
    return int(cost), base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)


def _scrypt(pin: str, salt: bytes, log_cost: int, length: int) -> bytes:
    memory = 256 * _BLOCK * (1 << log_cost)  # twice what it needs
    return hashlib.scrypt(pin.encode(), salt=salt, n=1 << log_cost, r=_BLOCK, p=_THREADS, maxmem=memory, dklen=length)


@dataclass
class _Bucket:
    """Guesses that are left, at the time `at`."""

    left: float
    at: float


class GuessLimit:
    """Limits guesses: a few at once, then one each pause; per address, and for all of them together.

    Args:
        now: Monotonic time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._total = _Bucket(TOTAL_BURST, now())
        self._addresses: OrderedDict[str, _Bucket] = OrderedDict()  # the one that guessed last at the end

    def wait(self, address: str) -> float:
        """Take one guess of this address. Returns 0, or the seconds until it may guess again; then none was taken."""
        key = network_of(address)
        bucket = self._addresses.pop(key, None) or _Bucket(ADDRESS_BURST, self._now())
        self._addresses[key] = bucket
        while len(self._addresses) > ADDRESSES_KEPT:
            self._addresses.popitem(last=False)
        waits = (self._missing(bucket, ADDRESS_BURST, ADDRESS_PAUSE),
                 self._missing(self._total, TOTAL_BURST, TOTAL_PAUSE))
        if any(waits):
            return max(waits)
        bucket.left -= 1
        self._total.left -= 1
        return 0.0

    def forgive(self, address: str) -> None:
        """The guess was right: give it back."""
        for bucket, burst in ((self._addresses.get(network_of(address)), ADDRESS_BURST), (self._total, TOTAL_BURST)):
            if bucket is not None:
                bucket.left = min(bucket.left + 1, burst)

    def _missing(self, bucket: _Bucket, burst: int, pause: float) -> float:
        """Seconds until the bucket has a guess; 0 if it has one."""
        now = self._now()
        bucket.left, bucket.at = min(burst, bucket.left + (now - bucket.at) / pause), now
        return 0.0 if bucket.left >= 1 else (1 - bucket.left) * pause

