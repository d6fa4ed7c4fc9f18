"""SourceTable: the sources that a running show can change to, by name.

A name may come from the network. It is looked up: in the show's `sources`, or by the transport among what the transport
lists. It is never opened as a path, so files are reached through `sources` only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.parameters import Refused
from lcm_daemon.core.plugins import PluginError
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.transports import TRANSPORTS, load
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.endpoint import EndpointConfig

OWN = "show"  # name of the source that the show starts with
PAGE = "browser"  # name of the page's camera or screen, in every show

_LISTED = re.compile(r"(\w+)(?:\s*:\s*|\s+|$)(.*)", re.DOTALL)  # "ndi CAM 1", or "ndi: CAM 1" as `list sources` prints


def split_listed(name: str) -> tuple[str, str]:
    """Transport and label of a name such as "ndi CAM 1"."""
    match = _LISTED.fullmatch(name.strip())
    return (match[1].lower(), match[2].strip()) if match else ("", "")


def _listed_source(transport: str) -> type[Source] | None:
    try:
        source = load(transport).source if transport in TRANSPORTS else None
    except PluginError:  # `check` says so where a show names it
        return None
    return source if source is not None and source.is_listed else None


def source_problem(name: str, named: Collection[str]) -> str:
    """Why no source can have this name; empty if one may. named: the names of the show's `sources`."""
    transport, label = split_listed(name)
    if name in (OWN, PAGE) or name in named or (_listed_source(transport) is not None):
        return ""
    if transport in TRANSPORTS and label:
        return f"a source of the transport {transport} needs an entry in `sources`"
    return f"no source {name!r:.80}{nearest(name, [*named, OWN])}, and a transport with a name, such as 'ndi CAM 1'"


@dataclass(frozen=True)
class SourceTable:
    """What one of a show's two sources can be changed to.

    Attributes:
        own: what the show starts with; None for none.
        named: the show's `sources`.
    """

    own: EndpointConfig | None = None
    named: Mapping[str, EndpointConfig] = field(default_factory=dict)

    def problem(self, name: str) -> str:
        """Why no source can have this name; empty if one may. Quick: no transport is asked."""
        return source_problem(name, self.named)

    def find(self, name: str) -> EndpointConfig | None:
        """The source of this name; None for the show's own where it has none. May take seconds: a transport may look.

        Raises:
            Refused: the name is not known.
            TransportError: the transport cannot look.
        """
        if name == OWN:
            return self.own
        if name in self.named:
            return self.named[name]
        if problem := self.problem(name):
            raise Refused(problem)
        transport, label = split_listed(name)
        source = _listed_source(transport)
        assert source is not None
        options = source.listed_options(label)
        if options is None:
            raise TransportError(f"{transport}: no source is listed as {label!r:.80}")
        return EndpointConfig(transport, options)
