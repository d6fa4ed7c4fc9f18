"""RayCluster: this process's connection to a Ray cluster. Only processes that speak Ray connect; never the stage.

An address is "auto" (the cluster that this machine belongs to), "host:6379" (the cluster's own port: this machine must
run a Ray node), or "host:10001" or "ray://host:port" (the port of Ray's client, through which every frame passes the
head node).
"""

from __future__ import annotations

import os
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration
from lcm_daemon.processes.bootstrap import ENVIRONMENT
from lcm_daemon.render.ray_token import ClusterRefusal, ClusterUnreachable, check_token

AUTO = "auto"
CLIENT_PORT = 10001  # Ray's own default
RETRY_SECONDS = 1.0
PROBE_SECONDS = 2.0
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
CURRENT = Path("/tmp/ray/ray_current_cluster")  # where `ray start` notes its address

# Frames up to this size travel inside of the call, larger ones through the object stores of the nodes. Measured between
# two nodes of one machine, there and back: 512x512 8 ms against 20 ms, 1024x1024 equal, 1920x1080 75 ms against 40 ms.
INLINE_BYTES = 2_500_000


def worker_environment(**more: str) -> dict[str, str]:
    """Environment of our processes on the nodes."""
    return {**ENVIRONMENT, "RAY_max_direct_call_object_size": str(INLINE_BYTES), **more}


class RayCluster:
    """The connection. `ray` is the module.

    Args:
        address: As above.
        token: Whether the cluster must authenticate by token.
    """

    def __init__(self, address: str, token: bool = True) -> None:
        self.address, self.token = address, token
        self.ray: Any = None

    def connect(self, waiting: Callable[[str], None]) -> None:
        """Connect, and wait for a cluster that does not answer.

        Args:
            waiting: Called every second or two with one line about what is waited for.

        Raises:
            ClusterRefusal: See there.
            MissingIntegration: Ray is not installed.
        """
        while True:
            try:
                self.connect_once()
                return
            except ClusterUnreachable as error:
                waiting(str(error))
                time.sleep(RETRY_SECONDS)

    def connect_once(self) -> None:
        """As `connect`, but raises ClusterUnreachable instead of waiting."""
        target = self._resolve()
        host, port = split(target)
        self._probe(host, port)
        with _installed("grpcio"):
            check_token(f"{host}:{port}", "://" in target, self.token)
        self._prepare_environment(host)
        self._import()
        try:
            self.ray.init(target, namespace="lcm-daemon", log_to_driver=False, logging_level="ERROR")
        except self.errors as error:
            raise self._translate(error) from error

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What Ray raises when the cluster, a node or an actor fails."""
        import grpc

        return self.ray.exceptions.RayError, grpc.RpcError, RuntimeError, OSError, ValueError

    def close(self) -> None:
        """Disconnect. Ray then ends the actors that this process has started."""
        if self.ray is not None:
            self.ray.shutdown()

    def nodes(self) -> list[Mapping[str, Any]]:
        """The nodes that are alive and have a CPU for an engine, as Ray describes them."""
        return [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]

    def node_name(self, description: Mapping[str, str]) -> str:
        """What people call a node: the name that `ray start --node-name` gave it, else its host name."""
        for node in self.ray.nodes():
            if node["NodeID"] == description["id"] and node["NodeName"] != node["NodeManagerAddress"]:
                return str(node["NodeName"])
        return description["host"]

    def _resolve(self) -> str:
        """The address as `ray.init` takes it."""
        address = self.address
        if address == AUTO:
            address = os.environ.get("RAY_ADDRESS", "")
            if not address or address == AUTO:
                address = CURRENT.read_text("utf-8").strip() if CURRENT.is_file() else ""
            if not address:
                raise ClusterUnreachable("no Ray cluster on this machine: start a node with ray start, or set "
                                         "RAY_ADDRESS")
        if "://" not in address and split(address)[1] == CLIENT_PORT:
            return f"ray://{address}"
        return address

    def _probe(self, host: str, port: int) -> None:
        """Ray itself would try for a minute, and end the process then."""
        try:
            socket.create_connection((host.strip("[]"), port), PROBE_SECONDS).close()
        except OSError as error:
            raise ClusterUnreachable(f"waiting for the Ray cluster at {host}:{port}: "
                                     f"{(error.strerror or str(error)).lower()}") from error

    def _prepare_environment(self, host: str) -> None:
        """Ray reads its settings from the environment when it is imported."""
        os.environ.update({
            "RAY_AUTH_MODE": "token" if self.token else "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",  # no connection to anything but the cluster
            "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "0",  # the actor of a relay that was killed ends at once
            "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",  # what pickles need
            "RAY_max_direct_call_object_size": str(INLINE_BYTES),
        })
        if host in LOOPBACK:  # else Ray puts an outside address of this machine in its place
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

    def _import(self) -> None:
        with _installed("ray"):
            import ray
        self.ray = ray
        warnings.filterwarnings("ignore", "More than 10MB of messages")  # Ray's client says it of every show

    def _translate(self, error: Exception) -> LcmDaemonError:
        cause: BaseException | None = error
        texts = []
        while cause is not None:
            texts.append(" ".join(str(cause).split()))
            cause = cause.__cause__
        text = "; ".join(texts)
        self.ray.shutdown()
        if found := re.search(r"ersion mismatch.*?Ray: (\S+).*?Python: (\S+).*?Ray: (\S+).*?Python: (\S+)", text):
            cluster, here = (f"Ray {found[i]} and Python {found[i + 1]}" for i in (1, 3))
            return ClusterRefusal(f"the Ray cluster at {self.address} has {cluster}, this machine has {here}: install "
                                  "the same versions")
        if "one of the Raylet addresses" in text or "find a local raylet" in text or "node to connect" in text:
            return ClusterRefusal(f"no Ray node runs on this machine: start one with ray start --address={self.address}"
                                  f" --num-cpus=0, or name the cluster's client port, as in \"host:{CLIENT_PORT}\"")
        if isinstance(error, ConnectionError | TimeoutError) or "Timed out" in text:
            return ClusterUnreachable(f"the Ray cluster at {self.address} does not accept this machine: it may be "
                                      "starting")
        return ClusterUnreachable(f"Ray at {self.address}: {text:.200}")


def split(address: str) -> tuple[str, int]:
    """Host and port of an address.

    Raises:
        ClusterRefusal: It is not an address.
    """
    host, colon, port = address.partition("://")[2 if "://" in address else 0].rpartition(":")
    if not colon or not port.isdecimal():
        raise ClusterRefusal(f"{address!r} is not the address of a Ray cluster, such as \"10.0.0.5:{CLIENT_PORT}\"")
    return host, int(port)


@contextmanager
def _installed(package: str) -> Iterator[None]:
    """Raise MissingIntegration where an import of the block fails."""
    try:
        yield
    except ImportError as error:
        raise MissingIntegration("Ray", f"the package {package} is not installed", 'pip install "lcm-daemon[ray]"'
                                 ) from error
