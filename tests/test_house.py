"""Rules for every source file of the package. Each file is read and parsed once; a test lists every offender."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from lcm_daemon.cli import build_parser
from tests.conftest import need

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lcm_daemon"

# Who may import whom: a package imports itself and those of earlier lines, never one of its own line.
ORDER: Sequence[set[str]] = [
    {"core"},
    {"recipes", "processes", "transports", "web", "exports"},
    {"pipelines", "automation", "controllers"},
    {"render", "desk", "contracts"},
    {"shows"},
    {"audience"},
    {"stage"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
PACKAGES = set().union(*ORDER)
MOST_AT_THE_TOP = 5  # modules directly in lcm_daemon/
MOST_ARROWS = 75  # pairs of packages of which one imports the other
ONLY_IN_PIPELINES = {"torch", "diffusers", "transformers", "peft", "safetensors", "accelerate"}
WINDOW_PROCESS = "transports/window_process.py"  # a program of its own
RTMIDI = "controllers/midi/rtmidi_library.py"
NATIVE = {
    "NDIlib": "transports/ndi_library.py", "SpoutGL": "transports/spout.py", "syphon": "transports/syphon.py",
    "simplejpeg": ("controllers/panel/preview.py", "controllers/panel/camera.py", "audience/camera_frames.py",
                   "render/frame_wire.py"),
    "ray": ("render/ray_cluster.py", "render/ray_actor.py"), "grpc": ("render/ray_cluster.py", "render/ray_token.py"),
    "starlette": ("controllers/panel/", "controllers/oscquery", "audience/"),
    "uvicorn": "web/server.py", "pythonosc": "controllers/osc",
    "rtmidi": RTMIDI, "supriya_midi": RTMIDI, "zeroconf": "controllers/oscquery/mdns.py",
    "sounddevice": "controllers/audio/device.py",
    "sdl2": WINDOW_PROCESS, "aalink": "controllers/ableton_link.py", "mido": ("controllers/midi/", "commands/midi_"),
}
BROAD = {"Exception", "BaseException"}
BROAD_ALLOWED = {"stage/guard.py", "render/engine.py", "desk/desk.py", "audience/server.py", "transports/runner.py",
                 "stage/live_source.py", "pipelines/accelerators/manager.py", "render/remote_engine.py",
                 "render/node_engine.py", "core/plugins.py",
                 "stage/background_poll.py", "stage/alarm_messages.py",
                 "stage/audio_process.py"}  # tick, loops, threads, code of others
UNSAFE = ("torch.load", "yaml.load(", "yaml.unsafe_load", "pickle.load", "shell=True", "eval(")

# Words that hide what a sentence says: none of the first, few of the second.
FORBIDDEN = ("anew", "whoever", "whatever", "is so", "what is so", "is no", "are no", "that there are", "so many",
             "it was not obeyed", "which this recipe has not", "something that is no number", "attending failed",
             "from now on", "as it stands")
RARE = ("nobody", "somebody", "meanwhile", "stands", "told", "goes on", "left out", "in turn")
MOST_RARE = 40
PAGE = PACKAGE / "controllers" / "panel" / "ui"  # the page's source
PAGE_KINDS = (".svelte", ".ts", ".js", ".css", ".html")
NOT_OURS = {"__pycache__", "node_modules"}


def files(folder: Path, *endings: str) -> list[Path]:
    """Every file below `folder` whose name has one of these endings, sorted; nothing that a tool put there."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        found += [Path(place, name) for name in names if name.endswith(endings)]
    return sorted(found)


SOURCES = files(PACKAGE, ".py")


@cache
def text_of(path: Path) -> str:
    return path.read_text("utf-8")


@cache
def nodes_of(path: Path) -> Sequence[ast.AST]:
    """Every node of the file's syntax tree."""
    return list(ast.walk(ast.parse(text_of(path))))


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def fail_if_any(offenders: Iterable[str]) -> None:
    if listed := list(offenders):
        pytest.fail("\n".join([f"{len(listed)} offenders:", *listed]), pytrace=False)


