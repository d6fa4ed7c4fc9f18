"""Tokens of Ray clusters, with servers that answer as Ray 2.60 does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.render.ray_token import CLIENT_CALL, CLUSTER_CALL, ClusterRefusal, check_token, read_token
from tests.conftest import need_module
from tests.rigs.daemon import free_port


def test_a_token_is_found_where_ray_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert read_token() == ""
    with pytest.raises(ClusterRefusal, match="this machine has no Ray token"):
        check_token("127.0.0.1:1", is_client_port=False, required=True)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("a\n")
    assert read_token() == "a"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "elsewhere"))
    assert read_token() == ""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b")
    assert read_token() == "b"


@contextmanager
def _server(accepted: str | None, method: str) -> Iterator[str]:
    """A gRPC server. accepted: The token that it asks for, or None. Yields its address."""
    need_module("grpc")
    import grpc

    def answer(request: bytes, context: Any) -> bytes:
        given = dict(context.invocation_metadata()).get("authorization")
        if accepted is not None and given != f"Bearer {accepted}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "")
        return b""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, call: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer) if call.method == method else None

    with ThreadPoolExecutor(1) as pool:
        server, address = grpc.server(pool, [Handler()]), f"127.0.0.1:{free_port()}"
        server.add_insecure_port(address)
        server.start()
        yield address
        server.stop(None).wait()


@pytest.mark.parametrize("method", [CLUSTER_CALL, CLIENT_CALL])
@pytest.mark.parametrize(("accepted", "required", "problem"), [
    ("mine", True, None),
    ("other", True, "refuses this machine's token: copy"),
    (None, True, "accepts anyone: start Ray on its nodes with RAY_AUTH_MODE=token"),
    (None, False, None),
    ("mine", False, "asks for a token: leave `token: false` out"),
])
def test_a_cluster_and_this_machine_agree_on_tokens(
    method: str, accepted: str | None, required: bool, problem: str | None, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    with _server(accepted, method) as address:
        expected = pytest.raises(ClusterRefusal, match=problem) if problem else nullcontext()
        with expected as caught:
            check_token(address, is_client_port=method == CLIENT_CALL, required=required)
        assert caught is None or "\n" not in str(caught.value)
