"""Sources and sinks as a show plans them: built, left out where that is allowed, refused where not."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon import transports
from lcm_daemon.core import plugins
from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.plugins import PluginError
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.transports import factory
from lcm_daemon.transports.base import Probe
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.factory import build_sink, build_source
from tests.rigs.plugins import install

SINK = EndpointConfig("memory", {"name": "out"})


@pytest.fixture
def show(tmp_path: Path) -> Show:
    file = tmp_path / "show.yaml"
    file.write_text("{recipe: passthrough, output: {size: [64, 64]}}")
    return load_show(file, environment={})


@pytest.fixture
def _missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory bus as an integration that is not installed."""
    absent = replace(transports.load("memory"), probe=lambda: Probe(False, "no such bus", "pip install bus"))
    monkeypatch.setattr(factory.transports, "load", lambda name: absent)


def test_ends_are_built_and_called_by_their_names(show: Show) -> None:
    source = build_source(show.source, "source", show.size, Metrics(), lambda: None)
    sink = build_sink(SINK, show.size, show.fps, Metrics())
    assert source is not None
    assert sink is not None
    assert (source.label, sink.label) == ("testcard", "memory out")
    assert build_source(None, "guide", show.size, Metrics(), lambda: None) is None


@pytest.mark.usefixtures("_missing")
def test_what_is_missing_says_what_to_install_unless_it_is_optional(
    show: Show, caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(MissingIntegration, match="pip install bus"):
        build_sink(SINK, show.size, show.fps, Metrics())
    with caplog.at_level(logging.INFO):
        assert build_sink(replace(SINK, optional=True), show.size, show.fps, Metrics()) is None
    assert caplog.messages == ["memory out: skipped, as it is optional: no such bus; install it with: pip install bus"]


def test_a_plugin_whose_probe_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = ("from lcm_daemon.transports.testcard import TestcardSource as Card\n"
            "from lcm_daemon.transports.base import Transport\n"
            "TRANSPORT = Transport(Card, None, lambda: 1 / 0)\n")
    install(tmp_path, "a-pack", "2", {"lcm_daemon.transports": {"torn": "torn_probe:TRANSPORT"}}, {"torn_probe": code})
    monkeypatch.syspath_prepend(tmp_path)
    plugins.declared.cache_clear()
    monkeypatch.setattr(transports.TRANSPORTS, "_found", None)
    with pytest.raises(PluginError, match=r"the transport torn of a-pack 2 does not work: ZeroDivisionError"):
        build_source(EndpointConfig("torn", {}), "source", (64, 64), Metrics(), lambda: None)
    plugins.declared.cache_clear()
