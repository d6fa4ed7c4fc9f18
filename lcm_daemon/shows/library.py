"""Finds show files: a path, or the name of a show that comes with the package."""

from __future__ import annotations

import functools
from pathlib import Path, PurePath

from lcm_daemon.automation.cue_store import RECORDED_CUES_SUFFIX
from lcm_daemon.core.document import path_exists, read_error
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.paths import state_folder
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.recipes.reader import recipe_names

_PACKAGE = Path(__file__).parents[1]
FOLDER = next(  # in the package once it is installed, beside it in a checkout
    (f for f in (_PACKAGE / "show_configs", _PACKAGE.parent / "show_configs") if f.is_dir()), _PACKAGE / "show_configs",
)


def find_show(path: str | Path) -> Path:
    """The file of a show.

    Args:
        path: A path. If that file does not exist, it may be the name of a show that comes with the package ("demo",
            "show_configs/demo.yaml").

    Returns:
        The show's file, or `path` if nothing is found.
    """
    if path_exists(Path(path)) and not Path(path).is_dir():
        return Path(path)
    for show in show_files():
        if str(path) == show.stem or PurePath(path) == PurePath(FOLDER.name, show.name):
            return show
    return Path(path)


def read_text(path: str | Path) -> str:
    """The text of a show file, found as by `find_show`. Raises LcmDaemonError: one line that says what to do."""
    try:
        return find_show(path).read_text("utf-8")
    except FileNotFoundError as error:
        raise LcmDaemonError(_not_found(str(path))) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LcmDaemonError(f"{path}: cannot be read: {read_error(error)}") from error


def _not_found(path: str) -> str:
    if path in recipe_names():
        return f"{path} is a recipe, not a show; play it with: lcm-daemon run demo --set recipe={path}"
    return f"{path}: cannot be read: no such file{nearest(PurePath(path).stem, [show.stem for show in show_files()])}"


def show_files() -> list[Path]:
    """Files of the shows that come with the package."""
    return sorted(path for path in FOLDER.glob("*.yaml") if not path.name.endswith(RECORDED_CUES_SUFFIX))


def companion_file(file: Path) -> Path:
    """The path that files beside a show are named after: the show's own, or in the state folder if it is packaged."""
    return state_folder() / file.name if is_packaged(file) else file


def is_packaged(file: Path) -> bool:
    """Whether the file is one of those that come with the package."""
    return _is_inside(FOLDER, file.absolute())


@functools.lru_cache(maxsize=256)  # the tick asks, and reads no files
def _is_inside(folder: Path, file: Path) -> bool:
    return folder.resolve() in file.resolve().parents
