"""Dispatch: carries out what controllers request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from lcm_daemon.audience.audience import NoAudience
from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.control_state import Rows
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.pipelines.prompt_notes import PROMPTS, notes
from lcm_daemon.recipes.state import ChangeEnd, Outcome
from lcm_daemon.recipes.words import words_of
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.engines import Engines
from lcm_daemon.stage.inputs import Inputs
from lcm_daemon.stage.moves import Moves
from lcm_daemon.stage.outputs import Outputs
from lcm_daemon.stage.panic import Panic
from lcm_daemon.stage.prompt_bank import PromptBank
from lcm_daemon.stage.prompt_history import PromptHistory
from lcm_daemon.stage.prompt_picture import PromptPicture
from lcm_daemon.stage.recipe_fetch import RecipeFetch
from lcm_daemon.stage.recipe_shelf import RecipeShelf
from lcm_daemon.stage.show_file import ShowFile
from lcm_daemon.stage.undo import Undo
from lcm_daemon.stage.undo_move import CUES

_CHANGE_LISTS = ("panic", "undo", "redo", "undo_panic", "prompts/play", "prompts/store", "prompts/clear",
                 "modulator/add", "modulator/remove")

_CUE_STARTS = ("cue/go", "cue/back", "cue/goto")


class Dispatch:
    """Applies changes of parameters, and carries out commands: its own, and through `automation` all others.

    Attributes:
        open_or_close: Carries out the commands `hours/...`; returns why it cannot, or "".
    """

    def __init__(
        self, show: Show, parameters: Parameters, automation: Automation, switcher: RecipeSwitcher, inputs: Inputs,
        outputs: Outputs, shelf: RecipeShelf, fetch: RecipeFetch, show_file: ShowFile, picture: PromptPicture,
        audience: NoAudience, engines: Engines,
    ) -> None:
        self._show_file, self._picture, self._audience, self._engines = show_file, picture, audience, engines
        self._parameters, self._automation, self._switcher = parameters, automation, switcher
        self._inputs, self._outputs, self._shelf, self._fetch = inputs, outputs, shelf, fetch
        self._bank, self._history = PromptBank(show.prompts, show.companion_file), PromptHistory()
        self._moves = Moves(parameters, automation.refusals, self._bank)
        self._panic = Panic(parameters, automation, switcher, inputs)
        self._undo = Undo(parameters, automation.refusals)
        self.has_news = False  # a list has changed for which a page waits
        self._words = words_of(switcher.recipes.values())
        self._too_large = show.too_large_recipes()
        self._asked_by = ""  # who asked for the last change of recipe or size
        self.open_or_close: Callable[[CommandRequest], str] = lambda request: "the show has no opening_hours"

    def execute(self, request: Change | CommandRequest, now: float) -> list[Change]:
        """Carry out one request at `now` (monotonic seconds); return the parameters that changed."""
        self.has_news = self.has_news or (isinstance(request, CommandRequest) and request.name in _CHANGE_LISTS)
        match request:
            case CommandRequest("panic"):
                self._shelf.cancel()
                changes, cancelled = self._panic.execute(request, now)
                self._undo.observe(now, cancelled)
                return changes
            case CommandRequest("undo" | "redo" | "undo_panic"):
                return self._undo.execute(request, now)
        changes = self._execute(request, now)
        self._undo.observe(now)
        if isinstance(request, Change) or request.name == "prompts/play":
            self._history.note(changes, request.origin, now)
            self._tell_unused(changes)
        return changes

    def observe_automation(self, changes: Iterable[Change], now: float) -> None:
        """Note what automation has moved: looks can be undone, and a prompt may have waited for its beat."""
        self._undo.observe(now)
        for change in changes:
            self._tell_unused([change])
            if not change.origin.startswith(CUES):
                self._history.note([change], change.origin, now)

    @property
    def prompts(self) -> Rows:
        """The bank of prompts: number, text."""
        return self._bank.rows()

    def lists(self) -> dict[str, Rows]:
        """The lists that pages show: undo, redo, prompt_history, prompts, words of the recipe, modulators, waves."""
        self.has_news = False
        model = self._switcher.transition.state.playing.recipe.model
        return {"words": self._words.get(model, ()), **self._automation.bank.lists(),
                "undo": self._undo.rows(), "redo": self._undo.redo_rows(), "prompt_history": self._history.rows(),
                "prompts": self._bank.rows()}

    def close(self) -> None:
        """Wait until everything is written."""
        self._bank.close()

    def _execute(self, request: Change | CommandRequest, now: float) -> list[Change]:
        if isinstance(request, Change):
            return self._set(request, now)
        match request.name:
            case "adjust" | "toggle" | "prompts/play" | "prompts/store" | "prompts/clear":
                return self._moves.execute(request, now)
            case "recipe" | "size" | "engine/restart" | "prompt_picture":
                self._change_what_renders(request)
            case "engine/stop" | "engine/start":
                self._engines.execute(request, now)
            case "fetch/start":
                name = str(request.arguments[0])
                self._fetch.start(name, self._switcher.recipes[name], request.origin)
            case "fetch/stop":
                self._fetch.stop()
            case "source" | "guide":
                self._inputs.change(request.name, str(request.arguments[0]), request.origin, now)
            case "record/start" | "record/stop":
                self._outputs.record(request.name == "record/start", request.origin)
            case "show/reload" | "show/open" | "show/save" | "show/save_as":
                self._show_file.execute(request)
            case "hours/open" | "hours/close" | "hours/auto":
                if reason := self.open_or_close(request):
                    self._automation.refusals.add("hours/refused", request.origin, f"{request.name}: {reason}")
            case name if name.startswith("audience/"):
                self._audience.execute(request)
            case name if name.startswith("sink/"):
                self._outputs.switch(name.removeprefix("sink/"), bool(request.arguments[0]))
            case _:
                return self._automate(request, now)
        return []

    def _automate(self, request: CommandRequest, now: float) -> list[Change]:
        changes = self._automation.execute(request, now)
        if request.name in _CUE_STARTS:  # at once: a request that comes after it moves the cue's values
            changes = [*changes, *self._automation.start_requested(now)]
            self._tell_unused(changes)
        return changes

    def _change_what_renders(self, request: CommandRequest) -> None:
        """Carry out a command that ends with a change of the recipe, which tells its sender how it went."""
        match request.name:
            case "recipe":
                self._change_recipe(str(request.arguments[0]), request.origin)
                return
            case "size":
                width, height = request.arguments
                self._switcher.resize(int(width), int(height))
            case "engine/restart":
                self._switcher.restart()
            case _:
                self._picture.use(str(request.arguments[0]), request.origin)
        self._asked_by = request.origin

    def _set(self, change: Change, now: float) -> list[Change]:
        if change.name not in self._parameters.table:  # its recipe was changed after the request
            return []
        value = self._parameters.move(change.name, change.value, now, change.origin)
        if value is None:
            return []
        # Its sender does not know a value that was drawn: it is sent that value as if another had set it.
        return [Change(change.name, value, "" if value != change.value else change.origin)]

    def _tell_unused(self, changes: Iterable[Change]) -> None:
        """Tell the senders of prompts what in them has no effect."""
        for change in changes:
            if change.name in PROMPTS:
                recipe = self._switcher.transition.state.playing.recipe
                for note in notes(change.name, str(change.value), recipe):
                    self._automation.refusals.add("prompt/unused", change.origin, note)

    def _change_recipe(self, name: str, origin: str) -> None:
        if name in self._too_large:
            width, height = self._too_large[name]
            reason = f"it renders {width}x{height}, more than the show's network.max_size allows"
            self._switcher.refusals.add("recipe/refused", origin, f"recipe {name}: {reason}; the recipe stays as it is")
            return
        self._shelf.ask(name, partial(self._begin_change, name, origin), partial(self._refuse_recipe, origin))

    def _begin_change(self, name: str, origin: str) -> None:
        self._switcher.change(name)
        self._asked_by = origin

    def _refuse_recipe(self, origin: str, reason: str) -> None:
        self._shelf.refusals.add("recipe/refused", origin, reason)

    def on_change_end(self, end: ChangeEnd) -> None:
        """A change of recipe or size has ended: report it to the one who asked for it if it has failed."""
        if end.outcome is Outcome.FAILED:
            self._automation.refusals.report(self._asked_by, f"recipe {end.variant.name}: {end.reason}")
