"""The engines of a daemon that runs on this machine, for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lcm_daemon.commands.health import PANEL_PORT
from lcm_daemon.commands.panel_answer import read_health
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.reader import load_show

HOST = "127.0.0.1"


def running_engines(show: str | None) -> Iterator[tuple[str, bool, str]]:
    """A row for each engine: its name, whether it renders, and where, how fast and with what memory.

    Without a daemon there are none.

    show: Name or file of the show that it plays, which says the port of its panel; None for the usual one.
    """
    try:
        panel = load_show(show).controllers["panel"] if show else {"port": PANEL_PORT}
        rows = read_health(HOST, panel["port"]).get("engines", ()) if panel and panel["port"] else ()
    except LcmDaemonError:
        return
    for row in rows:
        yield str(row.get("name")), row.get("state") == "rendering", describe_engine(row)


def describe_engine(row: Mapping[str, Any]) -> str:
    """A row of the list `engines` in one line."""
    where = " on ".join(part for part in (row.get("device"), row.get("node")) if part)
    if row.get("state") != "rendering":
        return ": ".join(part for part in (where, str(row.get("state"))) if part)
    parts = [where, f"{row.get('fps', 0.0):.1f} frames/s", f"{row.get('latency', 0.0):.1f} ms", row.get("memory")]
    return ", ".join(part for part in parts if part)
