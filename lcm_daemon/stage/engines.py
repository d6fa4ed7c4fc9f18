"""Engines: the engines of a running show, one row each, and the commands that stop and start one of them."""

from __future__ import annotations

from collections.abc import Iterator

from lcm_daemon.core.control_state import Row, Rows
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.recipes.state import RecipeState
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.policy import describe_memory
from lcm_daemon.render.renewal import Renewal
from lcm_daemon.render.transition import RecipeTransition
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.handover import Handover
from lcm_daemon.stage.players import Players

ONLY = "engine"  # name of the only engine of a show that names no place
STOPPED = "stopped"
UNLOADED = "unloaded"  # what engines do that do not run on purpose


class Engines:
    """Stops and starts engines while a show plays, and describes them.

    Args:
        show: The show.
        recipes: What plays and what is loading.
        metrics: Counters to report to.
        left: What the show before has left.

    Attributes:
        players: Builds engines, and knows their places.
        transition: Its players render.
        renewal: Replaces engines by new ones without a gap.
    """

    def __init__(self, show: Show, recipes: RecipeState, metrics: Metrics, left: Handover) -> None:
        self.players = Players(show, metrics, left)
        build = self.players.build
        self.transition = RecipeTransition(recipes, build, metrics, show.crossfade, show.timeouts.alarm)
        self.renewal = Renewal(self.transition, self.players.another, metrics)
        self.refusals = Refusals(metrics)
        self._counted: dict[EnginePlace, tuple[EngineSupervisor, float, int]] = {}  # when frames were counted, how many

    @property
    def loading(self) -> str:
        """What the first engine is doing until it can render: "loading sd-turbo: reading the UNet"; "" after that."""
        engine = self.transition.leading.first
        if engine.ready or engine.alarm or self.transition.unloaded:
            return ""
        return f"loading {engine.recipe.name}{'' if engine.state in ('starting', 'loading') else f': {engine.state}'}"

    def start(self, now: float) -> None:
        """Start the engines, or continue with those that the show before has left."""
        self.transition.start(now)
        self._arrange(now)

    def _arrange(self, now: float) -> None:
        """Let engines leave and join that render for another show, so that they are this show's."""
        for player in self.transition.players:
            self.players.arrange(player, now)

    def recycle(self, now: float) -> None:
        """Replace every engine that renders by a new one, one after another, while the others and the old one render.

        Returns at once; `renewal.busy` says whether it is under way. An engine that loads is new already.

        Args:
            now: Monotonic seconds.
        """
        for engine in self.transition.current.engines:
            self.renewal.ask(engine, "it is recycled")

    def unload(self) -> bool:
        """Let no engine run until `load`: the memory of the devices is free. Returns at once.

        Returns:
            Whether it was done: not while a recipe changes or an engine is replaced, which ends by itself.
        """
        transition = self.transition
        if transition.changing or self.renewal.busy:
            return False
        transition.unloaded = True
        transition.current.stop(0.0)
        for engine in transition.current.engines:
            engine.hold(UNLOADED)
            engine.alarm = ""
        return True

    def load(self, now: float) -> None:
        """Start the engines again, at `now` (monotonic seconds), with the recipe that was asked for since."""
        transition = self.transition
        transition.unloaded = False
        if transition.state.asked in (None, transition.current.variant):
            transition.start(now)

    def step(self, now: float) -> None:
        """Take the next step of what takes longer than a tick. Once a tick."""
        self.renewal.step(now)

    def execute(self, request: CommandRequest, now: float) -> None:
        """Carry out `engine/stop` or `engine/start` at `now` (monotonic seconds)."""
        name, stopped = str(request.arguments[0]), self.players.stopped
        place = next((place for place in self.players.places if _name_of(place) == name), None)
        if self.transition.unloaded:
            self._refuse(request, "no engine runs while the show is closed")
        elif place is None:
            known = ", ".join(map(_name_of, self.players.places))
            self._refuse(request, f"no engine {name!r:.80}; the show has {known}")
        elif request.name == "engine/start":
            stopped.discard(place)
            self._arrange(now)
        elif len(stopped | {place}) == len(self.players.places):
            self._refuse(request, f"{name} is the only engine that renders; it is not stopped")
        else:
            stopped.add(place)
            self._arrange(now)

    def rows(self, now: float) -> Rows:
        """A row for each engine of the show, at `now` (monotonic seconds).

        name: for `engine/stop` and `engine/start`.
        node: the machine, "" for this one. device: as the engine names it. state: as in the status, or "stopped".
        on: whether it is to render. fps: frames a second since the last call.
        latency: milliseconds from request to result, median. memory: of the device, in words.
        pid: process id on this machine; 0 while none runs.
        """
        present = sorted(self.transition.leading.engines, key=lambda engine: engine.ready)  # the one that renders wins
        engines = {engine.place: engine for engine in present}
        return tuple(self._rows(engines, now))

    def describe(self) -> str:
        """How many engines render, for the status: "3 of 4 render"; "" for a show of one engine."""
        wanted = set(self.players.places) - self.players.stopped
        ready = wanted & {engine.place for engine in self.transition.leading.engines if engine.ready}
        return f"{len(ready)} of {len(self.players.places)} render" if len(self.players.places) > 1 else ""

    def _refuse(self, request: CommandRequest, text: str) -> None:
        self.refusals.add("engine/refused", request.origin, text)

    def _rows(self, engines: dict[EnginePlace, EngineSupervisor], now: float) -> Iterator[Row]:
        for place in self.players.places:
            engine = engines.get(place)
            row: Row = {"name": _name_of(place), "node": "", "device": place.device, "state": STOPPED, "on": False,
                        "fps": 0.0, "latency": 0.0, "memory": "", "pid": 0}
            if engine is not None:
                row = {**row, "on": place not in self.players.stopped, "state": engine.alarm or engine.state,
                       "pid": engine.pid, "fps": self._rate(engine, now), "node": engine.node,
                       "latency": round(1000 * engine.latency, 1),
                       "device": engine.report.device if engine.report else place.device,
                       "memory": describe_memory(engine.memory) if engine.memory else ""}
            yield row

    def _rate(self, engine: EngineSupervisor, now: float) -> float:
        """Frames a second since the last call."""
        counted, then, count = self._counted.get(engine.place, (None, now, 0))
        if counted is not engine:
            then, count = now, engine.rendered
        self._counted[engine.place] = engine, now, engine.rendered
        return round((engine.rendered - count) / (now - then), 1) if now > then else 0.0


def _name_of(place: EnginePlace) -> str:
    return place.name or ONLY
