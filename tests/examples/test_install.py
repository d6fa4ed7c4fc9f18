"""The installer: the build of torch for each card, what it does to a home folder, again, and back."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need, need_module

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "install"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
POSIX = pytest.mark.skipif(os.name == "nt", reason="a script for sh")

# A uv that makes what the real one makes, as far as the installer looks at it, and writes down how it was called.
UV = """#!/bin/sh
echo "$@" >> "$UV_LOG"
case "$1 $2" in
    "pip install") case "$3" in --help) echo "--torch-backend cpu cu126 cu128 cu130"; exit ;; esac
        printf '#!/bin/sh\\n' > "$(dirname "$4")/lcm-daemon" ;;
    venv*) for last; do :; done
        mkdir -p "$last/bin"
        printf '#!/bin/sh\\ncase "$2" in *torch*) echo torch 2.13.0 ;; esac\\n' > "$last/bin/python"
        chmod +x "$last/bin/python" ;;
esac
"""


@pytest.fixture(scope="module")
def parts() -> Iterator[Any]:
    """The installer's modules, by name; they import each other as programs do that lie in one folder."""
    sys.path.insert(0, str(FOLDER))
    names = ("cards", "changes", "environment", "menu", "install")
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(FOLDER))
        for name in names:
            sys.modules.pop(name, None)


