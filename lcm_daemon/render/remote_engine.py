"""The relay process: connects the stage to an engine on a Ray cluster. The stage sees an engine like any other.

It connects to the cluster, lets Ray place an actor, and forwards recipe, frames and ends of sessions. More frames are
under way than the engine renders at once, which hides the network. Times stay here: clocks of two machines differ.
After the death of the actor or of its node the relay reports it and ends, and the stage starts another one.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from lcm_daemon import __version__
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import DeviceMemory, Pending, Pipeline, Progress, Report
from lcm_daemon.processes.bootstrap import LogLevels, set_up_child
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.protocol import EndSession, Failed
from lcm_daemon.processes.protocol import Progress as ProgressMessage
from lcm_daemon.recipes.recipe import MAX_IN_FLIGHT, Recipe
from lcm_daemon.render import ray_actor
from lcm_daemon.render.engine import EngineFailed, LoadRecipe, failure_of, serve
from lcm_daemon.render.engine_place import JPEG, EnginePlace
from lcm_daemon.render.frame_wire import pack, unpack
from lcm_daemon.render.node_engine import SLOTS, Loaded, LoadOrder, LogLine, NodeRequest
from lcm_daemon.render.ray_cluster import RETRY_SECONDS, RayCluster, worker_environment

log = logging.getLogger(__name__)

WAITING_SECONDS = 2.0  # between two lines of progress while Ray has no place for the actor
ROOM_SECONDS = 20.0  # that an engine beside those that render waits for a place: they may have all there are
THREADS = MAX_IN_FLIGHT + 2  # calls that the actor serves at once: frames and messages


def run(endpoint: ChildEndpoint, place: EnginePlace, pipeline: str, spare: bool, log_levels: LogLevels) -> None:
    """Run the process: wait for the recipe, load it on the cluster, forward frames until the stage is gone.

    Args:
        endpoint: The child's end of the channel.
        place: The cluster, and what the engine claims of it.
        pipeline: Unused: its libraries are imported on the node.
        spare: Unused: a relay has none.
        log_levels: Log levels of the stage.
    """
    set_up_child(log_levels)
    sys.stdout = open(os.devnull, "w")  # Ray prints there what happens to other processes of the cluster  # noqa: SIM115
    channel = ChildChannel(endpoint)
    try:
        while isinstance(message := channel.receive(), EndSession):
            pass  # it has no memory yet
        if isinstance(message, LoadRecipe):
            serve(RemotePipeline(message.recipe, channel.size, place, channel.slots.guided), message, channel)
    except LcmDaemonError as error:
        channel.send(error.failed if isinstance(error, EngineFailed) else Failed(str(error), retry=False))
    except Exception as error:  # noqa: BLE001 - the top of the relay's loop: report it; a new relay replaces this one
        channel.send(failure_of(error))
    finally:
        channel.close()


class RemotePipeline(Pipeline):
    """A recipe that an actor of a Ray cluster renders.

    Args:
        place: The cluster, and what the engine claims of it.
        guided: Whether frames may come with a guide frame.
    """

    def __init__(self, recipe: Recipe, size: Size, place: EnginePlace, guided: bool) -> None:
        super().__init__(recipe, size)
        self._place, self._guided = place, guided
        self._cluster = RayCluster(place.ray, place.token)
        self._actor: Any = None
        self._session = ""  # of the next frame
        self._turn = 0  # of the next frame
        self._ended: list[str] = []  # sessions to forget before the next frame
        self._memory: DeviceMemory | None = None

    def _load(self, progress: Progress) -> Report:
        self._cluster.connect(progress)
        with self._translated_errors():
            self._actor = self._place_actor(progress)
            loaded = self._load_on_node(progress)
        self._memory = loaded.memory
        self.frames_in_flight = min(loaded.in_flight + 1, MAX_IN_FLIGHT)
        return loaded.report

    def _place_actor(self, progress: Progress) -> Any:
        """Let Ray choose a node, wait for one that has room, and check what is installed there."""
        ray = self._cluster.ray
        ray.cloudpickle.register_pickle_by_value(ray_actor)
        while True:
            try:
                actor, description = self._start_actor(progress)
                break
            except ray.exceptions.RayActorError as error:  # Ray takes a node that is lost for alive for a while
                hint = "; if it asks for no token, set RAY_AUTH_MODE=token on its nodes, or token: false in the show"
                progress(f"{_first_line(error)} The Ray cluster at {self._place.ray} starts no engine"
                         + (hint if self._place.token else ""))
                time.sleep(RETRY_SECONDS)
        self.node = self._cluster.node_name(description)
        if problem := problem_of(description, self._place.token):
            raise EngineFailed(Failed(f"node {self.node} {problem}", retry=False))
        log.info("engine: placed on node %s: lcm-daemon %s, Ray %s, Python %s", self.node, description["lcm_daemon"],
                 description["ray"], description["python"])
        return actor

    def _start_actor(self, progress: Progress) -> tuple[Any, dict[str, str]]:
        """Ask for an actor, and wait until it runs; return it with the description of its node.

        Raises:
            EngineFailed: Other engines render, and the cluster has no room beside them.
        """
        ray, gpus = self._cluster.ray, self._place.gpus
        actor = ray.remote(ray_actor.EngineActor).options(
            num_cpus=1, num_gpus=gpus, scheduling_strategy="SPREAD", max_concurrency=THREADS, max_restarts=0,
            runtime_env={"env_vars": worker_environment(HF_HUB_OFFLINE="1")}).remote()
        described = actor.describe.remote()
        wanted, waited = "a free CPU" + (f" and {gpus:g} free GPUs" if gpus else ""), 0.0
        while not ray.wait([described], timeout=WAITING_SECONDS)[0]:
            waited += WAITING_SECONDS
            if self.loads_beside and waited >= ROOM_SECONDS:
                raise EngineFailed(Failed(f"no node of the Ray cluster at {self._place.ray} has {wanted}", memory=True,
                                          lost=True))
            progress(f"waiting for a node of the Ray cluster at {self._place.ray} with {wanted}")
        return actor, ray.get(described)

    def _load_on_node(self, progress: Progress) -> Loaded:
        order = LoadOrder(self.recipe, self.size, self._guided, self.loads_beside, self.returns, self._place.wire)
        threading.Thread(target=self._hear, args=(progress,), name="node", daemon=True).start()
        loaded = self._cluster.ray.get(self._actor.load.remote(order))
        if isinstance(loaded, Failed):
            raise EngineFailed(Failed(f"node {self.node}: {loaded.text}", loaded.retry, loaded.memory))
        assert isinstance(loaded, Loaded)
        return loaded

    def _hear(self, progress: Progress) -> None:
        """Fetch what the engine says, until it is gone."""
        while True:
            try:
                messages = self._cluster.ray.get(self._actor.messages.remote())
            except self._cluster.errors as error:  # frames meet the same error and report it
                log.debug("engine: node %s is gone: %s", self.node, error)
                return
            for message in messages:
                match message:
                    case ProgressMessage():
                        progress(f"node {self.node}: {message.text}")
                    case DeviceMemory():
                        self._memory = message
                    case LogLine():
                        log.log(message.level, "node %s: %s: %s", self.node, message.logger, message.text)

    def _enter(self, session: str) -> None:
        self._session = session

    def _submit(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> Pending:
        wire = self._place.wire
        request = NodeRequest(self._turn, self._turn % SLOTS, pack(frame, wire),
                              None if guide is None else pack(guide, wire), dict(values), self._session,
                              tuple(self._ended))
        self._turn, self._ended = self._turn + 1, []
        sent = time.perf_counter()
        with self._translated_errors():
            return _RemoteFrame(self, self._actor.render.remote(request), sent, frame, out)

    def fetch(self, result: Any, out: Pixels) -> dict[str, float]:
        """Wait for a result of the actor and write it into `out`; return the seconds that the node says."""
        with self._translated_errors():
            received = self._cluster.ray.get(result)
        if isinstance(received, Failed):
            raise EngineFailed(Failed(f"node {self.node}: {received.text}", received.retry, received.memory))
        unpack(received.frame, out)
        return dict(received.seconds)

    @property
    def drops_alpha(self) -> bool:
        """Whether results come without the alpha of their inputs."""
        return self._place.wire == JPEG

    def end_session(self, session: str) -> None:
        self._ended.append(session)  # calls of their own would keep frames from the actor's threads

    def interpolator(self) -> None:
        """None: pictures that cross a network twice as often would come late."""

    def memory(self) -> DeviceMemory | None:
        return self._memory

    def close(self) -> None:
        self._cluster.close()

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise EngineFailed for what Ray raises."""
        try:
            yield
        except self._cluster.errors as error:
            where = f"node {self.node}" if self.node else f"the Ray cluster at {self._place.ray}"
            log.debug("engine: %s", where, exc_info=error)
            exceptions = self._cluster.ray.exceptions
            what = "the engine's process ended" if isinstance(error, exceptions.RayActorError) else type(error).__name__
            died_alone = isinstance(error, exceptions.ActorDiedError) and "its node" not in str(error)
            # A process that dies while its node lives may die of the recipe, as an error of a call may be.
            lost = not died_alone and not isinstance(error, exceptions.RayTaskError)
            raise EngineFailed(Failed(f"{where}: {what}: {_first_line(error)}", lost=lost)) from error


