"""Where show files are: a path, or the name of a show that comes with the daemon."""

from __future__ import annotations

from pathlib import Path

from lcm_daemon.automation.cue_store import RECORDED
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.schema import (
    nearest,
)
from lcm_daemon.recipes.reader import names

_PACKAGE = Path(__file__).parents[1]
FOLDER = next(  # in the package once it is installed, beside it in a checkout
    (f for f in (_PACKAGE / "show_configs", _PACKAGE.parent / "show_configs") if f.is_dir()), _PACKAGE / "show_configs",
)


def read_text(path: str | Path) -> str:
    """The text of a show's file, found as `find_show` does. Raises LcmDaemonError, one line that says what to do."""
    word = str(path)
    try:
        return find_show(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise LcmDaemonError(f"{path}: cannot be read: it is no text in UTF-8; save it as that") from error
    except FileNotFoundError as error:
        if word in names():
            reason = f"{word} is a recipe, not a show; play it with: lcm-daemon run demo --set recipe={word}"
        else:
            reason = f"{path}: cannot be read: {error.strerror}{nearest(word, [show.stem for show in shows()])}"
        raise LcmDaemonError(reason) from error
    except OSError as error:
        raise LcmDaemonError(f"{path}: cannot be read: {error.strerror}") from error


def find_show(path: str | Path) -> Path:
    """A path as it is, or the show of that name in the folder that comes with the daemon."""
    own = FOLDER / f"{Path(path).stem}.yaml"
    is_name = Path(path).name == str(path) or Path(path).parent.name == FOLDER.name
    return own if not Path(path).is_file() and is_name and own.exists() else Path(path)


def shows() -> list[Path]:
    """The shows that come with the daemon."""
    return sorted(path for path in FOLDER.glob("*.yaml") if not path.name.endswith(RECORDED))


def _is_packaged(file: Path) -> bool:
    return FOLDER.resolve() in file.resolve().parents
