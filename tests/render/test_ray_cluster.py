"""Addresses, tokens and refusals of a Ray cluster, as far as they need no cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon import __version__
from lcm_daemon.render import ray_cluster
from lcm_daemon.render.ray_cluster import RayCluster, split
from lcm_daemon.render.ray_token import ClusterRefusal, ClusterUnreachable
from lcm_daemon.render.remote_engine import problem_of
from tests.rigs.daemon import free_port

GOOD = {"id": "1", "host": "gpu-1", "ray": "2.60.0", "python": "3.11.2", "lcm_daemon": __version__,
        "authentication": "token"}


def test_addresses() -> None:
    assert split("10.0.0.5:6379") == ("10.0.0.5", 6379)
    assert split("ray://[::1]:10001") == ("[::1]", 10001)
    with pytest.raises(ClusterRefusal, match="nowhere"):
        split("nowhere")


def test_the_client_port_means_the_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert RayCluster("10.0.0.5:10001")._resolve() == "ray://10.0.0.5:10001"
    assert RayCluster("10.0.0.5:6379")._resolve() == "10.0.0.5:6379"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.6:6379")
    assert RayCluster("auto")._resolve() == "10.0.0.6:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(ray_cluster, "CURRENT", tmp_path / "current")
    with pytest.raises(ClusterUnreachable, match="ray start"):
        RayCluster("auto")._resolve()
    (tmp_path / "current").write_text("127.0.0.1:6379\n")
    assert RayCluster("auto")._resolve() == "127.0.0.1:6379"


def test_a_cluster_that_does_not_answer_is_one_line() -> None:
    port = free_port()
    with pytest.raises(ClusterUnreachable, match=f"waiting for .* 127.0.0.1:{port}: connection refused"):
        RayCluster(f"127.0.0.1:{port}").connect_once()


@pytest.mark.parametrize(("changed", "token", "problem"), [
    ({}, True, ""),
    ({"lcm_daemon": ""}, True, "has no lcm-daemon: install it there"),
    ({"lcm_daemon": "0.0.1"}, True, f"has lcm-daemon 0.0.1, this machine has {__version__}"),
    ({"authentication": "disabled"}, True, "RAY_AUTH_MODE=token"),
    ({"authentication": "disabled"}, False, ""),
])
def test_what_keeps_a_node_from_rendering(changed: dict[str, str], token: bool, problem: str) -> None:
    found = problem_of({**GOOD, **changed}, token)
    assert problem in found
    assert bool(problem) == bool(found)


def test_ray_s_own_texts_become_one_line() -> None:
    class Ray:
        def shutdown(self) -> None: ...

    cluster = RayCluster("10.0.0.5:6379")
    cluster.ray = Ray()
    mismatch = RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.55.0\n    Python: 3.12.3\n"
                            "This process on node 10.0.0.9 was started with:\n    Ray: 2.60.0\n    Python: 3.11.2\n")
    error = ConnectionError("Failed to connect")
    error.__cause__ = mismatch
    assert str(cluster._translate(error)) == (
        "the Ray cluster at 10.0.0.5:6379 has Ray 2.55.0 and Python 3.12.3, this machine has Ray 2.60.0 and Python "
        "3.11.2: install the same versions")
    error.__cause__ = RuntimeError("This node has an IP address of 10.0.0.9, and Ray expects this IP address to be "
                                   "either the GCS address or one of the Raylet addresses.")
    assert "ray start --address=10.0.0.5:6379 --num-cpus=0" in str(cluster._translate(error))
    assert "starting" in str(cluster._translate(ConnectionError("Failed to connect to Ray cluster at 10.0.0.5:6379")))
