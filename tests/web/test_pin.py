"""Pins and the limit of guesses."""

from __future__ import annotations

import pytest

from lcm_daemon.web import pin
from lcm_daemon.web.pin import GuessLimit, hash_pin, is_hash, is_pin, matches


def test_a_pin_and_its_hash_match_the_pin_alone() -> None:
    hashed = hash_pin("12345678")
    assert is_hash(hashed)
    assert hash_pin("12345678") != hashed, "each hash has a salt of its own"
    for expected in ("12345678", hashed):
        assert matches(expected, "12345678")
        for guess in ("", "1234567", "123456789", "x" * 65, hashed, "12345678 "):
            assert not matches(expected, guess)


@pytest.mark.parametrize("text", [
    "scrypt:15:aaaaaaaaaaaa", "scrypt:99:aaaaaaaaaaa=:aaaaaaaaaaa=", "scrypt:3:aaaaaaaaaaa=:aaaaaaaaaaa=",
    "scrypt:15:a=aaaaaaaaa=:aaaaaaaaaaa=", "123456",
])
def test_what_is_no_hash(text: str) -> None:
    assert not is_hash(text)


@pytest.mark.parametrize(("text", "good"), [
    ("123456", True), ("12345", False), ("x" * 64, True), ("x" * 65, False), (" 12345", False), ("1234\n56", False),
    ("grün-12", True),
])
def test_what_may_be_a_pin(text: str, good: bool) -> None:
    assert is_pin(text) is good


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_guesses_of_one_address_are_limited() -> None:
    clock = Clock()
    limit = GuessLimit(clock)
    assert [limit.wait("10.0.0.1") for _ in range(pin.ADDRESS_BURST)] == [0.0] * pin.ADDRESS_BURST
    assert limit.wait("10.0.0.1") == pin.ADDRESS_PAUSE
    assert limit.wait("::ffff:10.0.0.1") == pin.ADDRESS_PAUSE, "the same host on a socket for both families"
    assert limit.wait("10.0.0.2") == 0.0
    clock.now += pin.ADDRESS_PAUSE
    assert limit.wait("10.0.0.1") == 0.0
    assert limit.wait("10.0.0.1") > 0.0
    limit.forgive("10.0.0.1")
    assert limit.wait("10.0.0.1") == 0.0, "a right guess costs nothing"


def test_guesses_of_all_addresses_are_limited() -> None:
    clock = Clock()
    limit = GuessLimit(clock)
    admitted = sum(limit.wait(f"10.0.{n // 200}.{n % 200}") == 0.0 for n in range(2000))
    assert admitted == pin.TOTAL_BURST
    clock.now += 10 * pin.TOTAL_PAUSE
    assert sum(limit.wait(f"10.1.0.{n}") == 0.0 for n in range(200)) == 10


def test_addresses_of_one_ipv6_host_count_together() -> None:
    limit = GuessLimit(Clock())
    admitted = [limit.wait(f"fd00::{n:x}%eth0") == 0.0 for n in range(50)]
    assert sum(admitted) == pin.ADDRESS_BURST
