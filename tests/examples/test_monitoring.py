"""The dashboard and the alerts ask for what a daemon has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from tests.controllers.panel.test_monitoring import asking, playing, samples
from tests.controllers.panel.test_monitoring import parser as parser  # without it, both are skipped

FOLDER = Path("examples/deploy/monitoring")
_NAME = re.compile(r"lcm_daemon_[a-z_]+")


def names(texts: list[str]) -> set[str]:
    return {name.removeprefix("lcm_daemon_") for text in texts for name in _NAME.findall(text)}


def known() -> set[str]:
    text = asking(playing(), "/metrics")[0].body.decode()
    declared = {words[2].removeprefix("lcm_daemon_") for words in map(str.split, text.splitlines()) if words[0] == "#"}
    return declared | {name.partition("{")[0] for name in samples(text)} | {  # durations that this show has none of
        f"{name}_seconds_bucket" for name in ("render", "tick_late")}


def test_the_dashboard() -> None:
    board = json.loads((FOLDER / "grafana-dashboard.json").read_text("utf-8"))
    asked = names([target["expr"] for panel in board["panels"] for target in panel["targets"]])
    assert len(asked) > 15
    assert asked - known() == set()
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)


def test_the_alerts() -> None:
    rules = yaml.safe_load((FOLDER / "prometheus-alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    assert names([rule["expr"] for rule in rules]) - known() == set()
    scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    assert scrape["rule_files"] == ["prometheus-alerts.yml"]
    assert scrape["scrape_configs"][0]["job_name"] in rules[0]["expr"]
