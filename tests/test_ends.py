"""Sources and sinks as a show plans them: built, left out where that is allowed, refused where not."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon import ends, transports
from lcm_daemon.end_plans import EndPlan
from lcm_daemon.ends import build_sink, build_source, page_source
from lcm_daemon.errors import MissingIntegration
from lcm_daemon.health import Health
from lcm_daemon.show import Show, load_show
from lcm_daemon.transports.base import Probe

SINK = EndPlan("memory", {"name": "out"})


@pytest.fixture
def show(tmp_path: Path) -> Show:
    file = tmp_path / "show.yaml"
    file.write_text("{recipe: passthrough, output: {size: [64, 64]}}")
    return load_show(file, environment={})


@pytest.fixture
def _missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory bus as an integration that is not installed."""
    absent = replace(transports.load("memory"), probe=lambda: Probe(False, "no such bus", "pip install bus"))
    monkeypatch.setattr(ends.transports, "load", lambda name: absent)


def test_ends_are_built_and_called_by_their_names(show: Show) -> None:
    source = build_source(show.source, "source", show, Health(), lambda: None)
    sink = build_sink(SINK, show, Health())
    assert source is not None
    assert sink is not None
    assert (source.label, sink.label) == ("testcard", "memory out")
    assert build_source(None, "guide", show, Health(), lambda: None) is None


@pytest.mark.usefixtures("_missing")
def test_what_is_missing_says_what_to_install_unless_it_is_optional(
    show: Show, caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(MissingIntegration, match="pip install bus"):
        build_sink(SINK, show, Health())
    with caplog.at_level(logging.INFO):
        assert build_sink(replace(SINK, optional=True), show, Health()) is None
    assert caplog.messages == ["memory out is left out: no such bus; install it with: pip install bus"]


@pytest.mark.parametrize(("key", "name"), [("source", "hall"), ("guide", "hall"), ("sinks", "")])
def test_a_source_that_the_page_is_has_a_name(tmp_path: Path, key: str, name: str) -> None:
    file = tmp_path / "show.yaml"
    end = {"sinks": "[{transport: memory, name: hall}]"}.get(key, "{transport: browser, name: hall}")
    file.write_text(f"{{recipe: passthrough, {key}: {end}}}")
    assert page_source(load_show(file, environment={})) == name
