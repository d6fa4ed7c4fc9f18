"""The package of examples/plugins works as its README says, installed in a folder, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rigs.plugins import EXAMPLE, install, install_example

ROOT = EXAMPLE.parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    install_example(site)
    install(site, "a-broken-pack", "0.1", {
        "lcm_daemon.transports": {"torn": "torn:TRANSPORT", "ndi": "torn:TRANSPORT"},
        "lcm_daemon.controllers": {"output": "torn:Out", "torn_box": "torn:Box"},
        "lcm_daemon.pipelines": {"torn_pipe": "torn:Pipe"},
    }, {"torn": "print('imported')\nimport no_such_library\n"})
    return site


def command(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=100,
                          env=environment, cwd=site)


def test_list_shows_plugins_with_package_and_version_and_what_is_refused(site: Path) -> None:
    done = command(site, "lcm_daemon", "list", "plugins")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "transport ramp lcm-night-vision 1.2.0 night_vision.ramp:TRANSPORT" in lines
    assert "controller pulse lcm-night-vision 1.2.0 night_vision.pulse:Pulse" in lines
    assert "the transport ndi of a-broken-pack 0.1 is refused: the built-in transport has this name" in lines
    assert "the controller output of a-broken-pack 0.1 is refused: another key of shows has this name" in lines
    assert "imported" not in done.stdout


def test_check_reads_a_show_of_plugins_and_imports_no_other(site: Path) -> None:
    done = command(site, "lcm_daemon", "check", str(EXAMPLE / "shows" / "night.yaml"))
    assert done.returncode == 0, done.stderr
    assert "no mistakes" in done.stdout
    assert "imported" not in done.stdout


def test_mistakes_of_plugins_keys_and_broken_plugins_have_their_places(site: Path, tmp_path: Path) -> None:
    show = tmp_path / "show.yaml"
    show.write_text("source: {transport: ramp, speed: 99}\nguide: {transport: torn}\npulse: {wrong: 1}\n"
                    "torn_box: {}\nrecipe: {pipeline: nights}\n", "utf-8")
    done = command(site, "lcm_daemon", "check", str(show))
    lines = done.stderr.splitlines()
    assert [line.removeprefix(f"{show}:").split(" ")[0] for line in lines] == [
        "1:34:", "2:20:", "3:9:", "4:11:", "5:20:"], lines
    assert "99 is not a number from 0 to 10" in lines[0]
    assert "the transport torn of a-broken-pack 0.1 does not work: ModuleNotFoundError" in lines[1]
    assert "unknown key 'wrong'" in lines[2]
    assert "the controller torn_box of a-broken-pack 0.1 does not work" in lines[3]
    assert "latent_consistency, night, torn_pipe" in lines[4] or "latent_consistency, torn_pipe, night" in lines[4]


def test_list_keys_and_schema_have_the_fields_of_plugins(site: Path) -> None:
    assert "speed (ramp)" in command(site, "lcm_daemon", "list", "keys").stdout
    schema = command(site, "lcm_daemon", "schema").stdout
    assert '"pulse"' in schema
    assert '"ramp"' in schema


@pytest.mark.slow
def test_the_contract_tests_of_the_example_pass(site: Path) -> None:
    done = command(site, "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests"), "-c", os.devnull)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_a_show_of_plugins_plays(site: Path) -> None:
    done = command(site, "lcm_daemon", "run", str(EXAMPLE / "shows" / "night.yaml"), "--seconds", "7",
                   "--set", "engine.spare=false", "--set", "panel=false", "--set", "osc=false", "--set", "resume=false")
    assert done.returncode == 0, done.stderr
    assert "ready after" in done.stdout
    assert "Traceback" not in done.stderr
    assert "the transport ndi of a-broken-pack 0.1 is refused" in done.stdout + done.stderr
