"""The show's section `network`: its keys and how they are read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from lcm_daemon.controllers.allowlist import NETWORK, networks_of
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.network import AUTO, NONE, PLAY, VIEW, AccessPolicy, NetworkPolicy, TlsPolicy
from lcm_daemon.core.render_size import MAX_SIDE, MIN_SIDE, SIDE_STEP
from lcm_daemon.core.schema import (
    Boolean,
    Choice,
    Custom,
    Field,
    Fields,
    Items,
    OrFalse,
    PathText,
    PixelSize,
    Section,
    Text,
    defaults,
)
from lcm_daemon.core.schema_shapes import Either
from lcm_daemon.web.pin import MAX_LENGTH, MIN_LENGTH, is_hash, is_pin

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _read_host_name(node: Node, problems: Problems) -> str | None:
    text: str | None = Text().read(node, problems)
    if text is None:
        return None
    name = text.lower()
    if not _NAME.fullmatch(name):
        problems.add(node, f"{text!r:.80} is not {HOST_NAME.describe()}")
        return None
    return name.rstrip(".")


def read_origin(text: str, path: bool = False) -> str | None:
    """An origin as browsers write it (RFC 6454: scheme, host, port if it is not the scheme's own).

    Args:
        text: An origin, or a URL if `path` is true.
        path: Whether a path and a query may follow; they are dropped.

    Returns:
        The origin, or None if the text is none.
    """
    try:
        parts = urlsplit(text.lower())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        return None
    if not path and (parts.path.strip("/") or parts.query or parts.fragment):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[parts.scheme] else "")


def _read_origin(node: Node, problems: Problems) -> str | None:
    text = Text().read(node, problems)
    origin = read_origin(text) if text is not None else None
    if text is not None and origin is None:
        problems.add(node, f"{text!r:.80} is not {ORIGIN.describe()}")
    return origin


def _read_embedder(node: Node, problems: Problems) -> str | None:
    return "*" if node.raw.value == "*" else _read_origin(node, problems)


HOST_NAME = Custom(_read_host_name, "a host name without port, such as lcm.lan")
ORIGIN = Custom(_read_origin, "the origin of a page, such as https://example.org or http://10.0.0.5:8080")
EMBEDDER = Custom(_read_embedder, 'the origin of a page, such as https://example.org, or "*" for every page')


def _read_ndi_server(node: Node, problems: Problems) -> str | None:
    text: str | None = Text().read(node, problems)
    host, colon, port = (text or "").strip().partition(":")
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        host = ""
    if text is not None and (not host or (colon and not (port.isdecimal() and 0 < int(port[:6]) < 65536))):
        problems.add(node, f"{text!r:.80} is not {NDI_SERVER.describe()}")
        return None
    return None if text is None else text.strip()


NDI_SERVER = Custom(_read_ndi_server, "the address of an NDI Discovery Server, such as 10.0.0.5 or 10.0.0.5:5959")


def _read_pin(node: Node, problems: Problems) -> str | None:
    text: str | None = Text().read(node, problems)
    if text is not None and not is_pin(text) and not is_hash(text):
        problems.add(node, f"this is not {PIN.describe()}")  # the pin itself belongs in no log
        return None
    return text


PIN = Custom(
    _read_pin, f"a pin of {MIN_LENGTH} to {MAX_LENGTH} characters, or a hash that `lcm-daemon pin` prints", Text())

ACCESS_FIELDS: Fields = {
    "pin": Field(PIN, "", "what others enter to play; without it, all that may connect play"),
    "others": Field(Choice((VIEW, NONE, PLAY)), VIEW, "what clients without the pin may do: look, nothing, everything"),
    "local_pin": Field(Boolean(), False, "ask programs on this machine for the pin too; needed behind a reverse proxy"),
}
_TLS_FIELDS: Fields = {
    "certificate": Field(PathText(), help="a file with the certificate, and those between it and its root (PEM)"),
    "key": Field(PathText(), help="the file with its private key (PEM)"),
}


def _read_access(node: Node, problems: Problems) -> AccessPolicy:
    return AccessPolicy(**(Section(ACCESS_FIELDS).read(node, problems) or defaults(ACCESS_FIELDS)))


def _read_tls(node: Node, problems: Problems) -> TlsPolicy | None:
    if node.raw.value == AUTO:
        return TlsPolicy(AUTO)
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, f"{node.value!r:.80} is not {TLS.describe()}")
        return None
    found = Section(_TLS_FIELDS).read(node, problems)
    return TlsPolicy(**found) if found and all(found.values()) else None


ACCESS = Custom(_read_access, f"a mapping with the keys {', '.join(ACCESS_FIELDS)}", Section(ACCESS_FIELDS))
TLS = Custom(_read_tls, f"{AUTO}, or a mapping with the keys {' and '.join(_TLS_FIELDS)}",
             Either((Choice((AUTO,)), Section(_TLS_FIELDS))))

NETWORK_FIELDS: Fields = {
    "allow": Field(Items(NETWORK), (), "addresses and networks that may use the page, OSCQuery and OSC; an empty list "
                                       "allows all. Programs on this machine need localhost in the list"),
    "hosts": Field(Items(HOST_NAME), (), "names under which browsers reach this machine, beside its own host name"),
    "origins": Field(Items(ORIGIN), (), "origins of other pages that may use the page's server and OSCQuery"),
    "embed": Field(Items(EMBEDDER), (), "origins of pages that may show /stream.mjpg, /frame.jpg or the page inside "
                                        'them; "*" for every page'),
    "max_size": Field(PixelSize(MIN_SIDE, MAX_SIDE, SIDE_STEP), None,
                      "the largest size to render, [width, height], that a controller may ask for with `size` or "
                      "with the name of a recipe that comes with the package"),
    "access": Field(ACCESS, AccessPolicy(), "who may play through the page and OSCQuery"),
    "proxies": Field(Items(NETWORK), (), "addresses of reverse proxies: what they forward counts as sent by the client "
                                         "that they name in X-Forwarded-For"),
    "tls": Field(OrFalse(TLS), None, "serve the page by https: `auto` makes a certificate, or name your own files"),
    "ndi_discovery": Field(Items(NDI_SERVER), (), "addresses of NDI Discovery Servers, for senders and sources of NDI; "
                                                  "without it those of the machine's ndi-config.v1.json"),
}


def network_policy(found: Mapping[str, Any], base: Path) -> NetworkPolicy:
    """The policy of a show whose section `network` has these values; paths in it start from the folder `base`."""
    tls: TlsPolicy | None = found["tls"]
    if tls is not None and not tls.is_made_here:
        certificate, key = (str(base / Path(path).expanduser()) for path in (tls.certificate, tls.key))
        tls = TlsPolicy(certificate, key)
    proxies = tuple(str(network) for text in found["proxies"] for network in networks_of(text))
    return NetworkPolicy(**{**found, "tls": tls, "proxies": proxies})
