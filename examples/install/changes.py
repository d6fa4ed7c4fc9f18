"""What the installer does to this machine: every command and every file goes through here, so that --dry-run sees it.

A list of the files that were made lies beside the environment. Uninstalling removes what is on it, and nothing else.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LIST = "installed.json"


class Changes:
    """Runs commands and writes files, or only prints them.

    Args:
        folder: Where the environment and the list of files are.
        dry: Whether nothing is changed.
    """

    def __init__(self, folder: Path, dry: bool) -> None:
        self.folder, self.dry = folder, dry
        self._list = folder / LIST
        self.before = self._read()
        self._files: list[str] = list(self.before.get("files", []))

    def _read(self) -> dict[str, object]:
        try:
            found = json.loads(self._list.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def run(self, *command: str | Path) -> None:
        """Run a command. Raises SystemExit if it fails; its own output says why."""
        words = [str(word) for word in command]
        print(f"  {shlex.join(words)}", flush=True)
        if self.dry:
            return
        code = subprocess.run(words).returncode
        if code:
            raise SystemExit(f"\nlcm-daemon is not installed: this command ended with exit code {code}; its own lines "
                             "are above.\nRun the installer again once the reason is removed.")

    def is_ours(self, path: Path) -> bool:
        """Whether this installer has made it, in this run or an earlier one."""
        return str(path) in self._files

    def write(self, path: Path, text: str, mode: int = 0o644) -> bool:
        """Write a file that is ours or new; returns False, with a line, if another program's file has its place.

        We make no links: one that has taken the place of our file is another program's.
        """
        if path.is_symlink() or (path.exists() and not self.is_ours(path)):
            print(f"  {path} exists and is not ours: it stays as it is")
            return False
        print(f"  writes {path}")
        if not self.dry:
            self.note(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            path.chmod(mode)
        return True

    def note(self, path: Path, **facts: str) -> None:
        """Put a file, and facts for the next run, on the list."""
        if self.dry:
            return
        if str(path) not in self._files:
            self._files.append(str(path))
        self.before = {**self.before, **facts, "files": self._files}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._list.write_text(json.dumps(self.before, indent=1) + "\n", "utf-8")

    def remove_all(self) -> None:
        """Remove every file on the list, the environment, and the folder if nothing else lies in it.

        Raises:
            SystemExit: The list is missing: this installer has not put anything there.
        """
        if not self._list.is_file():
            raise SystemExit(f"There is nothing to remove: {self._list} does not exist.")
        for path in map(Path, self._files):
            if path.is_symlink() or not path.exists():
                continue
            print(f"  removes {path}")
            if not self.dry:
                _remove(path)
        if self.dry:
            return
        self._list.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def _remove(path: Path) -> None:
    """Raises SystemExit if it is not possible: Windows keeps the files of a program that runs."""
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise SystemExit(f"{path} cannot be removed: {reason}. End lcm-daemon and run this again.") from error


def program_of(environment: Path, name: str) -> Path:
    """The path of a program of an environment, such as "python"."""
    return environment / (f"Scripts/{name}.exe" if sys.platform == "win32" else f"bin/{name}")


def find_user() -> None:
    """Check that the installer runs as the user who will play.

    Raises:
        SystemExit: It runs with sudo: root would own the user's files.
    """
    if sys.platform != "win32" and os.geteuid() == 0 and os.environ.get("SUDO_USER"):
        raise SystemExit("Run the installer without sudo: it installs for one user, and calls sudo where it needs it.")


def quoted(words: Sequence[str | Path]) -> str:
    """Words as the key Exec of a desktop entry: in double quotes, with its specification's two levels of escapes."""
    escapes = str.maketrans({character: f"\\{character}" for character in '\\"`$'} | {"%": "%%"})
    return " ".join(f'"{str(word).translate(escapes)}"' for word in words).replace("\\", r"\\")
