"""ServerConfig: what an audience server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field

from lcm_daemon.core.network import NO_POLICY, NetworkPolicy
from lcm_daemon.shows.audience import AudienceConfig


@dataclass(frozen=True)
class ServerConfig:
    """Picklable. Everything that changes while a show plays comes as a message: the table, what is kept, commands.

    Attributes:
        show: The show's name.
        audience: The show's section `audience`.
        network: Who may reach the server, under which names, and its certificate; as for the page.
    """

    show: str
    audience: AudienceConfig = field(default_factory=AudienceConfig)
    network: NetworkPolicy = NO_POLICY
