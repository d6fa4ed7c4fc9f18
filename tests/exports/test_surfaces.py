"""What every export for a control surface has to do: commands, looks, prompts, recipes; strange names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.exports.formats import FORMATS
from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports.hostile import CUES, heard, hostile_surface
from tests.exports.readers import reader

SURFACES = ("touchosc", "open-stage-control", "companion", "qlab", "max", "max-for-live", "chataigne")


@pytest.fixture(scope="module")
def demo() -> Surface:
    return surface_of(load_show("demo", ["oscquery.port=9080"], environment={}))


@pytest.fixture(scope="module")
def hostile() -> Surface:
    return hostile_surface()


@pytest.mark.parametrize("name", SURFACES)
def test_every_command_prompt_and_recipe_is_sent(name: str, demo: Surface) -> None:
    sent = reader(name)(FORMATS[name].build(demo))
    addresses = {address for address, _ in sent}
    assert {button.address for button in demo.buttons()} <= addresses
    if name != "chataigne":  # its values have one address for all
        assert {float(place[0]) for address, place in sent if address == "/lcm/prompts/play"} == set(range(1, 10))
    recipes = {arguments[0] for address, arguments in sent if address == "/lcm/recipe"}
    assert recipes
    assert recipes <= set(demo.recipes)


@pytest.mark.parametrize("name", SURFACES)
def test_what_is_sent_is_what_the_daemon_takes(name: str, demo: Surface) -> None:
    for address, arguments in reader(name)(FORMATS[name].build(demo)):
        name_of = address.removeprefix("/lcm/")
        parameter = demo.table.get(name_of)
        if parameter is None:
            assert address == "/lcm/subscribe" or demo.commands[name_of].coerce(arguments) is not None
        elif arguments[0] in ("+", "-"):
            assert parameter.moved(demo.values[name_of], arguments[1]) is not None
        elif arguments[0] == "toggle":
            assert parameter.kind == "bool"
        else:
            parameter.coerce(" ".join(arguments) if parameter.kind == "text" else arguments[0])


@pytest.mark.parametrize("name", SURFACES)
def test_looks_with_strange_names_are_called(name: str, hostile: Surface) -> None:
    sent = reader(name)(FORMATS[name].build(hostile))
    assert heard(sent) <= set(CUES)
    assert name == "chataigne" or heard(sent) == set(CUES)


@pytest.mark.parametrize("name", SURFACES)
def test_a_look_that_is_called_by_its_place_is_not_another_one_of_that_name(name: str, demo: Surface) -> None:
    cues = ("2", *(cue for cue in CUES if cue != "5"), "1", "3", "4.5", "8")
    sent = reader(name)(FORMATS[name].build(replace(demo, cues=cues)))
    assert heard(sent, cues) <= set(cues)
    for button in () if name == "chataigne" else replace(demo, cues=cues).cue_buttons_by(lambda _: False):
        assert heard([(button.address, list(button.arguments))], cues) == {button.label}


@pytest.mark.parametrize("name", [*SURFACES, "ossia", "midi"])
def test_a_file_is_the_same_each_time(name: str, hostile: Surface) -> None:
    assert FORMATS[name].build(hostile) == FORMATS[name].build(hostile)


@pytest.mark.parametrize("name", [*SURFACES, "ossia"])
def test_a_show_without_osc_is_refused(name: str, demo: Surface) -> None:
    with pytest.raises(LcmDaemonError, match="osc is off or takes any free port"):
        FORMATS[name].build(replace(demo, osc_port=0))


@pytest.mark.parametrize("name", ["chataigne", "ossia"])
def test_a_show_without_oscquery_is_told_how_to_have_it(name: str, demo: Surface) -> None:
    with pytest.raises(LcmDaemonError, match=r"give the show `oscquery: \{port: 9080\}`"):
        FORMATS[name].build(replace(demo, query_port=0))
