"""The service files say what their systems read, and ask for what the daemon does."""

from __future__ import annotations

import configparser
import plistlib
from pathlib import Path

from lcm_daemon.cli import build_parser
from lcm_daemon.stage.systemd_notify import WATCHDOG_INTERVAL

FOLDER = Path(__file__).parents[2] / "examples" / "deploy"


def test_the_service_waits_for_several_signs_of_life_and_for_an_orderly_end() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(FOLDER / "lcm-daemon@.service")
    service = unit["Service"]
    assert (service["Type"], service["Restart"]) == ("notify", "always")
    assert float(service["WatchdogSec"]) >= 5 * WATCHDOG_INTERVAL
    assert float(service["TimeoutStopSec"]) >= 5.0
    program, *words = service["ExecStart"].split()
    assert Path(program).name == "lcm-daemon"
    assert build_parser().parse_args(words).show == "/etc/lcm-daemon/%i.yaml"
    assert service["StateDirectory"] == "lcm-daemon", "systemd names it to the daemon, which keeps its look there"


def test_the_property_list_is_one() -> None:
    found = plistlib.loads((FOLDER / "lcm-daemon.plist").read_bytes())
    program, *words = found["ProgramArguments"]
    assert Path(program).name == "lcm-daemon"
    assert words[0] == "run"
    assert build_parser().parse_args(words).show == "/Users/show/mirror.yaml"
    assert found["KeepAlive"] is True


def test_the_screen_waits_for_the_daemon_and_shows_its_output() -> None:
    text = (FOLDER / "lcm-screen.service").read_text()
    assert "Environment=SCREEN_URL=http://127.0.0.1:8000/output\n" in text
    assert "--blank 0" in text, "the console does not go blank"
    assert text.index("ExecStartPre=/bin/sh -c 'until curl") < text.index("ExecStart=/usr/bin/cage")
    assert "--kiosk" in text
    assert "Restart=always" in text
