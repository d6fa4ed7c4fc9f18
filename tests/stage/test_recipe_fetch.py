"""Fetching a recipe while a show plays: from a hub on loopback, stopped, begun again, refused."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.parts import Files
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.stage import recipe_fetch
from lcm_daemon.stage.recipe_fetch import FetchReport, RecipeFetch
from tests.rigs.daemon import wait_for
from tests.rigs.standin_hub import Repo, StandinHub

MIB = 1 << 20
WEIGHTS = random.Random(3).randbytes(25 * MIB)  # huggingface_hub hands on 10 MiB at a time
NEEDED = Files("some/model", ("config.json", "w.safetensors"))
RECIPE = Recipe("mine", model="some/model", vae="some/model", files=(NEEDED,))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandinHub]:
    with StandinHub({"some/model": Repo({"config.json": b"{}", "w.safetensors": WEIGHTS})}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield running


def fetched(folder: Path) -> bool:
    path = folder / "home/hub/models--some--model/snapshots" / ("a" * 40) / "w.safetensors"
    return path.exists() and path.read_bytes() == WEIGHTS


@pytest.mark.slow
def test_a_recipe_is_fetched_stopped_and_begun_again(tmp_path: Path, hub: StandinHub) -> None:
    ended: list[str] = []
    fetch = RecipeFetch(Metrics(), ended.append)
    hub.slow = threading.Event()  # halfway it waits
    fetch.start("mine", RECIPE, "panel/1")
    assert (fetch.name, fetch.describe()) == ("mine", "mine: asking the hub")

    def is_halfway() -> bool:
        fetch.step()
        return fetch.share > 0.3

    wait_for(is_halfway, what="half of the download")
    assert fetch.describe() == "mine: 40 % of 26 MB"
    fetch.start("other", RECIPE, "osc/10.0.0.7:5")
    (refusal,) = fetch.refusals.pop()
    assert refusal.text == "fetch other: mine is being fetched; one recipe is fetched at a time"
    fetch.stop()
    assert (ended, fetch.name, fetch.describe()) == (["mine"], "", "")
    fetch.stop()  # nothing to stop
    hub.slow.set()
    hub.slow = None
    assert not fetched(tmp_path)
    fetch.start("mine", RECIPE, "panel/1")

    def is_done() -> bool:
        fetch.step()
        return not fetch.name

    wait_for(is_done, what="the download")
    assert ended == ["mine", "mine"]
    assert fetch.problems == {}
    assert fetched(tmp_path)
    ranges = [request.range for request in hub.downloads() if request.path.endswith("w.safetensors")]
    assert any(each.startswith("bytes=") for each in ranges[1:]), ranges  # it was resumed


@pytest.mark.slow
def test_a_download_that_fails_is_one_line_and_stopping_at_once_leaves_no_process(
    hub: StandinHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = RecipeFetch(Metrics(), lambda name: None)
    fetch.start("mine", RECIPE, "panel/1")
    run = fetch._run
    fetch.stop()  # before its process has started
    hub.repos.clear()
    fetch.start("mine", RECIPE, "panel/1")

    def has_failed() -> bool:
        fetch.step()
        return bool(fetch.problems)

    wait_for(has_failed, what="the failure")
    assert fetch.problems["mine"].startswith("some/model: is not on the hub")
    (refusal,) = fetch.refusals.pop()
    assert (refusal.origin, refusal.text) == ("panel/1", f"fetch mine: {fetch.problems['mine']}")
    assert fetch.name == ""
    assert run is not None
    wait_for(lambda: run._process is None or run._process.exitcode is not None, what="the end of the first process")


def test_a_process_that_dies_or_cannot_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_start(self: object, sender: object) -> None:
        raise OSError("no memory")

    monkeypatch.setattr(recipe_fetch._Run, "_start", cannot_start)
    fetch = RecipeFetch(Metrics(), lambda name: None)
    fetch.start("mine", RECIPE, "panel/1")
    run = fetch._run
    assert run is not None
    wait_for(lambda: run.newest.ended, what="the report")
    fetch.step()
    assert fetch.problems == {"mine": "its process cannot be started: no memory"}


def test_the_share_counts_what_is_here() -> None:
    reports: list[FetchReport] = []
    progress = recipe_fetch._Progress(reports.append)
    progress.total = 1000
    with progress.bar()(total=600, initial=200, desc="w") as bar:
        bar.update(100)
    assert progress.done == 300
    progress.set(600)
    assert reports[0] == FetchReport(200, 1000)
