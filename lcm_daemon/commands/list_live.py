"""`lcm-daemon list parameters --live`: every parameter of a running daemon, from `/health` of its panel."""

from __future__ import annotations

from typing import Any

from lcm_daemon.commands.output import format_table
from lcm_daemon.commands.panel_answer import read_health

MAX_CELL = 48  # characters of a cell; a prompt may have 2,000
HEADER = ("PARAMETER", "BASE VALUE", "VALUE IN FORCE", "SET BY", "NO EFFECT WHILE")


def list_live(host: str, port: int) -> list[str]:
    """Return the lines of the table. Raises LcmDaemonError if no daemon answers at this address."""
    found = read_health(host, port)
    rows = [(name, _cell(row["base"]), _cell(row["value"]), row["by"], found["without_effect"].get(name, ""))
            for name, row in found["live"].items()]
    return format_table([HEADER, *rows])


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL - 3]}..."
