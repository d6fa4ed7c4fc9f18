"""The show's section `network`: its keys and how they are read."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from lcm_daemon.controllers.allowlist import NETWORK
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.render_size import MAX_SIDE, MIN_SIDE, SIDE_STEP
from lcm_daemon.core.schema import Custom, Field, Fields, Items, PixelSize, Text

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
}