@cache
def imports(path: Path) -> Sequence[tuple[str, bool]]:
    """Every module imported, and whether that happens when this one is imported (not in a function, not for types)."""
    nodes = nodes_of(path)
    late = {id(n) for f in nodes if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
    late |= {id(n) for i in nodes if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.unparse(i.test)
             for n in ast.walk(i)}
    found = []
    for node in nodes:
        at_once = id(node) not in late
        if isinstance(node, ast.Import):
            found += [(alias.name, at_once) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", at_once))
            if (node.module or "").startswith("lcm_daemon"):  # a name imported from a package may be a module
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                found += [(name, at_once) for name in whole if module_file(name)]
    return found


def module_file(module: str) -> Path | None:
    """The file of one of our modules; None where that is no module."""
    place = ROOT.joinpath(*module.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def package_of(file: Path) -> str:
    """The innermost package that a file is in, as `controllers/osc`; "" for those of the top."""
    return "" if file.parent == PACKAGE else inside(file.parent)


def top_of(path: Path) -> str:
    return inside(path).split("/")[0].removesuffix(".py")


def level(package: str) -> int:
    return next(i for i, names in enumerate(ORDER) if package in names)


def test_every_package_has_its_place() -> None:
    assert {top_of(path) for path in SOURCES} - {"__init__"} == PACKAGES


def test_few_modules_lie_flat_at_the_top() -> None:
    assert len([path for path in SOURCES if path.parent == PACKAGE]) <= MOST_AT_THE_TOP


def test_imports_point_one_way() -> None:
    def offenders() -> Iterator[str]:
        for path in SOURCES:
            own = top_of(path)
            for module, _ in imports(path):
                other = [*module.split("."), ""][1]
                if not module.startswith("lcm_daemon.") or other not in PACKAGES or own == "__init__":
                    continue  # the package itself: its version
                if other != own and level(other) >= level(own):
                    yield f"{inside(path)} imports {module}, which is not below it"
    fail_if_any(offenders())


def test_no_two_packages_import_each_other() -> None:
    """Sub-packages count too: osc, oscquery, midi and panel know nothing of each other, or one way only."""
    arrows: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in SOURCES:
        for module, _ in imports(path):
            file = module_file(module) if module.startswith("lcm_daemon.") else None
            if file and package_of(file) and package_of(file) != package_of(path):
                arrows[package_of(path), package_of(file)].add(f"{inside(path)} imports {module}")
    pairs = {(a, b) for a, b in arrows if a < b and (b, a) in arrows and not b.startswith(f"{a}/")}
    fail_if_any(f"{a} and {b}: " + "; ".join(sorted(arrows[a, b] | arrows[b, a])) for a, b in sorted(pairs))
    tops = {(a.split("/")[0], b.split("/")[0]) for a, b in arrows}
    assert len({(a, b) for a, b in tops if a != b}) <= MOST_ARROWS


def test_heavy_and_native_libraries_stay_where_they_belong() -> None:
    def offenders() -> Iterator[str]:
        for path in SOURCES:
            where = inside(path)
            for module, at_once in imports(path):
                top = module.split(".")[0]
                if top in ONLY_IN_PIPELINES and not where.startswith(("pipelines/", "contracts/preprocessors")):
                    yield f"{where} imports {module}"
                if top in ONLY_IN_PIPELINES and at_once and where in ("pipelines/__init__.py", "pipelines/base.py"):
                    yield f"{where} imports {module} at once"
                if top in NATIVE and not where.startswith(NATIVE[top]):
                    yield f"{where} imports {module}"
                if top in NATIVE and at_once and where.startswith("transports/") and where != WINDOW_PROCESS:
                    yield f"{where} imports {module} before it is opened"
                if top == "av" and (at_once or not where.startswith("transports/")):
                    yield f"{where} imports av outside transports, or before it is opened"
    fail_if_any(offenders())


def test_a_broad_except_is_only_at_the_top_of_a_loop() -> None:
    def is_broad(node: ast.AST) -> bool:
        return isinstance(node, ast.ExceptHandler) and (
            node.type is None or (isinstance(node.type, ast.Name) and node.type.id in BROAD))
    fail_if_any(each_node(is_broad, (path for path in SOURCES if inside(path) not in BROAD_ALLOWED)))


def test_files_and_functions_stay_small() -> None:
    def is_long(node: ast.AST) -> bool:
        return (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and (node.end_lineno or 0) - node.lineno >= 50)
    long = [f"{inside(path)}: {lines} lines" for path in SOURCES if (lines := text_of(path).count("\n")) > 400]
    fail_if_any([*long, *each_node(is_long)])


def test_nothing_unsafe_is_loaded() -> None:
    fail_if_any(f"{inside(path)} uses {word}" for path in SOURCES for word in UNSAFE
                if word in text_of(path).replace(".eval()", ""))


def test_expressions_are_not_used_as_statements() -> None:
    """`a() if b else c()` and `a and b()` are an `if`; so is `self.x = y if b else self.x`."""
    def is_hidden_if(node: ast.AST) -> bool:
        if isinstance(node, ast.Expr):
            return isinstance(node.value, ast.IfExp | ast.BoolOp)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp) and len(node.targets) == 1:
            target = ast.unparse(node.targets[0])
            return "." in target and target in (ast.unparse(node.value.body), ast.unparse(node.value.orelse))
        return False
    fail_if_any(each_node(is_hidden_if))


def test_no_table_holds_unbound_private_methods() -> None:
    """`{"x": Klass._x}` hides from an editor who calls `_x`."""
    def is_table(node: ast.AST) -> bool:
        return isinstance(node, ast.Dict) and any(
            isinstance(value, ast.Attribute) and value.attr.startswith("_")
            and isinstance(value.value, ast.Name) and value.value.id[:1].isupper() for value in node.values)
    fail_if_any(each_node(is_table))


def test_a_public_class_name_is_used_once() -> None:
    places = defaultdict(list)
    for path in SOURCES:
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{inside(path)}:{node.lineno}")
    fail_if_any(f"{name}: {', '.join(found)}" for name, found in sorted(places.items()) if len(found) > 1)


def each_node(condition: Callable[[ast.AST], bool], paths: Iterable[Path] = SOURCES) -> Iterator[str]:
    """Place and first line of every node for which the condition holds."""
    for path in paths:
        for node in nodes_of(path):
            if condition(node):
                line = getattr(node, "lineno", 0)
                yield f"{inside(path)}:{line} {text_of(path).splitlines()[line - 1].strip()}"


def readable() -> Iterator[tuple[str, str]]:
    """Name and text of everything that a user or a developer reads."""
    yield "lcm-daemon --help", every_help()
    papers = [ROOT / "README.md", ROOT / "CHANGELOG.md", PACKAGE / "README.md", *files(ROOT / "examples", ".md")]
    settings = [*files(PACKAGE / "recipes", ".yaml"), *files(PACKAGE / "controllers", ".yaml"),
                *files(ROOT / "show_configs", ".yaml")]
    page = [*files(PAGE / "src", *PAGE_KINDS), PAGE / "index.html"]
    for path in (*SOURCES, *page, *papers, *settings):
        if path.exists():
            yield path.relative_to(ROOT).as_posix(), text_of(path)


def every_help() -> str:
    """The help of the program and of each of its commands."""
    pending, texts = [build_parser()], []
    while pending:
        parser = pending.pop()
        texts.append(parser.format_help())
        for action in parser._actions:
            if isinstance(action.choices, dict):
                pending += action.choices.values()
    return "\n".join(texts)


def pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Whole words in any case; the words of a phrase may lie on two lines of a comment or of a text."""
    gap = r"""[\s#*/"']+"""
    return re.compile(rf"\b(?:{'|'.join(gap.join(phrase.split()) for phrase in words)})\b", re.IGNORECASE)


def uses(words: Iterable[str]) -> list[str]:
    search = pattern(sorted(words, key=len, reverse=True))
    return [f"{name}:{text.count(chr(10), 0, match.start()) + 1} {' '.join(match[0].split())}"
            for name, text in readable() for match in search.finditer(text)]


def test_no_sentence_uses_a_forbidden_word() -> None:
    fail_if_any(uses(FORBIDDEN))


def test_few_sentences_use_a_rare_word() -> None:
    found = [use for use in uses(RARE) if use.startswith("lcm_daemon/")]
    assert len(found) <= MOST_RARE, "\n".join(found)


@pytest.mark.parametrize(("text", "count"), [
    ("There is no\n    # model", 1), ("This is not it; anew_x = 1", 0), ("Whoever\nasks", 1),
    ('"the value is "\n    "so"', 1), ("no. It is so many", 1), ("island so", 0)])
def test_words_are_found_across_lines_and_whole(text: str, count: int) -> None:
    assert len(pattern(FORBIDDEN).findall(text)) == count


def test_reading_a_show_imports_no_torch_and_no_native_library() -> None:
    code = (
        "import sys\nfrom lcm_daemon.shows.reader import load_show\nfrom lcm_daemon import transports\n"
        "load_show('demo')\n"
        "import lcm_daemon.stage.stage\n[transports.load(n) for n in transports.TRANSPORTS]\n"
        f"print(sorted(set(sys.modules) & {ONLY_IN_PIPELINES | {'NDIlib', 'SpoutGL', 'syphon', 'av', 'uvicorn'}!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_only_agreed_files_are_at_the_top_level() -> None:
    need(shutil.which("git") is not None, "git is not installed: it tells the project's files from others")
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("this is not a git checkout: nothing tells the project's files from others")
    agreed = {"lcm_daemon", "show_configs", "tests", "examples", "pyproject.toml", "README.md", "LICENSE"}
    agreed.add("CHANGELOG.md")
    tops = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {top for top in tops if not top.startswith(".")} <= agreed
