"""The engine and the desk run in one process, as a developer starts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.shows.reader import load_show
from tests.rigs.foreground import run_desk, run_engine


@pytest.mark.slow
def test_engine_renders_in_this_process() -> None:
    assert len(run_engine(load_recipe("passthrough"), 5)) == 5


@pytest.mark.slow
def test_desk_opens_in_this_process_and_requests_nothing(tmp_path: Path) -> None:
    file = tmp_path / "show.yaml"
    file.write_text("{recipe: passthrough, osc: {port: 0}, panel: false}")
    assert run_desk(load_show(file, environment={}), 0.5) == []
