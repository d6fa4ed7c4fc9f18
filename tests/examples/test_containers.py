"""The Dockerfile, the compose file and the files for proxies name what the product has: variables, ports, commands."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from lcm_daemon.cli import build_parser
from lcm_daemon.controllers.panel.assets import load_join_page
from lcm_daemon.core import paths
from lcm_daemon.shows.audience import AudienceConfig
from lcm_daemon.shows.reader import inspect_show, load_show
from lcm_daemon.shows.show import Show

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "deploy"
STOPPED_WITHIN = 5.0  # seconds; an orderly end takes less
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instruction and value of every line of the Dockerfile, by the stage's name."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    for entry in DockerfileParser(str(FOLDER / "Dockerfile")).structure:
        if entry["instruction"] == "FROM":
            name = entry["value"].split()[-1]
            found[name] = []
        if entry["instruction"] != "COMMENT":
            found[name].append((entry["instruction"], entry["value"]))
    return found


def lines(stage: str, instruction: str) -> list[str]:
    """Values of an instruction in a stage and in those that it is built from."""
    found = stages()
    base = next((value.split()[0] for kind, value in found[stage] if kind == "FROM"), "")
    own = [value for kind, value in found[stage] if kind == instruction]
    return (lines(base, instruction) if base in found else []) + own


def environment(stage: str) -> dict[str, str]:
    """The variables of an image."""
    return dict(pair.split("=", 1) for value in lines(stage, "ENV") for pair in value.split())


@pytest.fixture(scope="module")
def demo() -> Show:
    return load_show("demo", environment={})


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_an_image_runs_the_daemon_without_rights(stage: str, demo: Show) -> None:
    (entry,), (words,), (health,) = (lines(stage, name) for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"))
    assert json.loads(entry)[-1] == json.loads(health.partition(" CMD ")[2])[0] == "lcm-daemon"
    assert build_parser().parse_args(json.loads(words)).show == "demo"
    build_parser().parse_args(json.loads(health.partition(" CMD ")[2])[1:])
    assert int(lines(stage, "USER")[-1]) >= 10000, "a number: Kubernetes checks that it is not root"
    assert lines(stage, "STOPSIGNAL") == ["SIGTERM"]
    (ports,) = lines(stage, "EXPOSE")
    assert ports.split() == [f"{demo.controllers['panel']['port']}/tcp", f"{AudienceConfig().port}/tcp",
                             f"{demo.controllers['osc']['port']}/udp"]


def test_what_is_kept_lies_in_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment("cpu").items():
        monkeypatch.setenv(name, value)
    kept = json.loads(lines("cpu", "VOLUME")[0])
    assert [str(paths.state_folder()), str(paths.cache_folder())] == kept
    assert Path(environment("cpu")["HF_HOME"]).is_relative_to(kept[1])
    made = " ".join(lines("cpu", "RUN"))
    for service in SERVICES.values():
        targets = [volume.split(":")[1] for volume in service["volumes"]]
        assert set(targets) == {*kept, *lines("cpu", "WORKDIR")}
        assert all(re.search(rf"install -d -m 775 .*{target}( |$)", made) for target in targets)


def test_the_builder_gets_what_the_package_needs_and_nothing_else() -> None:
    copied = {source for kind in ("wheel", "requirements") for value in lines(kind, "COPY")
              for source in value.split()[:-1] if not source.startswith("--")}
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)
    assert "*" in ignored
    text = (FOLDER / "Dockerfile").read_text()
    assert not re.search(r"(?i)token|secret|passw|^ADD", text, re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (given,) = [value for value in lines("requirements", "ARG") if value.startswith("EXTRAS=")]
    assert set(given.removeprefix("EXTRAS=").split(",")) <= set(extras)
    (openvino,) = re.findall(r'"(openvino.*?)"', " ".join(lines("cpu-packages", "RUN")))
    assert extras["openvino"] == [openvino]


def test_every_variable_of_the_compose_file_is_a_key_of_shows() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    switched_off = yaml.safe_load("\n".join(re.findall(r"^    # (LCM_DAEMON__.*)$", text, re.MULTILINE)))
    for service in SERVICES.values():
        given = {**service["environment"], **switched_off}
        assert set(given) - {"TZ"} == {name for name in given if name.startswith("LCM_DAEMON__")}
        assert inspect_show("demo", environment=given).problems.found == []
        show = load_show("demo", environment=given)
        assert show.controllers["panel"]["host"] == show.controllers["osc"]["host"] == "0.0.0.0"
    assert len(switched_off) == text.count("# LCM_DAEMON__"), "each is one that may be switched on"


def test_ports_are_open_to_this_machine_only(demo: Show) -> None:
    known = {f"{demo.controllers['panel']['port']}/tcp", f"{AudienceConfig().port}/tcp",
             f"{demo.controllers['osc']['port']}/udp"}
    for service in SERVICES.values():
        hosts, outside, inside = zip(*(port.split(":") for port in service["ports"]), strict=True)
        assert set(hosts) == {"127.0.0.1"}
        assert set(inside) == known
        assert [port.split("/")[0] for port in inside] == list(outside)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_small_in_rights_and_ends_in_time(name: str) -> None:
    service = SERVICES[name]
    assert service["profiles"] == [name] == [service["build"]["target"]]
    assert name in stages()
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert (FOLDER / service["build"]["context"]).resolve() == ROOT
    arguments = [value.partition("=")[0] for value in lines(f"{name}-packages", "ARG")]
    assert set(service["build"].get("args", {})) <= set(arguments)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "/tmp" in service["tmpfs"]
    assert float(service["stop_grace_period"].removesuffix("s")) >= 2 * STOPPED_WITHIN
    assert service["shm_size"] == "1gb"
    build_parser().parse_args([re.sub(r"\$\{.*:-(.*)\}", r"\1", word) for word in service["command"]])


def test_only_the_service_for_cards_asks_for_them() -> None:
    (card,) = SERVICES["cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert (card["driver"], card["capabilities"]) == ("nvidia", ["gpu"])
    assert "reservations" not in SERVICES["cpu"]["deploy"]["resources"]
    assert environment("cuda")["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert "NVIDIA_VISIBLE_DEVICES" not in environment("cpu")


@pytest.mark.parametrize(("file", "visitors"), [("nginx.conf", "location /join {"), ("Caddyfile", "/join*")])
def test_proxies_reach_the_page_and_the_visitors(file: str, visitors: str, demo: Show) -> None:
    text = (FOLDER / file).read_text()
    ports = [demo.controllers["panel"]["port"], AudienceConfig().port]
    assert sorted(map(int, re.findall(r"127\.0\.0\.1:(\d+)", text))) == ports
    assert re.search(rf"{re.escape(visitors)}[^}}]*?127\.0\.0\.1:{AudienceConfig().port}", text)
    assert re.search(r"proxy_buffering off|flush_interval -1", text), "/stream.mjpg comes frame by frame"


def test_all_of_the_visitors_page_is_where_proxies_lead_to_their_server() -> None:
    files = load_join_page()
    named = re.findall(r'(?:src|href)="([^"]+)"', bytes(files["/join"].body).decode())
    assert len(named) >= 4
    assert set(named) <= files.keys()
    assert all(path.startswith("/join") for path in files)
