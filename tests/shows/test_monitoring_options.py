"""The sections `log`, `crash_reports` and `alarms` of a show."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.document import DocumentError
from lcm_daemon.shows.alarm_options import AlarmOptions
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.unattended import Unattended


def read(tmp_path: Path, text: str) -> Unattended:
    (tmp_path / "show.yaml").write_text(f"recipe: passthrough\n{text}\n")
    return load_show(tmp_path / "show.yaml", environment={}).unattended


def mistakes(tmp_path: Path, text: str) -> str:
    with pytest.raises(DocumentError) as found:
        read(tmp_path, text)
    return str(found.value)


def test_a_show_that_says_nothing(tmp_path: Path) -> None:
    found = read(tmp_path, "")
    assert (found.log.file, found.log.format, found.crash_reports.keep, found.crash_reports.prompts) == (
        "", "text", 20, False)
    assert found.alarms is None
    assert read(tmp_path, "alarms: false").alarms is read(tmp_path, "alarms: {after: 3}").alarms is None


def test_a_log_file_is_beside_the_show(tmp_path: Path) -> None:
    found = read(tmp_path, "log: {file: logs/show.log, size: 2.5, keep: 3, format: json}").log
    assert (found.file, found.size, found.keep, found.format) == (
        str(tmp_path / "logs" / "show.log"), 2_500_000, 3, "json")


def test_receivers_of_alarms(tmp_path: Path) -> None:
    found = read(tmp_path, """alarms:
  osc: ["10.0.0.5:9001", "lights.local:8000"]
  webhook: https://chat.example/T0KEN
  command: logger -t "the mirror"
  repeat: 0""").alarms
    assert found == AlarmOptions((("10.0.0.5", 9001), ("lights.local", 8000)), ("https://chat.example/T0KEN",),
                                 ("logger", "-t", "the mirror"), repeat=0.0)


def test_every_mistake_has_its_place_and_no_secret(tmp_path: Path) -> None:
    text = mistakes(tmp_path, """log: {format: xml, sise: 3, keep: -1}
crash_reports: {prompts: maybe}
alarms: {osc: here, webhook: "ftp://user:T0KEN@chat.example", command: 'a "b', after: -1}""")
    for place in (":2:15: ", ":2:20: ", ":2:35: ", ":3:26: ", ":4:15: ", ":4:30: ", ":4:72: ", ":4:87: "):
        assert place in text, f"{place} in\n{text}"
    assert "T0KEN" not in text


@pytest.mark.parametrize("address", ["chat.example", "http://", "https://a b", "http://a:0", "http://[::1", "", "[[]]"])
def test_addresses_that_are_no_webhooks(tmp_path: Path, address: str) -> None:
    assert ":2:" in mistakes(tmp_path, f"alarms: {{webhook: {address!r}}}" if address != "[[]]" else
                             "alarms: {webhook: [[]]}")


@pytest.mark.parametrize("command", ["[]", '""', "['']", "[[a]]", "{a: b}"])
def test_what_is_no_command(tmp_path: Path, command: str) -> None:
    assert ":2:" in mistakes(tmp_path, f"alarms: {{command: {command}}}")


@pytest.mark.parametrize("section", [
    "log: false", "log: 3", "log: {file: show.yaml}", "log: {file: [a]}", "crash_reports: []", "crash_reports: on",
    "alarms: 7"])
def test_a_section_of_another_kind(tmp_path: Path, section: str) -> None:
    assert ":2:" in mistakes(tmp_path, section)
