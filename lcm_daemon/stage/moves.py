"""Moves: commands that set a parameter to what only the stage can tell: relative moves, and prompts of the bank."""

from __future__ import annotations

from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.stage.prompt_bank import PromptBank


class Moves:
    """Carries out the commands `adjust` and `toggle`, and those of the bank of prompts.

    Args:
        parameters: The live values.
        refusals: What is refused.
        bank: The show's bank of prompts.
    """

    def __init__(self, parameters: Parameters, refusals: Refusals, bank: PromptBank) -> None:
        self._parameters, self._refusals, self._bank = parameters, refusals, bank

    def execute(self, request: CommandRequest, now: float) -> list[Change]:
        """Carry out a command at `now` (monotonic seconds); return the parameter that changed.

        The new value is reported to all controllers, also to the one that asked: it does not know the value.
        """
        try:
            if request.name in ("prompts/store", "prompts/clear"):
                self._change_bank(request)
                return []
            name, value = self._target(request)
        except Refused as refusal:
            self._refusals.add("desk/refused", request.origin, f"{request.name}: {refusal}")
            return []
        return [Change(name, self._parameters.set(name, value, now, request.origin), request.name)]

    def _target(self, request: CommandRequest) -> tuple[str, Value]:
        """The parameter and its new value. Raises Refused."""
        if request.name == "prompts/play":
            return "prompt", self._bank.text(request.arguments[0])
        name = str(request.arguments[0])
        parameter = self._parameters.table.get(name)
        if parameter is None:
            raise Refused(f"no parameter {name!r:.80}")
        here = self._parameters.targets()[name]
        if request.name == "adjust":
            return name, parameter.moved(here, float(request.arguments[1]))
        return name, parameter.toggled(here)

    def _change_bank(self, request: CommandRequest) -> None:
        """Raises Refused."""
        if request.name == "prompts/clear":
            self._bank.clear(request.arguments[0])
        else:
            number, *given = request.arguments
            self._bank.store(number, str(given[0] if given else self._parameters.targets()["prompt"]))
