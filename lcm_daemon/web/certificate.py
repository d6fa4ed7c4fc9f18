"""The certificate of the page's server: that of the show, or a self-signed one that is made on the spot."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration
from lcm_daemon.core.local_addresses import host_names, network_addresses
from lcm_daemon.core.network import NetworkPolicy

CHECK_SECONDS = 60.0  # between two calls of `ServerCertificate.renew` while a server runs


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class ServerCertificate:
    """The certificate of a server, and the TLS context that it is loaded into. Its methods read and write files.

    Args:
        policy: The show's section `network`; its `tls` must be set.
        folder: Where a certificate that is made on the spot is kept.
        addresses: Returns this machine's addresses in the network.
        now: The date, in UTC.

    Raises:
        LcmDaemonError: A file is missing or wrong, or cannot be written.
    """

    def __init__(
        self, policy: NetworkPolicy, folder: Path, addresses: Callable[[], Sequence[str]] = network_addresses,
        now: Callable[[], datetime.datetime] = _now,
    ) -> None:
        assert policy.tls is not None
        self._names, self._addresses, self._now = ["localhost", *host_names(), *policy.hosts], addresses, now
        self.is_made_here = policy.tls.is_made_here
        made = folder / "tls-certificate.pem", folder / "tls-key.pem"
        given = Path(policy.tls.certificate), Path(policy.tls.key)
        self.certificate, self.key = made if self.is_made_here else given
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.renew():
            self._load()

    def renew(self) -> bool:
        """Make another certificate if the present one was made here and expires soon or lacks an address.

        Returns whether it did; new connections then use it.
        """
        if not self.is_made_here:
            return False
        try:
            from lcm_daemon.web import self_signed
        except ImportError as error:
            raise MissingIntegration("network.tls", "the package cryptography is not installed",
                                     'pip install "lcm-daemon[tls]"') from error
        hosts, now = list(dict.fromkeys([*self._names, "127.0.0.1", "::1", *self._addresses()])), self._now()
        if self_signed.is_good(self.certificate, self.key, hosts, now):
            return False
        try:
            self_signed.make_certificate(self.certificate, self.key, hosts, now)
        except OSError as error:
            raise LcmDaemonError(f"network.tls: the certificate cannot be written: {error}") from error
        self._load()
        return True

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(self.certificate, self.key, password="")  # else it would ask the terminal
        except OSError as error:  # ssl.SSLError is one
            reason = getattr(error, "reason", None) or error.strerror or error
            raise LcmDaemonError(
                f"network.tls: {self.certificate} and {self.key} cannot be used: {reason}") from error
