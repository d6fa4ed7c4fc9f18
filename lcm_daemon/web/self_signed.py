"""Self-signed certificates. Only this file imports `cryptography`; it is imported when a show asks for one."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lcm_daemon.core.atomic_file import write_atomically

VALID = datetime.timedelta(days=397)  # the most that browsers accept
RENEW = datetime.timedelta(days=30)  # before it expires
_CLOCK_SKEW = datetime.timedelta(days=1)  # devices whose clock is behind accept it too
_NAME = "lcm-daemon"


def is_good(certificate: Path, key: Path, hosts: Sequence[str], now: datetime.datetime) -> bool:
    """Whether both files belong together, and the certificate is valid for RENEW longer and names all of `hosts`."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        entries = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    named = {*entries.get_values_for_type(x509.DNSName), *map(str, entries.get_values_for_type(x509.IPAddress))}
    is_valid = found.not_valid_before_utc <= now < found.not_valid_after_utc - RENEW
    return is_valid and private.public_key() == found.public_key() and named.issuperset(hosts)


def make_certificate(certificate: Path, key: Path, hosts: Sequence[str], now: datetime.datetime) -> None:
    """Write a self-signed certificate, and its key, which only the user may read.

    Args:
        certificate: Its file (PEM).
        key: The key's file (PEM).
        hosts: Names and addresses that it is for.
        now: The date, in UTC.

    Raises:
        OSError: A file cannot be written.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    built = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(private.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - _CLOCK_SKEW).not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(list(map(_entry, hosts))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    _write_private(key, private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    write_atomically(certificate, built.public_bytes(serialization.Encoding.PEM))


def _entry(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_private(path: Path, content: bytes) -> None:
    """Replace a file that only the user may read, also while it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
