"""URLs that a browser opens."""

from __future__ import annotations

import pytest

from lcm_daemon.web.address import browser_url


@pytest.mark.parametrize(("host", "url"), [
    ("127.0.0.1", "http://127.0.0.1:8000"),
    ("localhost", "http://localhost:8000"),
    ("stage.local", "http://stage.local:8000"),
    ("192.168.1.7", "http://192.168.1.7:8000"),
    ("0.0.0.0", "http://127.0.0.1:8000"),
    ("", "http://127.0.0.1:8000"),
    ("::", "http://[::1]:8000"),
    ("0:0:0:0:0:0:0:0", "http://[::1]:8000"),
    ("[::]", "http://[::1]:8000"),
    ("::1", "http://[::1]:8000"),
    ("2001:db8::7", "http://[2001:db8::7]:8000"),
    ("fe80::1%eth0", "http://[fe80::1%25eth0]:8000"),
])
def test_a_browser_opens_the_url(host: str, url: str) -> None:
    assert browser_url(host, 8000) == url
