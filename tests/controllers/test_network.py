"""The show's section `network`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.controllers.network import NETWORK_FIELDS, network_policy, read_origin
from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.network import AccessPolicy, TlsPolicy
from lcm_daemon.core.schema import read_fields


@pytest.mark.parametrize(("text", "origin"), [
    ("https://example.org", "https://example.org"), ("HTTP://Example.org:80/", "http://example.org"),
    ("http://10.0.0.5:8080", "http://10.0.0.5:8080"), ("http://[fd00::1]:80", "http://[fd00::1]"),
    ("https://example.org:443", "https://example.org"), ("https://example.org/page", None), ("example.org", None),
    ("ftp://example.org", None), ("https://a@example.org", None), ("https://", None), ("http://[", None),
    ("http://example.org:99999", None), ("null", None), ("https://example.org?a", None),
])
def test_origins_are_written_as_browsers_write_them(text: str, origin: str | None) -> None:
    assert read_origin(text) == origin


def test_the_origin_of_a_url() -> None:
    assert read_origin("https://example.org:8443/a/b?c#d", path=True) == "https://example.org:8443"


def test_the_section_is_read() -> None:
    problems = Problems()
    text = """{allow: [10.0.0.0/8], hosts: [LCM.lan, stage.local.], origins: ["https://A.example/"], embed: ["*"],
        max_size: 1024x512, ndi_discovery: [10.0.0.5, 10.0.0.6:5960]}"""
    assert read_fields(compose(text, "show"), NETWORK_FIELDS, problems) == {
        "allow": ("10.0.0.0/8",), "hosts": ("lcm.lan", "stage.local"), "origins": ("https://a.example",),
        "embed": ("*",), "max_size": (1024, 512), "access": AccessPolicy(), "proxies": (), "tls": None,
        "ndi_discovery": ("10.0.0.5", "10.0.0.6:5960")}
    assert problems.found == []


@pytest.mark.parametrize("text", [
    "{allow: [lights]}", "{hosts: ['lcm.lan:9080']}", "{hosts: ['http://lcm.lan']}", "{hosts: ['*']}", "{hosts: ['']}",
    "{origins: ['*']}", "{origins: [example.org]}", "{embed: ['http://a/b']}", "{hosts: lcm.lan}", "{alow: []}",
    "{max_size: 512}", "{max_size: [512, 500]}", "{max_size: [4096, 512]}", "{access: {pin: '12345'}}",
    "{access: {pin: [1]}}", "{access: {others: admin}}", "{access: {guests: 1}}", "{access: '123456'}", "{tls: true}",
    "{tls: {certificate: a.pem}}", "{ndi_discovery: [server.lan]}", "{ndi_discovery: ['10.0.0.5:0']}",
    "{ndi_discovery: ['10.0.0.5:']}", "{ndi_discovery: ['10.0.0.5:99999']}", "{ndi_discovery: ['::1']}",
    "{ndi_discovery: [10.0.0]}", "{ndi_discovery: 10.0.0.5}", "{proxies: [proxy.lan]}", "{proxies: 127.0.0.1}",
    "{access: {pin: scrypt:99:aaaaaaaaaaa=:aaaaaaaaaaa=" + "a" * 40 + "}}",
])
def test_mistakes_have_a_place(text: str) -> None:
    problems = Problems()
    read_fields(compose(text, "show.yaml"), NETWORK_FIELDS, problems)
    assert len(problems.found) == 1
    assert str(problems.found[0]).startswith("show.yaml:1:")


def test_access_and_tls_are_read() -> None:
    problems = Problems()
    text = "{access: {pin: 012345, others: none}, tls: {certificate: tls/a.pem, key: /b.pem}}"
    policy = network_policy(read_fields(compose(text, "show"), NETWORK_FIELDS, problems), Path("/shows"))
    assert problems.found == []
    assert policy.access == AccessPolicy("012345", "none"), "a pin is text: its zero counts"
    assert policy.tls == TlsPolicy("/shows/tls/a.pem", "/b.pem")
    assert "012345" not in repr(policy), "a pin is in no log"
    automatic = network_policy(read_fields(compose("{tls: auto}", "show"), NETWORK_FIELDS, problems), Path("/shows"))
    assert automatic.tls == TlsPolicy("auto")


def test_proxies_are_networks() -> None:
    problems = Problems()
    read = read_fields(compose("{proxies: [localhost, 172.16.0.0/12, '::2']}", "show"), NETWORK_FIELDS, problems)
    assert network_policy(read, Path()).proxies == ("127.0.0.1/32", "::1/128", "172.16.0.0/12", "::2/128")
    assert problems.found == []


def test_a_wrong_pin_is_not_repeated() -> None:
    problems = Problems()
    read_fields(compose("{access: {pin: 'geheim\t7'}}", "show"), NETWORK_FIELDS, problems)
    assert "geheim" not in str(problems.found[0])
