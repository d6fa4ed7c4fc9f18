"""EngineActor: what Ray starts on a node. It travels by value, so a node without lcm-daemon can say that it has none.

Only the standard library is imported here. The engine itself is `render.node_engine`, as it is installed on the node.
"""

from __future__ import annotations

from typing import Any


def describe_node() -> dict[str, str]:
    """What this node is and has installed; "" for what is missing."""
    import importlib.metadata
    import platform
    import socket

    import ray
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    try:
        version = importlib.metadata.version("lcm-daemon")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return {"id": ray.get_runtime_context().get_node_id(), "host": socket.gethostname(), "ray": ray.__version__,
            "python": platform.python_version(), "lcm_daemon": version,
            "authentication": "token" if is_token_auth_enabled() else "disabled"}


class EngineActor:
    """One engine on a node. Its methods run on several threads; `NodeEngine` keeps the frames in order."""

    def describe(self) -> dict[str, str]:
        """As `describe_node`."""
        return describe_node()

    def load(self, order: Any) -> Any:
        """Load a recipe; return `Loaded` or `Failed`. order: a `LoadOrder`."""
        from lcm_daemon.render.node_engine import NodeEngine

        self._engine = NodeEngine(order)
        return self._engine.load()

    def messages(self) -> list[Any]:
        """What the engine has said since the last call, waiting a while for something."""
        import time

        if not hasattr(self, "_engine"):
            time.sleep(0.1)
            return []
        messages: list[Any] = self._engine.messages()
        return messages

    def render(self, request: Any) -> Any:
        """Render a frame; return `NodeResult` or `Failed`. request: a `NodeRequest`."""
        return self._engine.render(request)
