"""Live: every parameter of a running daemon, asked for at its panel's `/health`, as `list parameters --live` has it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError

PATIENCE = 5.0  # seconds
WIDEST = 48  # characters of a cell; a prompt may have 2,000
LONGEST = 1 << 20  # bytes of an answer

HEAD = ("PARAMETER", "BASE VALUE", "VALUE IN FORCE", "SET BY")


def list_live(host: str, port: int) -> list[str]:
    """The table, line by line. Raises LcmDaemonError where no daemon answers there."""
    rows = [(name, _cell(row["base"]), _cell(row["value"]), row["by"]) for name, row in _ask(host, port).items()]
    return tabulate([HEAD, *rows])


def tabulate(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells, as lines in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _ask(host: str, port: int) -> dict[str, dict[str, Any]]:
    address = f"http://{host}:{port}/health"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the daemon is never behind a proxy
    try:
        with direct.open(address, timeout=PATIENCE) as answer:
            found: dict[str, dict[str, Any]] = json.loads(answer.read(LONGEST))["live"]
            return found
    except urllib.error.HTTPError as error:
        raise LcmDaemonError(f"{address} answers {error.code} {error.reason}; --host and --port say where the daemon's "
                             "panel is") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise LcmDaemonError(f"no daemon answers at {address} ({reason}): is one running with its panel on? --host and "
                             "--port say where") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LcmDaemonError(f"what answers at {address} is no lcm-daemon of this version") from error


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= WIDEST else f"{text[:WIDEST - 3]}..."
