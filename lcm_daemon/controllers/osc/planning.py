"""What a message moves, for the time that it waits for its time tag."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from lcm_daemon.controllers.osc.address_pattern import AddressMap
from lcm_daemon.controllers.osc.timetags import PlannedMessage
from lcm_daemon.controllers.osc_protocol.aliases import Alias
from lcm_daemon.core.osc_names import ROOT

PANIC = "panic"


class Planner:
    """Plans messages for one table of parameters and its aliases.

    Args:
        parameters: Names of the parameters.
        aliases: Aliases by address.
    """

    def __init__(self, parameters: Collection[str], aliases: Mapping[str, Sequence[Alias]]) -> None:
        self._parameters, self._aliases = parameters, aliases
        addresses = {ROOT + name: name for name in parameters}
        self._names = AddressMap(addresses, addresses)

    def plan(self, message: bytes) -> list[PlannedMessage]:
        """Return the messages that stand for a message while it waits: for a pattern, one for each parameter.

        A newer move of one parameter then cancels that one only. A panic must not wait, so nothing is planned for it.
        """
        end = message.index(0)
        address = message[:end].decode("ascii")
        targets = [alias.to for alias in self._aliases.get(address, ())] or [address.removeprefix(ROOT)]
        if PANIC in targets:
            return []
        if address in self._aliases:
            return [PlannedMessage(message, [name for name in targets if name in self._parameters])]
        names = self._names.find(address)
        if not names or targets[0] in self._parameters:
            return [PlannedMessage(message, names)]
        arguments = message[_padded(end + 1):]
        return [PlannedMessage(_encoded(ROOT + name) + arguments, [name]) for name in names]


def _encoded(address: str) -> bytes:
    text = address.encode("ascii")
    return text.ljust(_padded(len(text) + 1), b"\0")


def _padded(size: int) -> int:
    return size + 3 & ~3
