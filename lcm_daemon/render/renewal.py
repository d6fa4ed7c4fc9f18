"""Renewal: replaces engines that render by new ones, without a gap in what they render.

The new engine loads beside the old one, which renders on until the first result of the new one. Where the memory does
not suffice for both, the old one ends first: other engines of the player render, or the last frame is held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import psutil

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.processes.memory import memory_of
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.render.player import Player
from lcm_daemon.render.policy import ROOM, RestartPolicy, describe_bytes, lacks
from lcm_daemon.render.transition import RecipeTransition

log = logging.getLogger(__name__)

IDLE_SECONDS = 2.0  # after this long without input, a new engine that has loaded takes over without a result
IDLE_FRAMES = 4.0  # the same, in frames of the old engine

Build = Callable[[Player, EngineSupervisor], EngineSupervisor]


class _Wanted(NamedTuple):
    """One engine to renew. A process that was replaced since then is new already."""

    engine: EngineSupervisor
    pid: int
    why: str


class _Pair(NamedTuple):
    """An engine that is being renewed: `new` loads beside `old`, or starts once `old` has ended."""

    player: Player
    old: EngineSupervisor
    new: EngineSupervisor
    beside: bool


class Renewal:
    """Renews one engine after another.

    Args:
        transition: Its playing player has the engines. While it changes the recipe, nothing is renewed.
        build: Makes an engine for the same place as another one of a player, not started.
        metrics: Counters to report to.
    """

    def __init__(self, transition: RecipeTransition, build: Build, metrics: Metrics) -> None:
        self._transition, self._build, self._metrics = transition, build, metrics
        self._wanted: list[_Wanted] = []
        self._pair: _Pair | None = None
        self._ready_at: float | None = None  # when the new engine had loaded

    @property
    def busy(self) -> bool:
        """Whether an engine is being renewed, or waits for it."""
        return self._pair is not None or bool(self._wanted)

    def ask(self, engine: EngineSupervisor, why: str) -> None:
        """Renew an engine of the playing player as soon as no recipe changes. why: For the log."""
        known = [wanted.engine for wanted in self._wanted] + ([self._pair.old] if self._pair else [])
        if engine.ready and engine not in known:
            self._wanted.append(_Wanted(engine, engine.pid, why))

    def step(self, now: float) -> None:
        """Take the next step, at `now` (monotonic seconds). Once a tick."""
        if self._pair is not None:
            self._follow(self._pair, now)
        elif self._wanted and not self._transition.changing:
            self._begin(self._wanted.pop(0), now)

    def _begin(self, wanted: _Wanted, now: float) -> None:
        old, player = wanted.engine, self._transition.current
        if old not in player.engines or not old.ready or old.pid != wanted.pid:
            return
        log.info("engine %s: %s; a new one is loaded", old.pid, wanted.why)
        if reason := _lacks_room(old):
            self._renew_in_place(player, old, reason)
            return
        new = self._build(player, old)
        new.policy = RestartPolicy.NEVER
        player.join(new, now)
        self._pair, self._ready_at = _Pair(player, old, new, beside=True), None

    def _renew_in_place(self, player: Player, old: EngineSupervisor, reason: str) -> None:
        """End the old engine first."""
        others = [engine for engine in player.engines if engine is not old]
        if not any(engine.ready for engine in others):
            log.warning("engine: %s; the last frame is held until the new one has loaded", reason)
            self._metrics.count("engine/renewed")
            self._transition.ask(player.variant, alone=True, reload=True)
            return
        log.warning("engine: %s; the others render until the new one has loaded", reason)
        new = self._build(player, old)
        player.leave(old)
        self._pair = _Pair(player, old, new, beside=False)

    def _follow(self, pair: _Pair, now: float) -> None:
        if pair.player is not self._transition.current or self._transition.changing:
            self._give_up(pair)
        elif not pair.beside:
            if pair.old.gone:
                pair.player.join(pair.new, now)
                self._end()
        elif pair.new not in pair.player.engines or pair.old not in pair.player.engines:
            self._pair = None  # the performer has stopped them
        elif pair.new.failure is not None:
            self._on_failure(pair)
        elif self._delivers(pair, now):
            pair.new.policy = pair.old.policy
            pair.player.leave(pair.old)
            self._end()

    def _end(self) -> None:
        self._metrics.count("engine/renewed")
        self._pair = None

    def _delivers(self, pair: _Pair, now: float) -> bool:
        """Whether the new engine has rendered; or has loaded, and gets no input."""
        if not pair.new.ready:
            return False
        if self._ready_at is None:
            self._ready_at = now
        idle = max(IDLE_SECONDS, IDLE_FRAMES * pair.old.latency)
        return pair.new.rendered > 0 or now - self._ready_at >= idle

    def _on_failure(self, pair: _Pair) -> None:
        assert pair.new.failure is not None
        text, is_memory = pair.new.failure.text, pair.new.failure.memory
        self._give_up(pair)
        if is_memory and pair.old.ready:
            self._renew_in_place(pair.player, pair.old, f"no memory for a second one ({text})")
        else:
            self._metrics.count("engine/not_renewed")
            log.error("engine: the new one failed (%s); the old one renders on", text)

    def _give_up(self, pair: _Pair) -> None:
        """The old engine stays, unless its end has begun already."""
        self._pair = None
        if pair.new in pair.player.engines:
            pair.player.leave(pair.new)


def _lacks_room(engine: EngineSupervisor) -> str:
    """Why a second engine has no room beside this one; "" if it has, or if nothing is known."""
    if engine.place.is_remote:
        return "its GPU on the cluster takes one engine"
    needed, free = ROOM * memory_of(engine.pid), psutil.virtual_memory().available
    if free < needed:
        return f"{describe_bytes(free)} of memory are free, and a second one needs about {describe_bytes(int(needed))}"
    return lacks(engine.memory)
