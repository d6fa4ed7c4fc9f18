"""`lcm-daemon list parameters --live`: every parameter of a running daemon, from `/health` of its panel."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from lcm_daemon.commands.output import format_table
from lcm_daemon.core.errors import LcmDaemonError

REQUEST_TIMEOUT = 5.0  # seconds
MAX_CELL = 48  # characters of a cell; a prompt may have 2,000
MAX_RESPONSE = 1 << 20  # bytes
HEADER = ("PARAMETER", "BASE VALUE", "VALUE IN FORCE", "SET BY", "NO EFFECT WHILE")


def list_live(host: str, port: int) -> list[str]:
    """Return the lines of the table. Raises LcmDaemonError if no daemon answers at this address."""
    found = _fetch(host, port)
    rows = [(name, _cell(row["base"]), _cell(row["value"]), row["by"], found["without_effect"].get(name, ""))
            for name, row in found["live"].items()]
    return format_table([HEADER, *rows])


def _fetch(host: str, port: int) -> dict[str, Any]:
    """Return what the panel's `/health` says: `live`, the states of the parameters, and `without_effect`, by name."""
    address = f"http://{host}:{port}/health"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the daemon is never behind a proxy
    try:
        with opener.open(address, timeout=REQUEST_TIMEOUT) as response:
            health = json.loads(response.read(MAX_RESPONSE))
            return {"live": health["live"], "without_effect": health["without_effect"]}
    except urllib.error.HTTPError as error:
        raise LcmDaemonError(f"{address}: the answer is {error.code} {error.reason}; set --host and --port to those of "
                             "the daemon's panel") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise LcmDaemonError(f"{address}: no daemon answers ({reason}); start one with its panel on, or set --host and "
                             "--port") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LcmDaemonError(f"{address}: the answer is not that of an lcm-daemon of this version") from error


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL - 3]}..."
