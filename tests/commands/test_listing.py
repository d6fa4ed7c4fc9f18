"""The lists of `lcm-daemon list`."""

from __future__ import annotations

import pytest

from lcm_daemon import transports
from lcm_daemon.commands import listing
from lcm_daemon.core.errors import MissingIntegration, TransportError
from lcm_daemon.core.plugins import NameTable


@pytest.mark.parametrize(("error", "line"), [
    (MissingIntegration("spout", "it runs on Windows only", "nothing"),
     "spout: it runs on Windows only; install it with: nothing"),
    (TransportError("no permission"), "spout: no permission"),
])
def test_a_transport_that_cannot_search_is_named_once(
    monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def discover(seconds: float) -> list[str]:
        raise error

    source = transports.load("spout").source
    assert source is not None
    monkeypatch.setattr(source, "discover", discover)
    monkeypatch.setattr(transports, "TRANSPORTS", NameTable("transport", {"spout": transports.TRANSPORTS["spout"]}))
    assert listing.list_sources() == [line]
