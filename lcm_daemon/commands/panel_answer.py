"""What a running daemon's panel answers at `/health`, for commands that ask it."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError

REQUEST_TIMEOUT = 5.0  # seconds
MAX_RESPONSE = 1 << 20  # bytes


class NoEntryError(LcmDaemonError):
    """The panel answers, but it does not let this program see its status."""


def read_health(host: str, port: int) -> dict[str, Any]:
    """Return what `/health` of a panel says: at least `status`, `live` and `without_effect`.

    Args:
        host: Host name or IP address of the panel.
        port: Its port. The panel may speak http or https.

    Raises:
        NoEntryError: The panel asks for the pin, or does not allow this address.
        LcmDaemonError: No daemon answers there; its text is one line.
    """
    address = f"{f'[{host}]' if ':' in host else host}:{port}/health"
    try:
        return _fetch(f"http://{address}")
    except _SpeaksTlsError:
        return _fetch(f"https://{address}")


class _SpeaksTlsError(LcmDaemonError):
    """The connection ended at the first words of http."""


def _fetch(address: str) -> dict[str, Any]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # `tls: auto`; nothing secret is sent
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))  # never through a proxy
    try:
        with opener.open(address, timeout=REQUEST_TIMEOUT) as response:
            health = json.loads(response.read(MAX_RESPONSE))
            if not all(isinstance(health[key], dict) for key in ("status", "live", "without_effect")):
                raise TypeError("not objects")
            return dict(health)
    except urllib.error.HTTPError as error:
        kind = NoEntryError if error.code in (401, 403) else LcmDaemonError
        raise kind(f"{address}: the answer is {error.code} {error.reason}; set --host and --port to those of the "
                   "daemon's panel") from error
    except (OSError, http.client.HTTPException) as error:  # the latter for an answer that is not http
        reason = getattr(error, "reason", error)
        if address.startswith("http:") and isinstance(reason, ConnectionResetError | http.client.HTTPException):
            raise _SpeaksTlsError(str(reason)) from error
        raise LcmDaemonError(f"{address}: no daemon answers ({reason}); start one with its panel on, or set --host and "
                             "--port") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LcmDaemonError(f"{address}: the answer is not that of an lcm-daemon of this version") from error