def _first_line(error: Exception) -> str:
    """What Ray says of an error, without the table that follows."""
    return f"{' '.join(str(error).split()).partition(' class_name:')[0]:.200}"


@dataclass(frozen=True)
class _RemoteFrame:
    """A frame under way. sent: when, in seconds of `perf_counter`."""

    pipeline: RemotePipeline
    result: Any
    sent: float
    frame: Pixels
    out: Pixels

    def wait(self) -> dict[str, float]:
        """Its part `network` is the time that it spent neither waiting nor being rendered on the node."""
        seconds = self.pipeline.fetch(self.result, self.out)
        if self.pipeline.drops_alpha:
            np.copyto(self.out[..., 3], self.frame[..., 3])
        on_node = seconds.pop("node", 0.0)
        if len(seconds) > 1:  # a frame that was skipped has no parts, and shall have none
            seconds["network"] = max(0.0, time.perf_counter() - self.sent - on_node)
        return seconds


def problem_of(description: dict[str, str], token: bool, own: Callable[[], str] = lambda: __version__) -> str:
    """Why a node cannot run an engine of this machine, as the rest of a sentence about it; "" if it can.

    Args:
        description: As of `ray_actor.describe_node`.
        token: Whether it must authenticate by token.
        own: Returns the version of this lcm-daemon.
    """
    found = description["lcm_daemon"]
    if not found:
        return f"has no lcm-daemon: install it there with pip install \"lcm-daemon[ray]=={own()}\""
    if found != own():
        return f"has lcm-daemon {found}, this machine has {own()}: install the same version"
    if token and description["authentication"] != "token":
        return "accepts anyone: start Ray there with RAY_AUTH_MODE=token, or say `token: false` in the show"
    return ""
