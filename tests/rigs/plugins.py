"""Plugins in a folder of `sys.path`, with the metadata that an installer writes: the example's, and further ones."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins"


def install(site: Path, package: str, version: str, points: Mapping[str, Mapping[str, str]],
            modules: Mapping[str, str] | None = None) -> None:
    """Write a package into `site`. points: entry points by group; modules: text by name."""
    info = site / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", "utf-8")
    lines = [line for group, names in points.items()
             for line in (f"[{group}]", *(f"{name} = {path}" for name, path in names.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")
    for name, text in (modules or {}).items():
        (site / f"{name}.py").write_text(text, "utf-8")


def install_example(site: Path) -> None:
    """Install examples/plugins as its pyproject.toml says."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    install(site, project["name"], project["version"], project["entry-points"])
    shutil.copytree(EXAMPLE / "night_vision", site / "night_vision", ignore=shutil.ignore_patterns("__pycache__"))
