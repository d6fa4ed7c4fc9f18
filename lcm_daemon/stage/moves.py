"""Moves: commands that set a parameter to what only the stage can tell: relative moves, and the bank of prompts."""

from __future__ import annotations

from collections.abc import Sequence

from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import Change, CommandRequest


class Moves:
    """Carries out the commands `adjust`, `toggle` and `prompts/play`.

    Args:
        parameters: The live values.
        refusals: What is refused.
        prompts: The show's bank of prompts.
    """

    def __init__(self, parameters: Parameters, refusals: Refusals, prompts: Sequence[str]) -> None:
        self._parameters, self._refusals, self._prompts = parameters, refusals, prompts

    def execute(self, request: CommandRequest, now: float) -> list[Change]:
        """Carry out a command at `now` (monotonic seconds); return the parameter that changed.

        The new value is reported to all controllers, also to the one that asked: it does not know the value.
        """
        try:
            name, value = self._target(request)
        except Refused as refusal:
            self._refusals.add("desk/refused", request.origin, f"{request.name}: {refusal}")
            return []
        return [Change(name, self._parameters.set(name, value, now, request.origin), request.name)]

    def _target(self, request: CommandRequest) -> tuple[str, Value]:
        """The parameter and its new value. Raises Refused."""
        if request.name == "prompts/play":
            return "prompt", self._prompt(request.arguments[0])
        name = str(request.arguments[0])
        parameter = self._parameters.table.get(name)
        if parameter is None:
            raise Refused(f"no parameter {name!r:.80}")
        here = self._parameters.targets()[name]
        if request.name == "adjust":
            return name, parameter.moved(here, float(request.arguments[1]))
        return name, parameter.toggled(here)

    def _prompt(self, number: Value) -> str:
        if not self._prompts:
            raise Refused("the show has no prompts")
        if number not in range(1, len(self._prompts) + 1):
            raise Refused(f"no prompt {number:g}; the show has 1 to {len(self._prompts)}")
        return self._prompts[int(number) - 1]
