"""Shared by all tests: a manual clock, `need` (the one way to skip), and which tests count as slow."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.lanes import Lanes, report_death
from tests.rigs.lazy_imports import resolve

SLOW_KINDS = ("browser", "compile", "training", "daemon")
DAEMON = Path(__file__).parent / "daemon"
PATIENT = (  # tests whose result does not depend on how long anything takes; files that take long come first
    "tests/render/test_remote_engine.py", "tests/pipelines/test_families.py", "tests/commands/test_bench.py",
    "tests/transports/test_ndi.py", "tests/commands/test_prepare.py", "tests/cuda/",
    "tests/pipelines/test_device_frames.py", "tests/pipelines/test_session_memory.py", "tests/daemon/test_isolation.py",
    "tests/daemon/test_live_sources.py::test_stream_batch", "tests/daemon/test_prompt_picture_show.py",
    "tests/pipelines/test_accelerators.py", "tests/daemon/test_picture_files.py", "tests/daemon/test_video_files.py",
    "tests/daemon/test_resume.py", "tests/daemon/test_ndi_pictures.py", "tests/controllers/panel/test_layout.py",
    "tests/controllers/panel/test_deck.py", "tests/daemon/test_parity.py", "tests/daemon/test_osc_show.py",
    "tests/controllers/panel/test_page.py", "tests/daemon/test_live_sources.py::test_a_guide",
    "tests/daemon/test_live_sources.py::test_a_killed_show", "tests/daemon/test_one_set.py",
    "tests/daemon/test_live_controls.py", "tests/daemon/test_endpoint_options.py", "tests/audience/test_join_page.py",
    "tests/daemon/test_audience_show.py", "tests/daemon/test_monitoring.py",
    "tests/controllers/panel/test_prompts.py", "tests/controllers/panel/test_looks.py",
    "tests/controllers/panel/test_controls.py", "tests/controllers/panel/test_show_menu.py",
    "tests/controllers/panel/test_screen.py", "tests/controllers/panel/test_pictures.py",
    "tests/transports/test_window.py", "tests/transports/test_contract.py", "tests/test_cli.py",
    "tests/commands/", "tests/daemon/test_access.py", "tests/daemon/test_undo.py",
    "tests/render/test_governor.py", "tests/pipelines/", "tests/examples/", "tests/transports/test_video",
    "tests/transports/test_picture.py", "tests/transports/test_stills.py", "tests/transports/test_wide_colour.py",
    "tests/transports/test_placement.py", "tests/test_house.py", "tests/automation/", "tests/core/", "tests/recipes/",
    "tests/shows/", "tests/rigs/", "tests/exports/", "tests/daemon/test_exports_show.py",
    "tests/controllers/panel/test_exports.py",
)
TIMED = (  # of those, tests that look at every frame of some seconds, or at its age
    "tests/daemon/test_picture_files.py::test_a_folder", "tests/daemon/test_picture_files.py::test_an_animation",
    "tests/daemon/test_video_files.py::test_a_damaged_packet",
    "tests/transports/test_ndi.py::test_a_slow_reader", "tests/core/test_document.py", "tests/core/test_journal.py",
    "tests/daemon/test_resume.py::test_a_killed", "tests/daemon/test_osc_show.py::test_send_prints",
    "tests/commands/test_bench_engines.py", "tests/commands/test_bench.py::test_a_bench_of_the_passthrough",
    "tests/examples/test_plugins.py::test_a_show", "tests/daemon/test_floods.py", "tests/core/test_thread_priority.py",
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
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _place(item.nodeid))  # those that measure time first, then in the order of PATIENT


@pytest.hookimpl(tryfirst=True)  # before fixtures
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Import what the test's module has delayed with `lazy_imports`."""
    if isinstance(item, pytest.Function):
        resolve(item.module, item.callspec.params if hasattr(item, "callspec") else {})


def _place(nodeid: str) -> int:
    """Place of a test's file in PATIENT, from 1; 0 for a test that may measure time."""
    if nodeid.startswith(TIMED):
        return 0
    return next((place for place, prefix in enumerate(PATIENT, 1) if nodeid.startswith(prefix)), 0)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Replace xdist's own ways to distribute tests, which run two tests that measure time beside each other."""
    return Lanes(config, log, lambda nodeid: bool(_place(nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:
    """Print which test's worker died, and that it is tried again."""
    print(f"\n{report_death(crashitem, report, sched) or crashitem + ': its worker died again'}")


def pytest_configure() -> None:
    """Let the workers of patient tests give way to the other: they run only when a processor has nothing else to do."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO's converter forks to send figures
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # two make tiny models no faster, and a waiting thread keeps a core busy
    if "PYTHONDONTWRITEBYTECODE" not in os.environ:
        sys.dont_write_bytecode = False  # xdist sets it; every child process would compile the package again
    if os.environ["PYTEST_XDIST_WORKER"] != FIRST_WORKER:
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        elif hasattr(os, "nice"):
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
