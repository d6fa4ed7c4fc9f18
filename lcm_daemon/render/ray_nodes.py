"""The nodes of a Ray cluster: tasks that run on each of them, and what they have installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lcm_daemon.render import ray_actor
from lcm_daemon.render.ray_cluster import RayCluster
from lcm_daemon.render.remote_engine import problem_of

DESCRIBE_SECONDS = 60.0  # that a node may take to start a process and answer


def on_every_node(cluster: RayCluster, function: Callable[..., Any], *arguments: Any,
                  timeout: float | None = None) -> Iterator[tuple[str, Any]]:
    """Run a function on every node that may run an engine; yield each node's id with its result, as they come.

    A result may be an exception: one of `cluster.errors`.

    Args:
        cluster: Connected.
        timeout: Seconds to wait for a further result; None waits for as long as the function takes.
    """
    ray = cluster.ray
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    task = ray.remote(function)
    pending = {task.options(num_cpus=0, max_retries=0, scheduling_strategy=affinity(node["NodeID"], soft=False))
               .remote(*arguments): str(node["NodeID"]) for node in cluster.nodes()}
    while pending:
        done, _ = ray.wait(list(pending), timeout=timeout)
        for reference in done:
            try:
                result = ray.get(reference)
            except cluster.errors as error:
                result = error
            yield pending.pop(reference), result
        if not done:
            yield from ((node, TimeoutError(f"no answer within {timeout:.0f} s")) for node in pending.values())
            return


def describe_nodes(cluster: RayCluster) -> dict[str, tuple[str, str, str]]:
    """Every node's id, with its name, what it has installed, and why it cannot run an engine ("" if it can)."""
    cluster.ray.cloudpickle.register_pickle_by_value(ray_actor)
    found = {}
    for node, result in on_every_node(cluster, ray_actor.describe_node, timeout=DESCRIBE_SECONDS):
        if isinstance(result, Exception):
            found[node] = node[:8], "", f"does not answer: {' '.join(str(result).split()):.120}"
            continue
        resources = next(each["Resources"] for each in cluster.ray.nodes() if each["NodeID"] == node)
        installed = (f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs, Ray {result['ray']}, Python "
                     f"{result['python']}, lcm-daemon {result['lcm_daemon'] or 'not installed'}")
        found[node] = cluster.node_name(result), installed, problem_of(result, cluster.token)
    return found
