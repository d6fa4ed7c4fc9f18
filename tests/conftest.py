"""Shared by all tests: a manual clock, `need` (the one way to skip), and which tests count as slow."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.lazy_imports import resolve

try:
    from xdist.scheduler import LoadScopeScheduling
except ImportError:  # a machine with pytest alone, as those with a card: one process runs everything
    LoadScopeScheduling = object

SLOW_KINDS = ("browser", "compile", "training", "daemon")
DAEMON = Path(__file__).parent / "daemon"
COMPUTING = (  # tests that compute, and whose result does not depend on how long that takes
    "tests/pipelines/", "tests/cuda/", "tests/examples/", "tests/commands/test_bench.py", "tests/commands/test_pull.py",
    "tests/commands/test_prepare.py", "tests/daemon/test_parity.py", "tests/transports/test_window.py",
    "tests/daemon/test_live_sources.py::test_stream_batch", "tests/daemon/test_live_sources.py::test_a_guide",
    "tests/render/test_governor.py", "tests/daemon/test_picture_files.py", "tests/daemon/test_video_files.py",
    "tests/daemon/test_endpoint_options.py", "tests/daemon/test_ndi_pictures.py", "tests/test_cli.py",
    "tests/controllers/panel/test_deck.py", "tests/controllers/panel/test_page.py",
)
TIMED = (  # of those, tests that look at every frame of some seconds
    "tests/daemon/test_picture_files.py::test_a_folder", "tests/daemon/test_video_files.py::test_a_damaged_packet",
)
FIRST_WORKER = "gw0"


def need(present: bool, reason: str) -> None:
    """Skip with `reason` where a real part is missing on a user's machine; under CI a missing part is a failure."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have every real part: {reason}")
    pytest.skip(reason)


def need_module(name: str, package: str = "") -> Any:
    """Import an optional part and return it, or skip as `need` does.

    A part that is installed may still fail to import, for want of a library of the system.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        need(False, f"{name} cannot be imported ({error}); pip install {package or name}")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they use; a test of one of SLOW_KINDS is slow too. Other slow tests are marked themselves."""
    for item in items:
        if "devtools" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if item.path.is_relative_to(DAEMON):
            item.add_marker("daemon")
        if any(item.get_closest_marker(kind) for kind in SLOW_KINDS):
            item.add_marker("slow")


@pytest.hookimpl(tryfirst=True)  # before fixtures
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Import what the test's module has delayed with `lazy_imports`."""
    if isinstance(item, pytest.Function):
        resolve(item.module, item.callspec.params if hasattr(item, "callspec") else {})


class _TwoLanes(LoadScopeScheduling):
    """Scheduler of `pytest -n 2`: one worker runs every test that may measure time, the other those that compute."""

    def _split_scope(self, nodeid: str) -> str:
        computes = nodeid.startswith(COMPUTING) and not nodeid.startswith(TIMED)
        return nodeid if computes else "one after another"  # the largest scope is started first


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Replace xdist's own ways to distribute tests, which run two tests that measure time beside each other."""
    return _TwoLanes(config, log)


def pytest_configure() -> None:
    """Let the workers that compute give way to the other: low priority, and one thread of OpenMP."""
    if "PYTEST_XDIST_WORKER" in os.environ and "PYTHONDONTWRITEBYTECODE" not in os.environ:
        sys.dont_write_bytecode = False  # xdist sets it; every child process would compile the package again
    if os.environ.get("PYTEST_XDIST_WORKER", FIRST_WORKER) != FIRST_WORKER:
        os.environ["OMP_NUM_THREADS"] = "1"  # two make tiny models no faster, and a waiting thread keeps a core busy
        if hasattr(os, "nice"):
            os.nice(19)


class ManualClock:
    """A clock that moves only when its time is set or `sleep` is called."""

    def __init__(self, now: float = 1000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests' state out of the user's own folder."""
    os.environ["LCM_DAEMON_STATE"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
