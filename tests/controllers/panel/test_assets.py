"""The built page: complete, up to date, and served from a table alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path

import pytest

from lcm_daemon.controllers.panel import assets
from lcm_daemon.core.errors import LcmDaemonError
from tests.rigs.panel import Rig, get, serving

UI = assets.PAGE.parent / "ui"


def test_the_page_is_built_from_the_sources_that_lie_beside_it():
    """ui/sources.ts describes the hash. If this fails, build the page: .ci/page --write, or npm ci and npm run build in
    lcm_daemon/controllers/panel/ui."""
    digest = hashlib.sha256()
    for path in sorted(p.relative_to(UI).as_posix() for p in UI.rglob("*") if p.is_file()):
        if path.startswith("node_modules/") or any(part.startswith(".") for part in path.split("/")):
            continue
        text = (UI / path).read_bytes().replace(b"\r\n", b"\n")
        digest.update(path.encode() + b"\0" + text + b"\0")
    assert (assets.PAGE / "sources.sha256").read_text().strip() == digest.hexdigest()


def test_every_file_of_the_page_is_served_with_its_type_and_guards():
    async def scenario():
        async with serving(Rig()) as panel:
            index = await get(panel, "/")
            paths = re.findall(r'(?:src|href)="(/[^"]+)"', index.body.decode())
            return index, {path: await get(panel, path) for path in paths}

    index, files = asyncio.run(scenario())
    assert index.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in index.headers["content-security-policy"]
    assert {Path(path).suffix for path in files} == {".js", ".css", ".svg", ".png", ".webmanifest"}
    for path, answer in files.items():
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(assets.CONTENT_TYPES[Path(path).suffix])
        assert answer.body == (assets.PAGE / path[1:]).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("path", [
    "/server.py", "/../server.py", "/assets/../../server.py", "/assets/..%2f..%2fserver.py", "/..%5cserver.py",
    "//etc/passwd", "/sources.sha256", "/assets/", "/%00", "/nothing",
])
def test_a_path_is_never_opened(path):
    async def scenario():
        async with serving(Rig()) as panel:
            return (await get(panel, path)).status

    assert asyncio.run(scenario()) == 404


def test_the_page_is_small_and_has_no_source_maps():
    files = [p for p in assets.PAGE.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 300_000
    assert not [p for p in files if p.suffix == ".map" or b"sourceMappingURL" in p.read_bytes()]


def test_the_lock_file_names_no_registry():
    packages = json.loads((UI / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 20
    assert not [name for name, package in packages.items() if "resolved" in package]


def test_a_page_that_was_not_built_is_one_clear_line(tmp_path):
    with pytest.raises(LcmDaemonError, match=r"^panel: the page is missing .*npm run build.*$"):
        assets.load_page(tmp_path)
