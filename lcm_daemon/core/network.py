"""NetworkPolicy: who may reach the daemon's servers, and under which names."""

from __future__ import annotations

from dataclasses import dataclass, field

from lcm_daemon.core.frame import Size

PLAY, VIEW, NONE = "play", "view", "none"  # what a client may do: everything, look, nothing
VIEW_ONLY = "view only: enter the pin to play"  # the answer to a viewer who requests something
AUTO = "auto"  # in place of a certificate's path: one that is made on the spot


@dataclass(frozen=True)
class AccessPolicy:
    """The show's `network.access`: who may play through the web servers.

    Attributes:
        pin: The pin, or a hash of it as `lcm-daemon pin` prints it; "" asks for none, and everyone plays.
        others: What a client without the pin may do: PLAY, VIEW or NONE.
        local_pin: Whether programs on this machine need the pin too.
    """

    pin: str = field(default="", repr=False)
    others: str = VIEW
    local_pin: bool = False


@dataclass(frozen=True)
class TlsPolicy:
    """The show's `network.tls`.

    Attributes:
        certificate: Path of the certificate (PEM); AUTO for one that is made on the spot.
        key: Path of its key (PEM).
    """

    certificate: str
    key: str = ""

    @property
    def is_made_here(self) -> bool:
        """Whether this machine makes the certificate."""
        return self.certificate == AUTO


@dataclass(frozen=True)
class NetworkPolicy:
    """The show's section `network`. It holds for the page, OSCQuery, and OSC over UDP and TCP.

    Attributes:
        allow: addresses and networks that may use the servers; an empty list allows all.
        hosts: names of this machine in HTTP requests, beside its own; lower case, without port.
        origins: origins of pages that may use the web servers, such as "https://example.org".
        embed: origins of pages that may show the stream, the frame or the page inside them; "*" is every page.
        max_size: the largest size, in pixels, that a controller may ask for; None for what models can render.
        access: who may play through the web servers.
        tls: the certificate of the page's server; None for plain HTTP.
        proxies: networks of reverse proxies, whose X-Forwarded-For and X-Forwarded-Proto count.
        ndi_discovery: addresses of NDI Discovery Servers; empty for those of the machine, if it has any.
    """

    allow: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    embed: tuple[str, ...] = ()
    max_size: Size | None = None
    access: AccessPolicy = AccessPolicy()
    tls: TlsPolicy | None = None
    proxies: tuple[str, ...] = ()
    ndi_discovery: tuple[str, ...] = ()

    def embeds(self, origin: str) -> bool:
        """Whether pages of this origin may embed frames."""
        return "*" in self.embed or origin in self.embed


NO_POLICY = NetworkPolicy()  # of a show without the section
