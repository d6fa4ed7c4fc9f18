"""A server on loopback that speaks enough of the model hub's protocol for a pull, and can fail as the hub does.

Model info, redirects of large files to another host, entity tags, ranges, access tokens, and error codes are as in
https://huggingface.co/docs/hub/api and in what huggingface_hub reads of an answer (file_download.py, utils/_http.py).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote, urlsplit

TOKEN = "hf_standin"
LARGE = 1000  # bytes; a file of this size or more is stored in LFS and named by its SHA-256


@dataclass
class Repo:
    """One repository. Every revision has the same files."""

    files: Mapping[str, bytes]
    commit: str = "a" * 40
    revisions: Mapping[str, str] = field(default_factory=dict)  # commit of each branch or tag except main
    gated: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str
    token: bool
    host: str


def weights(size: int, seed: int = 0, name: bytes = b"x") -> bytes:
    """The content of a .safetensors file of this many bytes, with one tensor of random ones; at least 100.

    name: Of the tensor, at most 30 characters.
    """
    header = b'{"%b":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}'
    values = size - 100
    text = (header % (name, values, values)).ljust(92)
    return len(text).to_bytes(8, "little") + text + random.Random(seed).randbytes(values)


def digest(content: bytes) -> str:
    if len(content) >= LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class StandinHub:
    """`with StandinHub({"owner/name": Repo(...)}) as hub:`; `hub.url` goes into HF_ENDPOINT.

    Attributes:
        cut: By path: the number of bytes after which the connection breaks, once.
        alter: Paths whose bytes are sent changed.
        slow: If not None, a download waits halfway until this is set.
    """

    def __init__(self, repos: Mapping[str, Repo]) -> None:
        self.repos = dict(repos)
        self.requests: list[Request] = []
        self.cut: dict[str, int] = {}
        self.alter: set[str] = set()
        self.slow: threading.Event | None = None
        self.reached = threading.Event()  # a slow download has come to its middle
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="standin hub", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def downloads(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET" and "/api/" not in request.path]

    def __enter__(self) -> StandinHub:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self.slow:
            self.slow.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _handler(hub: StandinHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            return

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            token = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            host = (self.headers.get("Host") or "").split(":")[0]
            hub.requests.append(Request(self.command, path, self.headers.get("Range") or "", token, host))
            for pattern, answer in ((r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", self._info),
                                    (r"/([^/]+/[^/]+)/resolve/((?:refs/pr/)?[^/]+)/(.+)", self._resolve),
                                    (r"/blobs/([^/]+/[^/]+)/(.+)", self._blob)):
                if match := re.fullmatch(pattern, path):
                    answer(*match.groups())
                    return
            self._refuse(404, "EntryNotFound")

        def _info(self, name: str, revision: str | None) -> None:
            if (repo := self._repo(name, revision or "main")) is None:
                return
            siblings = [{"rfilename": path, "size": len(content), "blobId": digest(b"pointer of " + path.encode()),
                         "lfs": {"sha256": digest(content), "size": len(content), "pointerSize": 130}}
                        if len(content) >= LARGE else
                        {"rfilename": path, "size": len(content), "blobId": digest(content)}
                        for path, content in repo.files.items()]
            commit = repo.revisions.get(revision or "", repo.commit)
            body = json.dumps({"_id": "0", "id": name, "modelId": name, "sha": commit, "private": False, "tags": [],
                               "downloads": 0, "likes": 0, "gated": "auto" if repo.gated else False,
                               "siblings": siblings}).encode()
            self._send(200, body, {"Content-Type": "application/json"})

        def _resolve(self, name: str, revision: str, path: str) -> None:
            repo = self._repo(name, revision)
            if repo is None:
                return
            if repo.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._refuse(403, "GatedRepo")
            elif path not in repo.files:
                self._refuse(404, "EntryNotFound")
            elif len(content := repo.files[path]) >= LARGE:
                self._send(302, b"", {
                    "Location": f"http://localhost:{hub.port}/blobs/{name}/{path}", "X-Repo-Commit": repo.commit,
                    "X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest(content)}"'})
            else:
                self._content(path, content, {"X-Repo-Commit": repo.commit, "ETag": f'"{digest(content)}"'})

        def _blob(self, name: str, path: str) -> None:
            self._content(path, hub.repos[name].files[path], {"ETag": '"of the store"'})

        def _content(self, path: str, content: bytes, headers: Mapping[str, str]) -> None:
            if path in hub.alter:
                content = bytes(byte ^ 1 for byte in content)
            first = int((re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "") or ("", "0"))[1])
            about = {"Accept-Ranges": "bytes", "Content-Length": str(len(content) - first)}
            if first:
                about["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self.send_response(206 if first else 200)
            for key, value in {**headers, **about}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self._write(path, content[first:])

        def _write(self, path: str, content: bytes) -> None:
            half = hub.cut.pop(path, None)
            if half is not None:
                self.wfile.write(content[:half])
                self.close_connection = True
                self.connection.close()
            elif hub.slow and len(content) >= LARGE:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                hub.reached.set()
                hub.slow.wait(60)
                self._try_to_write(content[len(content) // 2:])
            else:
                self._try_to_write(content)

        def _try_to_write(self, content: bytes) -> None:
            try:
                self.wfile.write(content)
            except OSError:  # the client has gone
                self.close_connection = True

        def _repo(self, name: str, revision: str) -> Repo | None:
            repo = hub.repos.get(name)
            if repo is None:
                self._refuse(401, "RepoNotFound")
            elif revision not in ("main", repo.commit, *repo.revisions, *repo.revisions.values()):
                self._refuse(404, "RevisionNotFound")
                return None
            return repo

        def _refuse(self, status: int, code: str) -> None:
            self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": f"{code} for this test"})

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    return Handler
