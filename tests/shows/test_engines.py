"""The keys `engine` and `engines` of a show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lcm_daemon.core.errors import DocumentError
from lcm_daemon.shows.engines import engine_places
from lcm_daemon.shows.reader import load_show


@pytest.fixture
def places(tmp_path: Path) -> Callable[..., list[tuple[str, str, str, float]]]:
    """Name, device, address and GPUs of every engine of a show with this key, on a machine with so many cards."""
    def read(engines: str, cards: int = 0) -> list[tuple[str, str, str, float]]:
        file = tmp_path / "show.yaml"
        file.write_text(f"recipe: passthrough\n{engines and f'engines: {engines}'}\n")
        groups = load_show(file, environment={}).engines
        return [(each.name, each.device, each.ray, each.gpus) for each in engine_places(groups, lambda: cards)]

    return read


@pytest.mark.parametrize(("written", "expected"), [
    ("", [("", "", "", 0.0)]),
    ("auto", [("cuda:0", "cuda:0", "", 0.0), ("cuda:1", "cuda:1", "", 0.0)]),
    ("[{device: cuda:0}, {device: cuda:1}]", [("cuda:0", "cuda:0", "", 0.0), ("cuda:1", "cuda:1", "", 0.0)]),
    ("{device: cpu, engines: 2}", [("cpu", "cpu", "", 0.0), ("cpu 2", "cpu", "", 0.0)]),
    ("[{device: cpu}, {device: cpu}]", [("cpu", "cpu", "", 0.0), ("cpu 2", "cpu", "", 0.0)]),
    ("{ray: auto, engines: 2}", [("ray 1", "", "auto", 1.0), ("ray 2", "", "auto", 1.0)]),
    ("{ray: 10.0.0.5:10001, gpus: 0.5}", [("ray 1", "", "10.0.0.5:10001", 0.5)]),
    ("{ray: auto, device: cpu}", [("ray 1", "cpu", "auto", 0.0)]),
    ("[{ray: auto}, {ray: 10.0.0.5:10001}]", [("ray 1", "", "auto", 1.0), ("ray 2", "", "10.0.0.5:10001", 1.0)]),
    ("[{device: auto}, {ray: auto}]", [("cuda:0", "cuda:0", "", 0.0), ("cuda:1", "cuda:1", "", 0.0),
                                       ("ray 1", "", "auto", 1.0)]),
])
def test_places(
    places: Callable[..., list[tuple[str, str, str, float]]], written: str, expected: list[tuple[str, str, str, float]],
) -> None:
    assert places(written, cards=2) == expected


def test_the_opening_screen_names_them(tmp_path: Path) -> None:
    file = tmp_path / "show.yaml"
    file.write_text('engines: [{device: auto}, {device: cpu, engines: 2}, {ray: "10.0.0.5:6379", engines: 4}]')
    assert ("  engines  one for every graphics card, 2 on cpu, 4 on the Ray cluster at 10.0.0.5:6379\n"
            in load_show(file, environment={}).describe())


def test_auto_without_a_card_is_one_engine_of_the_recipes_device(
    places: Callable[..., list[tuple[str, str, str, float]]],
) -> None:
    assert places("auto", cards=0) == [("", "", "", 0.0)]


@pytest.mark.parametrize(("written", "message"), [
    ("7", "2:10: engines is auto, {device: cuda:0}, {ray: auto, engines: 4}, or a list of such mappings, not 7"),
    ("{device: gpu}", "2:19: a device is auto, cuda, cuda:0"),
    ("{engines: 3}", "2:10: an engine needs a device or a cluster"),
    ("[]", "2:10: an empty list renders nothing"),
    ("{device: cpu, gpus: 1}", "2:10: gpus belongs to engines on a Ray cluster"),
    ("{device: auto, engines: 2}", "2:10: device auto is one engine for every graphics card"),
    ("{ray: nowhere}", "2:16: ray is auto or the address of a cluster such as"),
    ("{ray: '10.0.0.5:99999'}", "2:16: ray is auto or the address"),
    ("{device: cpu, engines: 65}", "2:33: 65 is not a whole number from 1 to 64"),
    ("[{device: cpu, engines: 60}, {device: cpu, engines: 60}]", "2:10: at most 64 engines render a show"),
    ("{device: cpu, enginse: 2}", "2:24: unknown key 'enginse'; did you mean 'engines'?"),
])
def test_mistakes_have_their_place(
    places: Callable[..., list[tuple[str, str, str, float]]], written: str, message: str,
) -> None:
    with pytest.raises(DocumentError) as found:
        places(written)
    assert f"show.yaml:{message}" in str(found.value)
