"""The files of the built page. They are read once; a request's path is looked up in a table and never opened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.responses import Response

from lcm_daemon.core.errors import LcmDaemonError

PAGE = Path(__file__).parent / "page"

PAGES = ("output", "view")  # pages beside the console, by their paths
JOIN = "join"  # the page of visitors, which the panel does not serve: they may not know of the console
CONTENT_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}

SECURITY_POLICY = "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'"
# As built files name each other:
_FILE = re.compile(r"""["'(](?:\.|/join)?/(?:assets/)?([\w-]+\.(?:js|css|svg|woff2))""")

HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def frame_ancestors(embed: Sequence[str]) -> str:
    """The Content-Security-Policy directive that lets this server's pages, and those of `embed`, show an answer."""
    return " ".join(["frame-ancestors 'self'", *embed])


def load_page(page: Path = PAGE, embed: Sequence[str] = ()) -> dict[str, Response]:
    """Read the built page.

    Args:
        page: The folder with the built files.
        embed: Origins of pages that may show this one inside them; "*" is every page.

    Returns:
        A response for each URL path, such as "/assets/index-1a2b.js" and "/".

    Raises:
        LcmDaemonError: The page has not been built.
    """
    _check(page, ("index", *PAGES))
    files = [path for path in sorted(page.rglob("*"))
             if path.suffix in CONTENT_TYPES and path.is_file() and path.stem.partition("-")[0] != JOIN]
    policy = f"{SECURITY_POLICY}; {frame_ancestors(embed)}"
    responses = {f"/{path.relative_to(page).as_posix()}": _response(path, policy) for path in files}
    pages = {f"/{name}": responses[f"/{name}.html"] for name in PAGES}
    return {"/": responses["/index.html"], **pages, **responses}


def load_join_page(page: Path = PAGE) -> dict[str, Response]:
    """Read the page of visitors, and the files that it names, directly or through another one; no other file.

    All of them lie below "/join", which a reverse proxy leads to the visitors' server.

    Args:
        page: The folder with the built files.

    Returns:
        A response for each URL path: "/join", and the files.

    Raises:
        LcmDaemonError: The page has not been built.
    """
    _check(page, (JOIN,))
    policy = f"{SECURITY_POLICY}; {frame_ancestors(())}"
    whole = re.sub('(href|src)="/', rf'\1="/{JOIN}/', (page / f"{JOIN}.html").read_text("utf-8"))
    found, texts = {f"/{JOIN}": _response(page / f"{JOIN}.html", policy, whole.encode())}, [whole]
    while texts:
        for name in _FILE.findall(texts.pop()):
            for path in (page / "assets" / name, page / name):
                url = f"/{JOIN}/{path.relative_to(page).as_posix()}"
                if url not in found and path.is_file():
                    found[url] = _response(path, policy)
                    texts.append(path.read_text("utf-8"))
    return found


def _check(page: Path, names: Sequence[str]) -> None:
    """Raise LcmDaemonError if one of the pages has not been built."""
    if not all((page / f"{name}.html").is_file() for name in names):
        raise LcmDaemonError("panel: the page is missing from this installation; reinstall lcm-daemon, or in a "
                             "checkout run: npm ci && npm run build, in lcm_daemon/controllers/panel/ui")


def _response(path: Path, policy: str, content: bytes | None = None) -> Response:
    """The response with a file. content: What to send in place of the file's own."""
    hashed = path.parent.name == "assets"  # the name changes with the content
    cache = "public, max-age=31536000, immutable" if hashed else "no-cache"
    headers = {**HEADERS, "Content-Security-Policy": policy, "Cache-Control": cache}
    body = path.read_bytes() if content is None else content
    return Response(body, media_type=CONTENT_TYPES[path.suffix], headers=headers)
