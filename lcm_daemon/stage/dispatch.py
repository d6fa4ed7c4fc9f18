"""Dispatch: carries out what controllers request."""

from __future__ import annotations

from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.recipes.state import ChangeEnd, Outcome
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.inputs import Inputs
from lcm_daemon.stage.moves import Moves
from lcm_daemon.stage.outputs import Outputs


class Dispatch:
    """Applies changes of parameters, and carries out commands: its own, and through `automation` all others."""

    def __init__(
        self, show: Show, parameters: Parameters, automation: Automation, switcher: RecipeSwitcher, inputs: Inputs,
        outputs: Outputs,
    ) -> None:
        self._parameters, self._automation, self._switcher = parameters, automation, switcher
        self._inputs, self._outputs = inputs, outputs
        self._moves = Moves(parameters, automation.refusals, show.prompts)
        self._too_large = show.too_large_recipes()
        self._asked_by = ""  # who asked for the last change of recipe or size

    def execute(self, request: Change | CommandRequest, now: float) -> list[Change]:
        """Carry out one request at `now` (monotonic seconds); return the parameters that changed."""
        if isinstance(request, Change):
            return self._set(request, now)
        match request.name:
            case "panic":
                return self._panic(request, now)
            case "recipe":
                self._change_recipe(str(request.arguments[0]), request.origin)
                return []
            case "size":
                width, height = request.arguments
                self._switcher.resize(int(width), int(height))
                self._asked_by = request.origin
                return []
            case "adjust" | "toggle" | "prompts/play":
                return self._moves.execute(request, now)
            case "source" | "guide":
                self._inputs.change(request.name, str(request.arguments[0]), request.origin, now)
                return []
            case "record/start" | "record/stop":
                self._outputs.record(request.name == "record/start", request.origin)
                return []
            case name if name.startswith("sink/"):
                self._outputs.switch(name.removeprefix("sink/"), bool(request.arguments[0]))
                return []
            case _:
                return self._automation.execute(request, now)

    def _set(self, change: Change, now: float) -> list[Change]:
        if change.name not in self._parameters.table:  # its recipe was changed after the request
            return []
        value = self._parameters.move(change.name, change.value, now, change.origin)
        return [] if value is None else [Change(change.name, value, change.origin)]

    def _change_recipe(self, name: str, origin: str) -> None:
        if name in self._too_large:
            width, height = self._too_large[name]
            reason = f"it renders {width}x{height}, more than the show's network.max_size allows"
            self._switcher.refusals.add("recipe/refused", origin, f"recipe {name}: {reason}; the recipe stays as it is")
            return
        self._switcher.change(name)
        self._asked_by = origin

    def on_change_end(self, end: ChangeEnd) -> None:
        """A change of recipe or size has ended: report it to the one who asked for it if it has failed."""
        if end.outcome is Outcome.FAILED:
            self._automation.refusals.report(self._asked_by, f"recipe {end.variant.name}: {end.reason}")

    def _panic(self, request: CommandRequest, now: float) -> list[Change]:
        self._automation.panic()
        self._inputs.cancel()
        self._switcher.transition.cancel(now)
        seconds = float(request.arguments[0]) if request.arguments else 0.0
        changed = self._parameters.reset(f"panic/{request.origin}", now, seconds)
        return [Change(name, value, request.origin) for name, value in changed.items()]
