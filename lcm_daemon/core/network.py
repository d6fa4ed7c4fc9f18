"""NetworkPolicy: who may reach the daemon's servers, and under which names."""

from __future__ import annotations

from dataclasses import dataclass

from lcm_daemon.core.frame import Size


@dataclass(frozen=True)
class NetworkPolicy:
    """The show's section `network`. It holds for the page, OSCQuery, and OSC over UDP and TCP.

    Attributes:
        allow: addresses and networks that may use the servers; an empty list allows all.
        hosts: names of this machine in HTTP requests, beside its own; lower case, without port.
        origins: origins of pages that may use the web servers, such as "https://example.org".
        embed: origins of pages that may show the stream, the frame or the page inside them; "*" is every page.
        max_size: the largest size, in pixels, that a controller may ask for; None for what models can render.
    """

    allow: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    embed: tuple[str, ...] = ()
    max_size: Size | None = None

    def embeds(self, origin: str) -> bool:
        """Whether pages of this origin may embed frames."""
        return "*" in self.embed or origin in self.embed


NO_POLICY = NetworkPolicy()  # of a show without the section
