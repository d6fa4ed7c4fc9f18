"""The exports of the demo in examples/exports are those of this version; readers know each format."""

from __future__ import annotations

import zlib

import pytest

from lcm_daemon.core.osc_names import FADER
from lcm_daemon.exports.formats import FORMATS
from tests.exports.readers import READERS, SENDS_NOTHING, reader
from tests.exports.write import FOLDER, example, fresh


def unpacked(data: bytes) -> bytes:
    """What a file packed with zlib holds: builds of zlib pack it to different bytes."""
    return zlib.decompress(data) if data.startswith(b"\x78\xda") else data


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_is_up_to_date(name: str) -> None:
    assert unpacked(example(name).read_bytes()) == unpacked(fresh(name)), "run: python -m tests.exports.write"


def test_no_other_files_lie_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {example(name).name for name in FORMATS} | {"README.md"}


def test_every_format_is_read_back_or_sends_nothing() -> None:
    assert READERS.keys() | SENDS_NOTHING.keys() == FORMATS.keys()
    assert not READERS.keys() & SENDS_NOTHING.keys()


@pytest.mark.parametrize("name", READERS)
def test_every_parameter_of_the_demo_has_a_control(name: str) -> None:
    from lcm_daemon.shows.reader import load_show
    from lcm_daemon.shows.surface import surface_of

    sent = {address for address, _ in reader(name)(fresh(name))}
    missing = {control.address for control in surface_of(load_show("demo")).controls()
               if not {control.address, FADER + control.parameter.name} & sent}
    assert not missing - WITHOUT.get(name, set())


# Parameters that a program cannot send, by export: each with the reason beside it.
WITHOUT: dict[str, set[str]] = {
    "resolume": {"/lcm/prompt", "/lcm/prompt_b", "/lcm/negative_prompt"},  # a dial sends no text
    "touchosc": {"/lcm/prompt", "/lcm/prompt_b", "/lcm/negative_prompt"},  # it shows texts, and cannot type them
}
