"""The show's section `network`."""

from __future__ import annotations

import pytest

from lcm_daemon.controllers.network import NETWORK_FIELDS, read_origin
from lcm_daemon.core.document import Problems, compose
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
        max_size: 1024x512}"""
    assert read_fields(compose(text, "show"), NETWORK_FIELDS, problems) == {
        "allow": ("10.0.0.0/8",), "hosts": ("lcm.lan", "stage.local"), "origins": ("https://a.example",),
        "embed": ("*",), "max_size": (1024, 512)}
    assert problems.found == []


@pytest.mark.parametrize("text", [
    "{allow: [lights]}", "{hosts: ['lcm.lan:9080']}", "{hosts: ['http://lcm.lan']}", "{hosts: ['*']}", "{hosts: ['']}",
    "{origins: ['*']}", "{origins: [example.org]}", "{embed: ['http://a/b']}", "{hosts: lcm.lan}", "{alow: []}",
    "{max_size: 512}", "{max_size: [512, 500]}", "{max_size: [4096, 512]}",
])
def test_mistakes_have_a_place(text: str) -> None:
    problems = Problems()
    read_fields(compose(text, "show.yaml"), NETWORK_FIELDS, problems)
    assert len(problems.found) == 1
    assert str(problems.found[0]).startswith("show.yaml:1:")
