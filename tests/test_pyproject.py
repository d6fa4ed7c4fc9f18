"""What the package ships beside its code, and how the test suite is set up."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PANEL = ROOT / "lcm_daemon" / "controllers" / "panel"


def test_every_licence_is_there_and_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    files = project["project"]["license-files"]
    assert all((ROOT / file).is_file() for file in files)
    assert "lcm_daemon/controllers/panel/LICENSES.txt" in files
    assert "LICENSES.txt" in project["tool"]["setuptools"]["package-data"]["lcm_daemon.controllers.panel"]


def test_every_package_is_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found = {".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "lcm_daemon").rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == found | {"lcm_daemon.show_configs"}


def test_the_pages_notice_names_what_the_page_holds() -> None:
    notice = (PANEL / "LICENSES.txt").read_text("utf-8")
    page = "".join(path.read_text("utf-8") for path in (PANEL / "page" / "assets").iterdir())
    for sign, holder in (("svelte.dev", "Svelte Contributors"), ("tailwindcss.com", "Tailwind Labs")):
        assert sign in page
        assert f"Copyright (c) {'2016-2025 ' if sign == 'svelte.dev' else ''}{holder}" in notice
    assert "Permission is hereby granted, free of charge" in notice
