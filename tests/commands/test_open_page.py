"""`lcm-daemon run --open`: when the page is opened, and when it is not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lcm_daemon.cli import build_parser
from lcm_daemon.commands import open_page as module
from lcm_daemon.commands.open_page import has_display, open_page
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show
from tests.rigs.daemon import free_port, wait_for


def load(folder: Path, panel: str) -> Show:
    file = folder / "show.yaml"
    file.write_text(f"recipe: passthrough\npanel: {panel}\n")
    return load_show(file, environment={})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the browser was called with."""
    addresses: list[str] = []
    monkeypatch.setattr(module.webbrowser, "open", lambda address: not addresses.append(address))
    monkeypatch.setenv("DISPLAY", ":99")
    return addresses


def test_it_is_opened_once_the_server_answers(tmp_path: Path, opened: list[str]) -> None:
    port = free_port()
    open_page(load(tmp_path, f"{{host: 0.0.0.0, port: {port}}}"))
    assert opened == []
    with socket.create_server(("127.0.0.1", port)):
        wait_for(lambda: opened, what="the browser's start")
    assert opened == [f"http://127.0.0.1:{port}"]


def test_a_server_that_never_answers_is_a_line(
        tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    open_page(load(tmp_path, f"{{port: {free_port()}}}"))
    wait_for(lambda: "did not answer" in caplog.text)
    assert opened == []


@pytest.mark.parametrize("panel", ["false", "{port: 0}"])
def test_a_show_without_a_page(tmp_path: Path, opened: list[str], caplog: pytest.LogCaptureFixture, panel: str) -> None:
    open_page(load(tmp_path, panel))
    assert "the show has no page" in caplog.text


def test_a_session_without_a_display(
        tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    open_page(load(tmp_path, "{port: 8225}"))
    assert "no display; the page is at http://127.0.0.1:8225" in caplog.text
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert has_display()


def test_the_option() -> None:
    parser = build_parser()
    assert parser.parse_args(["run", "--open"]).open
    assert not parser.parse_args(["run"]).open