class Home:
    """A home folder, and a PATH whose first programs are ours."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.log = folder / "home", folder / "bin", folder / "uv.log"
        self.wheel = folder / "lcm_daemon-0-py3-none-any.whl"
        self.wheel.touch()
        self.folder.mkdir()
        self.bin.mkdir()

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def install(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the installer; of a wheel, as copying the checkout's files takes a second."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "SUDO_"))}
        return subprocess.run(
            ["sh", str(FOLDER / "install.sh"), "--source", str(self.wheel), *options],
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={**kept, "HOME": str(self.folder), "UV_LOG": str(self.log), "PYTHONDONTWRITEBYTECODE": "1",
                 "PATH": f"{self.bin}:{Path(sys.executable).parent}:/usr/bin:/bin"})

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize(("rows", "system", "backend", "says"), [
    (["NVIDIA GeForce RTX 5090, 580.95.05, 12.0"], "linux", "cu130", "this card"),
    (["NVIDIA GeForce RTX 3080, 550.54.14, 8.6"], "linux", "cu126", "this card"),
    (["NVIDIA GeForce RTX 5070, 570.86.15, 12.0"], "linux", "cu128", "this card"),
    (["NVIDIA GeForce GTX 1080, 580.95.05, 6.1"], "linux", "cu126", "this card"),
    (["Tesla V100-SXM2-16GB, 535.183.06, 7.0"], "linux", "cu126", "this card"),
    (["NVIDIA GeForce RTX 2060, 525.60.13, 7.5"], "linux", "cu126", "this card"),
    (["NVIDIA GeForce RTX 2060, 525.60.11, 7.5"], "linux", "cpu", "older than 525.60.13"),
    (["NVIDIA GeForce RTX 2060, 527.41, 7.5"], "win32", "cpu", "older than 528.33"),
    (["NVIDIA GeForce RTX 2060, 528.33, 7.5"], "win32", "cu126", "this card"),
    (["NVIDIA GeForce GTX 680, 580.10, 3.0"], "linux", "cpu", "older than what torch is built for"),
    (["NVIDIA X, 610.1, 13.0"], "linux", "cu130", "this card"),
    (["NVIDIA H100 PCIe, 580.95.05, 9.0", "NVIDIA L4, 580.95.05, 8.9"], "linux", "cu130", "these cards"),
    (["NVIDIA GeForce GTX 1080, 580.95.05, 6.1", "NVIDIA GeForce RTX 4090, 580.95.05, 8.9"], "linux", "cu126", "these"),
    (["NVIDIA GeForce GTX 1080, 580.95.05, 6.1", "NVIDIA GeForce RTX 5090, 580.95.05, 12.0"], "linux", "cu130",
     "NVIDIA GeForce GTX 1080 cannot be used"),
    (["Quadro K, 580.95.05, [N/A]"], "linux", "cu130", "this card"),
])
def test_the_build_of_torch_for_each_card(parts: Any, rows: list[str], system: str, backend: str, says: str) -> None:
    cards = [parts["cards"].read_row(row, 2) for row in rows]
    choice = parts["cards"].choose_build(cards, system)
    assert choice.backend == backend
    assert says in choice.reason
    assert all(row.split(",")[0] in choice.found for row in rows)


@pytest.mark.parametrize("row", ["", "No devices were found", "NVIDIA-SMI has failed, because, it", "a, [N/A], 8.6"])
def test_a_row_that_names_no_card(parts: Any, row: str) -> None:
    assert parts["cards"].read_row(row, 2) is None


def test_macs(parts: Any) -> None:
    assert parts["cards"].choose_torch("darwin", "arm64").backend == ""
    with pytest.raises(SystemExit, match="Intel"):
        parts["cards"].choose_torch("darwin", "x86_64")


@pytest.mark.parametrize(("vendor", "says"), [
    ("0x10de", "install NVIDIA's driver"), ("0x1002", "--torch rocm"), ("0x8086", "the CPU renders")])
def test_cards_without_a_driver_of_nvidia(
        parts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str, says: str) -> None:
    for name, kind, maker in (("0", "0x030000", vendor), ("1", "0x020000", "0x10de")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "class").write_text(f"{kind}\n")
        (tmp_path / name / "vendor").write_text(f"{maker}\n")
    monkeypatch.setattr(parts["cards"], "PCI", tmp_path)
    monkeypatch.setattr(parts["cards"], "NVIDIA_SMI", ())
    choice = parts["cards"].choose_torch("linux", "x86_64")
    assert (choice.backend, says in choice.reason) == ("cpu", True)


@POSIX
@pytest.mark.parametrize(("answer", "found"), [
    ("echo 'NVIDIA GeForce RTX 3080, 550.54.14, 8.6'", "for CUDA 12.6"),
    ("case $1 in *compute_cap*) exit 2 ;; esac; echo 'Tesla T4, 525.105.17'", "for CUDA 12.6"),
    ("echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver'; exit 9", "for the CPU"),
])
def test_a_dry_run_changes_nothing(home: Home, answer: str, found: str) -> None:
    home.program("nvidia-smi", f"#!/bin/sh\n{answer}\n")
    result = home.install("--dry-run")
    assert (result.returncode, home.files()) == (0, set()), result.stderr
    assert re.search(rf"^torch: +{found}", result.stdout, re.MULTILINE)
    backend = "cu126" if "CUDA" in found else "cpu"
    assert f"--torch-backend {backend} " in result.stdout
    assert result.stdout.endswith("Nothing was changed.\n")


@POSIX
def test_installing_twice_and_removing(home: Home) -> None:
    home.program("uv", UV)
    home.program("nvidia-smi", "#!/bin/sh\necho 'NVIDIA GeForce RTX 5090, 580.95.05, 12.0'\n")
    (home.folder / "mine.txt").write_text("stays")
    for _ in range(2):
        result = home.install("--dir", str(home.folder / "a folder"))
        assert result.returncode == 0, result.stdout + result.stderr
    calls = [line for line in home.log.read_text().splitlines() if "--help" not in line]
    assert [line.split()[0] for line in calls] == ["venv", "pip", "pip"]  # the second run keeps the environment
    assert "--torch-backend cu130" in calls[1]
    assert "gpu" in calls[1]
    assert not any("--reinstall-package torch" in line for line in calls)
    entry = (home.folder / ".local/share/applications/lcm-daemon.desktop").read_text()
    assert f'Exec="{home.folder}/a folder/venv/bin/lcm-daemon" run --open\n' in entry
    command = home.folder / ".local/bin/lcm-daemon"
    assert os.access(command, os.X_OK)
    home.program("nvidia-smi", "#!/bin/sh\nexit 9\n")  # the card was taken out
    assert home.install("--dir", str(home.folder / "a folder")).returncode == 0
    assert "--torch-backend cpu --reinstall-package torch " in home.log.read_text().splitlines()[-1]
    assert home.install("--uninstall", "--dir", str(home.folder / "a folder")).returncode == 0
    assert home.files() == {"mine.txt"}
    assert not (home.folder / "a folder").exists()
    again = home.install("--uninstall", "--dir", str(home.folder / "a folder"))
    assert (again.returncode, "nothing to remove" in again.stderr) == (1, True)


@POSIX
def test_a_service_that_plays_with_it_stops_the_removal(home: Home) -> None:
    unit = home.folder / ".config/systemd/user/lcm-daemon-mirror.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    result = home.install("--uninstall")
    assert (result.returncode, "lcm-daemon-mirror.service. Remove them first" in result.stderr) == (1, True)


def test_services_of_the_system_are_found(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(parts["install"], "SYSTEM_SERVICES", (tmp_path,))
    for name, folder in (("ours", tmp_path / "lcm"), ("other", tmp_path / "else")):
        (tmp_path / f"lcm-daemon-{name}.service").write_text(f"ExecStart={folder}/venv/bin/python -m lcm_daemon run\n")
    found = parts["install"].find_services(tmp_path / "lcm")
    assert [unit.name for unit in found] == ["lcm-daemon-ours.service"]


@POSIX
def test_what_others_put_there_stays(home: Home) -> None:
    home.program("uv", UV)
    command = home.folder / ".local/bin/lcm-daemon"
    command.parent.mkdir(parents=True)
    command.write_text("of pipx")
    result = home.install("--torch", "cpu")
    assert f"{command} exists and is not ours" in result.stdout
    home.install("--uninstall")
    assert home.files() == {".local/bin/lcm-daemon"}


@POSIX
def test_links_and_environments_of_others_stay(home: Home) -> None:
    home.program("uv", UV)
    command, other = home.folder / ".local/bin/lcm-daemon", home.folder / "project/venv"
    command.parent.mkdir(parents=True)
    command.symlink_to(home.folder / "removed tool/lcm-daemon")  # what `uv tool` leaves
    result = home.install("--torch", "cpu")
    assert (result.returncode, f"{command} exists and is not ours" in result.stdout) == (0, True)
    (other / "bin").mkdir(parents=True)
    (other / "bin/python").symlink_to(sys.executable)
    result = home.install("--torch", "cpu", "--dir", str(other.parent))
    assert (result.returncode, f"{other} exists and is not ours" in result.stderr) == (1, True)
    assert home.install("--uninstall").returncode == 0
    assert home.files() == {".local/bin/lcm-daemon", "project/venv/bin/python"}


@POSIX
@pytest.mark.parametrize(("options", "says"), [
    (("--source", "/nowhere.whl"), "/nowhere.whl does not exist"),
    (("--source", "/etc", "--dry-run"), "/etc is not a checkout"),
    (("--dir", "/dev/null"), "Stopped: /dev/null"),
])
def test_places_that_are_wrong(home: Home, options: tuple[str, ...], says: str) -> None:
    home.program("uv", UV)
    result = home.install("--torch", "cpu", *options)
    assert (result.returncode, says in result.stderr, "Traceback" in result.stderr) == (1, True, False), result.stderr
    assert home.files() == set()


@POSIX
def test_a_command_that_fails_is_the_end(home: Home) -> None:
    home.program("uv", UV.replace("printf '#!/bin/sh\\n' >", "exit 4; :"))
    result = home.install("--torch", "cpu")
    assert result.returncode == 1
    assert "exit code 4" in result.stderr
    assert not (home.folder / ".local/bin/lcm-daemon").exists()


def test_a_file_that_cannot_be_removed_is_named(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = parts["changes"].Changes(tmp_path, dry=False)
    changes.write(tmp_path / "used", "")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "it is used by another program")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(SystemExit, match="used cannot be removed: it is used by another program"):
        parts["changes"].Changes(tmp_path, dry=False).remove_all()


def test_a_menu_entry_runs_a_program_of_any_name(parts: Any) -> None:
    """The examples of the Desktop Entry Specification: a backslash is written as four, a dollar sign after two."""
    assert parts["changes"].quoted([r"/a b/c\d", '$e`f"g', "100%"]) == (
        r'"/a b/c\\\\d"' + " " + r'''"\\$e\\`f\\"g"''' + ' "100%%"')


@pytest.mark.parametrize(("given", "wanted"), [
    (None, ("cu130", "torch")), ("cpu", ("cpu", "torch")), ("torch==2.13.0", ("", "torch==2.13.0")),
    ("/wheels/torch-2.13.0+cpu.whl", ("", "/wheels/torch-2.13.0+cpu.whl"))])
def test_a_torch_of_ones_own(parts: Any, given: str | None, wanted: tuple[str, str]) -> None:
    assert parts["install"].read_torch(given, "cu130") == wanted


@pytest.mark.slow
def test_the_script_for_sh_is_clean() -> None:
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    need(program is not None, "shellcheck is not installed")
    found = subprocess.run([str(program), FOLDER / "install.sh"], capture_output=True, text=True)
    assert found.stdout == ""


def test_the_script_for_powershell_is_in_order() -> None:
    """A grammar of another project reads it, and finds the functions; no package brings PowerShell itself."""
    grammar = need_module("tree_sitter_powershell", "tree-sitter-powershell")
    reader = need_module("tree_sitter", "tree-sitter")
    text = (FOLDER / "install.ps1").read_bytes()
    root = reader.Parser(reader.Language(grammar.language())).parse(text).root_node
    assert not root.has_error
    names = re.findall(rb"^function ([\w-]+)", text, re.MULTILINE)
    assert names == [b"Find-Python", b"Install-Package"]
    assert str(root).count("(function_statement") == len(names)


def test_the_scripts_agree_with_the_project(parts: Any) -> None:
    installer, pythons, sources = parts["install"], parts["environment"].PYTHONS, parts["environment"].SOURCES
    low, high = (".".join(map(str, version)) for version in pythons)
    assert PROJECT["requires-python"] == f">={low},<{high}"
    for script in ("install.sh", "install.ps1"):
        text = (FOLDER / script).read_text("utf-8")
        assert f"{pythons[0]} <= sys.version_info[:2] < {pythons[1]}" in text
        assert f">={low},<{high}" in text
    extras = {*installer.EXTRAS, "gpu", *(name for names in installer.MORE.values() for name in names)}
    assert extras <= PROJECT["optional-dependencies"].keys()
    assert all((ROOT / name).exists() for name in (*sources, parts["menu"].ICON))
    assert {"README.md", "LICENSE"} <= set(sources)


def test_a_checkout_is_copied_without_what_a_build_leaves(parts: Any, tmp_path: Path) -> None:
    checkout, folder = tmp_path / "checkout", tmp_path / "copy"
    for name in ("lcm_daemon/core/__pycache__/old.pyc", "lcm_daemon/core/clock.py", "show_configs/demo.yaml",
                 "pyproject.toml", "README.md", "LICENSE", "build/lib/lcm_daemon/removed.py"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    folder.mkdir()
    parts["environment"].copy_source(checkout, folder)
    copied = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert copied == {"lcm_daemon/core/clock.py", "show_configs/demo.yaml", "pyproject.toml", "README.md", "LICENSE"}
