"""ServerConfig: what an audience server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field

from lcm_daemon.audience.messages import Kept
from lcm_daemon.core.network import NO_POLICY, NetworkPolicy
from lcm_daemon.processes.socket_transfer import NONE_PASSED, Passed
from lcm_daemon.shows.audience import AudienceConfig


@dataclass(frozen=True)
class ServerConfig:
    """Picklable. Everything that changes while a show plays comes as a message: the table, commands.

    Attributes:
        show: The show's name.
        audience: The show's section `audience`.
        network: Who may reach the server, under which names, and its certificate; as for the page.
        kept: What an earlier server knew; None for none. It is restored before the server listens, so that no visitor
            who connects again is unknown.
        sockets: Those that an earlier server has listened on.
    """

    show: str
    audience: AudienceConfig = field(default_factory=AudienceConfig)
    network: NetworkPolicy = NO_POLICY
    kept: Kept | None = field(default=None, repr=False)
    sockets: Passed = NONE_PASSED
