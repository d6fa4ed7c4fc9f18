"""Contract tests: every transport in the table keeps the promises of lcm_daemon.transports.base."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from lcm_daemon.contracts import transports as contract
from lcm_daemon.transports import TRANSPORTS, load
from tests.rigs.transport_contract import LOOPBACKS, SOURCES, TOLERANCES

MODULES = {name: f"test_{module.rpartition('.')[2]}" for name, module in TRANSPORTS.items()}
TESTED = [name for name in TRANSPORTS if Path(__file__).with_name(f"{MODULES[name]}.py").exists()]
for _name in TESTED:
    importlib.import_module(f"tests.transports.{MODULES[_name]}")

NATIVE = ("av", "NDIlib", "SpoutGL", "syphon", "cv2", "OpenGL", "objc", "Metal", "torch")


@pytest.mark.parametrize("name", TRANSPORTS)
def test_every_transport_has_a_test_module(name: str) -> None:
    assert name in TESTED, f"tests/transports/{MODULES[name]}.py is missing"
    transport = load(name)
    if transport.source and transport.sink:
        assert name in LOOPBACKS
    elif transport.source:
        assert name in SOURCES


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSPORTS)
def test_loads_without_its_native_library(name: str) -> None:
    check = (
        f"import sys; from lcm_daemon.transports import load; load({name!r});"
        f" found = sorted(set({NATIVE!r}) & set(sys.modules)); sys.exit(f'imported {{found}}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", TRANSPORTS)
def test_has_endpoints_with_options_and_a_probe(name: str) -> None:
    contract.check_transport(load(name))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_source_alone(name: str) -> None:
    with SOURCES[name]() as source:
        contract.check_source(source)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOOPBACKS))
def test_what_goes_in_comes_out(name: str) -> None:
    with LOOPBACKS[name]() as (sink, source):
        contract.check_colours(sink, source, TOLERANCES.get(name, 0))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOOPBACKS))
def test_numbers_rise_and_endpoints_close(name: str) -> None:
    with LOOPBACKS[name]() as (sink, source):
        contract.check_numbers(sink, source)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOOPBACKS))
def test_endpoints_reopen(name: str) -> None:
    with LOOPBACKS[name]() as (sink, source):
        contract.check_reopening(sink, source)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOOPBACKS))
def test_size_changes_while_open(name: str) -> None:
    with LOOPBACKS[name]() as (sink, source):
        contract.check_new_size(sink, source)
