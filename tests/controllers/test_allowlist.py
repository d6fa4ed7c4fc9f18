"""Which hosts a list of addresses and networks admits, and how the list is read."""

from __future__ import annotations

import pytest

from lcm_daemon.controllers.allowlist import NETWORK, Allowlist
from lcm_daemon.core.document import Problems, compose


@pytest.mark.parametrize(("lists", "host", "admitted"), [
    ([], "10.1.2.3", True),
    ([[], []], "10.1.2.3", True),
    ([["10.0.0.0/8"]], "10.1.2.3", True),
    ([["10.0.0.0/8"]], "11.1.2.3", False),
    ([["10.0.0.0/8"], ["10.1.2.3"]], "10.1.2.3", True),  # both lists must have it
    ([["10.0.0.0/8"], ["10.1.2.3"]], "10.1.2.4", False),
    ([["10.1.2.3"], ["11.0.0.0/8"]], "10.1.2.3", False),
    ([["localhost"]], "127.0.0.1", True),
    ([["localhost"]], "::1", True),
    ([["10.0.0.0/8"]], "127.0.0.1", False),
    ([["10.0.0.0/8"]], "::ffff:10.1.2.3", True),  # an IPv4 host on a socket for both families
    ([["10.0.0.0/8"]], "::ffff:11.1.2.3", False),
    ([["fd00::/8"]], "fd12::1", True),
    ([["fe80::/10"]], "fe80::1%eth0", True),
    ([["fd00::/8"]], "10.1.2.3", False),
    ([["10.0.0.0/8"]], "", False),
    ([["10.0.0.0/8"]], "not an address", False),
])
def test_a_host_is_admitted_by_every_list(lists: list[list[str]], host: str, admitted: bool) -> None:
    assert Allowlist(*lists).allows(host) is admitted


@pytest.mark.parametrize(("text", "hint"), [
    ("192.168.1.20/24", "; the network is 192.168.1.0/24"), ("lights", ""), ("10.0.0.0/33", ""), ("[1]", ""),
])
def test_what_is_no_network_is_a_mistake_with_its_place(text: str, hint: str) -> None:
    problems = Problems()
    NETWORK.read(compose(text, "show.yaml"), problems)
    assert str(problems.found[0]).startswith("show.yaml:1:1: ")
    assert str(problems.found[0]).endswith(hint)


def test_ipv6_networks_are_read() -> None:
    problems = Problems()
    assert NETWORK.read(compose("'fd00::/8'", "show.yaml"), problems) == "fd00::/8"
    assert problems.found == []
