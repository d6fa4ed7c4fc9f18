"""Assets: the built page, read into a table once. A request's path is looked up there and never opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.responses import Response

from lcm_daemon.core.errors import LcmDaemonError

PAGE = Path(__file__).parent / "page"

TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}

POLICY = "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def read(page: Path = PAGE) -> dict[str, Response]:
    """Every file of the page by its path ("/assets/index-1a2b.js"), and "/"; LcmDaemonError where it was not built."""
    if not (page / "index.html").is_file():
        raise LcmDaemonError("panel: its page is missing from this installation; reinstall lcm-daemon, "
                             "or in a checkout run: npm install && npm run build, in lcm_daemon/controllers/panel/ui")
    files = [p for p in sorted(page.rglob("*")) if p.suffix in TYPES and p.is_file()]
    table = {f"/{p.relative_to(page).as_posix()}": _response(p) for p in files}
    return {"/": table["/index.html"], **table}


def _response(path: Path) -> Response:
    hashed = path.parent.name == "assets"  # the name changes with the content
    cache = "public, max-age=31536000, immutable" if hashed else "no-cache"
    return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers={**HEADERS, "Cache-Control": cache})
