"""Certificates: made on the spot, renewed, and those of the show."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
import sys
from pathlib import Path

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.network import NetworkPolicy, TlsPolicy
from lcm_daemon.web.certificate import ServerCertificate
from tests.conftest import need_module

NOW = datetime.datetime.now(datetime.UTC)
AUTO = NetworkPolicy(hosts=("lcm.lan",), tls=TlsPolicy("auto"))


def serve_once(certificate: ServerCertificate, host: str) -> bytes:
    """The certificate that a client that trusts nothing else accepts from `host`."""
    trusting = ssl.create_default_context(cafile=str(certificate.certificate))

    async def scenario() -> bytes:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0,
                                            ssl=certificate.context)
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=host)
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        server.close()
        return found

    return asyncio.run(scenario())


def test_a_certificate_is_made_kept_and_renewed(tmp_path: Path) -> None:
    need_module("cryptography", "cryptography")
    addresses, dates = ["10.0.0.5"], [NOW]
    made = ServerCertificate(AUTO, tmp_path / "state", lambda: addresses, lambda: dates[0])
    assert made.is_made_here
    if os.name == "posix":
        assert made.key.stat().st_mode & 0o777 == 0o600
    first = serve_once(made, "10.0.0.5")
    for host in ("localhost", "127.0.0.1", "lcm.lan", socket.gethostname().lower()):
        assert serve_once(made, host) == first
    again = ServerCertificate(AUTO, tmp_path / "state", lambda: addresses, lambda: dates[0])
    assert serve_once(again, "localhost") == first, "the next run has the same, so that browsers warn once"
    addresses[:] = []
    assert not again.renew(), "an address that is gone may come back"
    addresses[:] = ["10.0.0.6"]
    assert again.renew()
    assert (second := serve_once(again, "10.0.0.6")) != first, "new connections use it"
    dates[0] += datetime.timedelta(days=380)
    assert again.renew()
    assert again.certificate.read_bytes() != second
    again.certificate.write_text("damaged")
    assert again.renew()
    other = ServerCertificate(AUTO, tmp_path / "other", lambda: addresses)
    again.key.write_bytes(other.key.read_bytes())  # as after a power cut between the two files
    assert again.renew()
    assert not again.renew()


def test_files_of_the_show(tmp_path: Path) -> None:
    need_module("cryptography", "cryptography")
    made = ServerCertificate(AUTO, tmp_path, list)
    given = NetworkPolicy(tls=TlsPolicy(str(made.certificate), str(made.key)))
    assert not ServerCertificate(given, tmp_path / "other").renew()
    absent = NetworkPolicy(tls=TlsPolicy(str(tmp_path / "a.pem"), str(made.key)))
    with pytest.raises(LcmDaemonError, match=r"network.tls: .*a.pem and .* cannot be used: No such file"):
        ServerCertificate(absent, tmp_path)
    swapped = NetworkPolicy(tls=TlsPolicy(str(made.key), str(made.certificate)))
    with pytest.raises(LcmDaemonError, match=r"network.tls: .* cannot be used: "):
        ServerCertificate(swapped, tmp_path)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("lcm_daemon.web.self_signed", raising=False)
    monkeypatch.setitem(sys.modules, "lcm_daemon.web.self_signed", None)
    with pytest.raises(LcmDaemonError, match=r'install it with: pip install "lcm-daemon\[tls\]"'):
        ServerCertificate(AUTO, tmp_path)
