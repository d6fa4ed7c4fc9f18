"""Tokens of Ray clusters. Ray itself repeats a call that was refused for half a minute; one call here asks at once."""

from __future__ import annotations

import os
from pathlib import Path

from lcm_daemon.core.errors import LcmDaemonError

SECONDS = 3.0  # until a port that accepts connections must have answered a call
CLUSTER_CALL, CLIENT_CALL = "/ray.rpc.NodeInfoGcsService/CheckAlive", "/ray.rpc.RayletDriver/ClusterInfo"


class ClusterUnreachable(LcmDaemonError):
    """The cluster does not answer. It may do so later."""


class ClusterRefusal(LcmDaemonError):
    """The cluster cannot be used until its administrator or the user changes something."""


def read_token() -> str:
    """This machine's token; "" if it has none. It is looked for where Ray looks, in the same order.

    Raises:
        ClusterRefusal: The file cannot be read.
    """
    if token := os.environ.get("RAY_AUTH_TOKEN", ""):
        return token.strip()
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return file.read_text("utf-8").strip() if file.is_file() else ""
    except (OSError, ValueError) as error:
        raise ClusterRefusal(f"the Ray token in {file} cannot be read: {error}") from error


def check_token(target: str, is_client_port: bool, required: bool) -> None:
    """Ask a cluster whether it accepts this machine's token, and no caller without one.

    Args:
        target: "host:port".
        is_client_port: Whether that is the port of Ray's client.
        required: Whether the cluster must ask for a token.

    Raises:
        ClusterRefusal: Something is wrong with the tokens.
        ClusterUnreachable: It does not answer in time.
    """
    token = read_token() if required else ""
    if required and not token:
        raise ClusterRefusal("this machine has no Ray token: copy ~/.ray/auth_token of the cluster's head node to "
                             "the same place here, or set RAY_AUTH_TOKEN")
    method = CLIENT_CALL if is_client_port else CLUSTER_CALL
    asks = not _accepts(target, method, "")
    if asks and not required:
        raise ClusterRefusal(f"the Ray cluster at {target} asks for a token: leave `token: false` out of the show")
    if required and not asks:
        raise ClusterRefusal(f"the Ray cluster at {target} accepts anyone: start Ray on its nodes with "
                             "RAY_AUTH_MODE=token, or say `token: false` in the show")
    if required and not _accepts(target, method, token):
        raise ClusterRefusal(f"the Ray cluster at {target} refuses this machine's token: copy ~/.ray/auth_token of its "
                             "head node to the same place here, or set RAY_AUTH_TOKEN")


def _accepts(target: str, method: str, token: str) -> bool:
    """Whether a cluster takes a call. token: "" for a call without one."""
    import grpc

    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(method)(b"", metadata=metadata, timeout=SECONDS)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise ClusterUnreachable(f"the Ray cluster at {target} does not answer: it may be starting"
                                         ) from error
            return bool(error.code() != grpc.StatusCode.UNAUTHENTICATED)
    return True
