"""Engines: a row for each engine of a show. Without processes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.state import RecipeState, RecipeVariant
from lcm_daemon.render.policy import RestartPolicy
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.engines import Engines
from lcm_daemon.stage.handover import Handover


@pytest.fixture
def engines(tmp_path: Path) -> Engines:
    file = tmp_path / "show.yaml"
    file.write_text("recipe: passthrough\nengines: {device: cpu, engines: 2}\n")
    show = load_show(file, environment={})
    return Engines(show, RecipeState(RecipeVariant(show.recipe)), Metrics(), Handover())


def test_rates_are_those_of_the_engine_that_has_the_place_now(engines: Engines) -> None:
    first = engines.transition.current.engines[0]
    engines.rows(0.0)
    first.rendered = 30
    assert [row["fps"] for row in engines.rows(2.0)] == [15.0, 0.0]
    engines.transition.current = engines.players.build(RecipeVariant(first.ladder[0]), RestartPolicy.ALWAYS)
    assert [row["fps"] for row in engines.rows(3.0)] == [0.0, 0.0]
    engines.transition.current.engines[0].rendered = 5
    assert [row["fps"] for row in engines.rows(4.0)] == [5.0, 0.0]


def test_a_show_of_which_every_engine_was_stopped_starts_them(engines: Engines) -> None:
    places = set(engines.players.places)
    show = engines.players._show
    again = Engines(show, RecipeState(RecipeVariant(show.recipe)), Metrics(), Handover(stopped=places))
    assert again.players.stopped == set()


def test_an_engine_that_was_stopped_and_has_not_left_yet_counts_no_more(engines: Engines) -> None:
    engines.players.stopped.add(engines.players.places[0])
    assert [(row["name"], row["on"]) for row in engines.rows(0.0)] == [("cpu", False), ("cpu 2", True)]
    assert engines.describe() == "0 of 2 render"


def test_an_engine_that_is_being_renewed_has_one_row(engines: Engines) -> None:
    player = engines.transition.current
    new = engines.players.another(player, player.engines[0])
    player.engines[0].alarm = "it renders"
    player.engines[0].child = player.engines[0].report = SimpleNamespace(process=SimpleNamespace(pid=7), device="cpu")
    player.engines.append(new)
    assert [row["state"] for row in engines.rows(0.0)] == ["it renders", "starting"]
    new.child, new.report = player.engines[0].child, player.engines[0].report
    assert engines.describe() == "1 of 2 render"
