"""The unit of a screen on another machine says what systemd reads. Those of shows: tests/commands/service."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples" / "deploy"


def test_the_screen_waits_for_the_daemon_and_shows_its_output() -> None:
    text = (FOLDER / "lcm-screen.service").read_text()
    assert "Environment=SCREEN_URL=http://127.0.0.1:8000/output\n" in text
    assert "--blank 0" in text, "the console does not go blank"
    assert text.index("ExecStartPre=/bin/sh -c 'until curl") < text.index("ExecStart=/usr/bin/cage")
    assert "--kiosk" in text
    assert "Restart=always" in text
    assert "StartLimitIntervalSec=0" in text
