"""A Ray cluster on loopback, in a process of its own: this process imports no ray.

    with RayNodes(tmp_path) as cluster:
        cluster.add("b", cpus=2)
        cluster.stop("b"), cluster.stop("head"), cluster.add("head")
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from lcm_daemon.processes.bootstrap import prepare_environment
from tests.rigs.daemon import free_port

TOKEN = secrets.token_hex(32)
HEAD = "head"
ROOT = Path(__file__).parents[2]
# Ray takes a node for lost after 3 s without an answer. Its own values, 5 times 3 s, change nothing but the wait.
DETECTION = {"RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "500",
             "RAY_health_check_timeout_ms": "3000", "RAY_health_check_failure_threshold": "6"}


class RayNodes:
    """The cluster; it starts with its head, which has no processor to give away.

    Args:
        homes: Each node has its own hub cache in here.
        environment: More of the nodes' environment.
        client: Whether the head serves Ray's client, at `client_address`.
    """

    def __init__(self, homes: Path, environment: dict[str, str] | None = None, client: bool = False) -> None:
        homes.mkdir(exist_ok=True)
        self._homes = homes
        self._ports = (free_port(), free_port() if client else 0)
        self._environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN,
                             "RAY_USAGE_STATS_ENABLED": "0",
                             "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0",
                             "RAY_BACKEND_LOG_LEVEL": "error", **DETECTION, **(environment or {})}
        self.address = f"127.0.0.1:{self._ports[0]}"
        self.client_address = f"ray://127.0.0.1:{self._ports[1]}"

    def __enter__(self) -> RayNodes:
        prepare_environment()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.rigs.ray_cluster", str(self._homes), *map(str, self._ports)],
            cwd=ROOT, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True)
        self.add(HEAD, 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        family = psutil.Process(self._process.pid).children(recursive=True)
        try:
            self._call("end")
        finally:
            self._process.kill()
            for process in family:
                with _already_gone():
                    process.kill()
            self._process.wait(10)

    def add(self, name: str, cpus: int = 1) -> None:
        """Start a node, and wait until the cluster knows it."""
        self._call("add", {name: cpus})

    def add_all(self, nodes: dict[str, int]) -> None:
        """Start several nodes at once. nodes: Their names and CPUs."""
        self._call("add", nodes)

    def stop(self, name: str) -> None:
        """Kill all processes of a node."""
        self._call("stop", name)

    def processes(self) -> list[psutil.Process]:
        """All processes of the cluster."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def actors(self) -> list[int]:
        """Process ids of the engines' actors."""
        found = []
        for process in self.processes():
            with _already_gone():
                if "ray::EngineActor" in " ".join(process.cmdline()):
                    found.append(process.pid)
        return found

    def _call(self, *command: Any) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        while (line := self._process.stdout.readline()) != "done\n":
            assert line, f"the cluster's process ended during {command}"


@contextmanager
def _already_gone() -> Iterator[None]:
    with suppress(psutil.Error):
        yield


def main(homes: str, port: int, client_port: int) -> None:
    """The process: obeys one command a line."""
    from ray.cluster_utils import Cluster

    cluster, nodes = Cluster(), {}  # nodes: by name, with the cluster that each was added to
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        if verb == "add":
            for name, cpus in arguments[0].items():
                more: dict[str, Any] = {}
                if name == HEAD:
                    cluster = Cluster()  # the connection to an earlier head is of no use
                    more |= {"gcs_server_port": port, "include_dashboard": False, "no_monitor": True}
                    more |= {"ray_client_server_port": client_port} if client_port else {}
                address = "127.0.0.1" if name == HEAD else "127.0.0.2"  # so that this machine belongs to the head alone
                nodes[name] = cluster, cluster.add_node(
                    wait=False, num_cpus=cpus, node_ip_address=address, node_name=name, object_store_memory=100 << 20,
                    include_log_monitor=False, env_vars={"HF_HOME": f"{homes}/{name}"}, **more)
            for name in arguments[0]:
                cluster._wait_for_node(nodes[name][1])
        elif verb == "stop":
            owner, node = nodes.pop(arguments[0])
            owner.remove_node(node, allow_graceful=False)
        else:
            for owner, node in nodes.values():
                owner.remove_node(node, allow_graceful=False)
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
