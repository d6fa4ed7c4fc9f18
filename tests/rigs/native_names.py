"""Names and signatures of native packages that install on one system only, and a check of an adapter's calls.

`SpoutGL.json` and `syphon.json` beside this file are made from the packages' own wheels:

    pip download --no-deps --only-binary=:all: --python-version 3.11 --platform win_amd64 SpoutGL
    pip download --no-deps --only-binary=:all: --python-version 3.11 --platform macosx_12_0_universal2 syphon-python
    python tests/rigs/native_names.py WHEEL...

The Syphon wheel is Python: its syntax trees are read. SpoutGL is one compiled file that cannot be imported elsewhere:
the pairs below are from its binding's source (src/PySpoutGL.cpp at v0.1.1), and each name and each signature must occur
in the wheel's compiled file.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILES = {"spoutgl": "SpoutGL.json", "syphon_python": "syphon.json"}
SPOUT_COMMON = {
    "createOpenGL": "({%}) -> bool",
    "closeOpenGL": "({%}) -> bool",
    "isGLDXReady": "({%}) -> bool",
    "getSenderInfo": "({%}, {str}) -> object",
    "getActiveSender": "({%}) -> object",
    "setActiveSender": "({%}, {str}) -> bool",
    "setFrameSync": "({%}, {str}) -> None",
    "waitFrameSync": "({%}, {str}, {int}) -> bool",
}
SPOUT = {
    "SpoutSender": {
        **SPOUT_COMMON,
        "setSenderName": "({%}, {str}) -> None",
        "releaseSender": "({%}) -> None",
        "sendImage": "({%}, {Buffer}, {int}, {int}, {int}, {bool}, {int}) -> bool",
        "sendTexture": "({%}, {int}, {int}, {int}, {int}, {bool}, {int}) -> bool",
        "getFrame": "({%}) -> int",
    },
    "SpoutReceiver": {
        **SPOUT_COMMON,
        "setReceiverName": "({%}, {str}) -> None",
        "releaseReceiver": "({%}) -> None",
        "receiveImage": "({%}, {Optional[Buffer]}, {int}, {bool}, {int}) -> bool",
        "getSenderList": "({%}) -> list[str]",
        "getSenderWidth": "({%}) -> int",
        "getSenderHeight": "({%}) -> int",
        "getSenderFormat": "({%}) -> int",
        "getSenderFrame": "({%}) -> int",
        "isConnected": "({%}) -> bool",
        "isUpdated": "({%}) -> bool",
        "isFrameNew": "({%}) -> bool",
        "isFrameCountEnabled": "({%}) -> bool",
    },
    "helpers": {"isBufferEmpty": "({Buffer}) -> bool", "getBytesPerPixel": "({int}) -> int"},
}
SPOUT_CONSTANTS = {"enums": ["GL_RGBA", "GL_BGRA_EXT", "GL_RGB", "GL_BGR_EXT"]}


@dataclass(frozen=True)
class NativeCall:
    """One use of a native name in an adapter: line, owner, name, and number of arguments (None: not called)."""

    line: int
    owner: str
    name: str
    positional: int | None
    keywords: tuple[str, ...] = ()


def load(file: str) -> dict[str, Any]:
    """A fixture: {"package", "version", "made", "names": {owner: {name: signature}}}."""
    fixture: dict[str, Any] = json.loads((HERE / file).read_text())
    return fixture


def uses(source: Path, owners: Mapping[str, str]) -> Iterator[NativeCall]:
    """Uses in `source` of attributes of the expressions in `owners` (expression as written -> native owner)."""
    tree = ast.parse(source.read_text())
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (owner := owners.get(ast.unparse(node.value))):
            call = called.get(id(node))
            count = None if call is None else len(call.args)
            keywords = tuple(k.arg or "**" for k in call.keywords) if call else ()
            yield NativeCall(node.lineno, owner, node.attr, count, keywords)


def mistakes(fixture: Mapping[str, Any], calls: list[NativeCall]) -> list[str]:
    """Describe the calls whose name the package lacks, or whose arguments it does not take."""
    found = []
    for call in calls:
        known = fixture["names"].get(call.owner, {}).get(call.name)
        if known is None:
            found.append(f"line {call.line}: {call.owner} has no {call.name}")
        elif call.positional is not None and not fits(known, call):
            found.append(f"line {call.line}: {call.owner}.{call.name} takes {known}, not {call.positional} arguments")
    return found


def fits(known: Mapping[str, Any], call: NativeCall) -> bool:
    """Whether a call's arguments fit `known`: {"required": n, "names": [...], "keywords": [...]} of a callable."""
    if "required" not in known:
        return False
    count = (call.positional or 0) + len(call.keywords)
    allowed = {*known["names"][call.positional or 0 :], *known["keywords"]}
    return (
        known["required"] <= count
        and (call.positional or 0) <= len(known["names"])
        and set(call.keywords) <= allowed
    )


def read_spout(wheel: zipfile.ZipFile) -> dict[str, Any]:
    binary = next(wheel.read(name) for name in wheel.namelist() if name.endswith(".pyd"))
    names: dict[str, Any] = {owner: {} for owner in SPOUT}
    for owner, methods in SPOUT.items():
        for name, signature in methods.items():
            for text in (name, signature):
                if text.encode() + b"\0" not in binary:
                    raise SystemExit(f"{text!r} does not occur in the wheel")
            arguments = [word.strip(" {}") for word in signature.partition(" -> ")[0].strip("()").split(", ")]
            arguments = [word for word in arguments if word != "%"]
            names[owner][name] = {"required": len(arguments), "names": arguments, "keywords": []}
    for owner, constants in SPOUT_CONSTANTS.items():
        names[owner] = {constant: {} for constant in constants if constant.encode() + b"\0" in binary}
    plain = {"required": 0, "names": [], "keywords": []}
    names["SpoutGL"] = {"SpoutSender": plain, "SpoutReceiver": plain, "enums": {}, "helpers": {}, "__version__": {}}
    return names


def read_python(wheel: zipfile.ZipFile) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for file in sorted(name for name in wheel.namelist() if name.startswith("syphon/") and name.endswith(".py")):
        tree = ast.parse(wheel.read(file))
        module = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        functions = {node.name: signature(node, 0) for node in tree.body if isinstance(node, ast.FunctionDef)}
        names |= {module: {name: known for name, known in functions.items() if not name.startswith("_")}}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                names[node.name] = read_class(node, names)
    top = ast.parse(wheel.read("syphon/__init__.py"))
    exported = [alias.name for node in top.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    names["syphon"] = {name: names[name]["__init__"] for name in exported if "__init__" in names.get(name, {})}
    return {owner: known for owner, known in names.items() if known}


def read_class(node: ast.ClassDef, names: Mapping[str, Any]) -> dict[str, Any]:
    """Methods, properties and attributes of a class, those of its bases included."""
    known: dict[str, Any] = {}
    for base in node.bases:
        known |= names.get(ast.unparse(base), {})
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            is_property = any(ast.unparse(d) == "property" or ".setter" in ast.unparse(d) for d in item.decorator_list)
            known[item.name] = {} if is_property else signature(item, 1)
        elif isinstance(item, ast.AnnAssign):
            known[ast.unparse(item.target)] = {}
    for assigned in (n for n in ast.walk(node) if isinstance(n, ast.Assign | ast.AnnAssign)):
        for target in assigned.targets if isinstance(assigned, ast.Assign) else [assigned.target]:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                known.setdefault(target.attr, {})
    return {name: value for name, value in known.items() if name == "__init__" or not name.startswith("_")}


def signature(node: ast.FunctionDef, skip: int) -> dict[str, Any]:
    arguments = [argument.arg for argument in node.args.args][skip:]
    keywords = [argument.arg for argument in node.args.kwonlyargs]
    return {"required": len(arguments) - len(node.args.defaults), "names": arguments, "keywords": keywords}


def write(wheel: Path) -> None:
    package, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as opened:
        names = (read_spout if package == "spoutgl" else read_python)(opened)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    fixture = {"package": package, "version": version, "made": f"native_names.py {wheel.name} (sha256 {digest})"}
    rows = ",\n".join(
        f"  {json.dumps(owner)}: {{\n"
        + ",\n".join(f"   {json.dumps(name)}: {json.dumps(known)}" for name, known in sorted(methods.items()))
        + "\n  }"
        for owner, methods in sorted(names.items())
    )
    head = json.dumps(fixture, indent=1).removesuffix("\n}")
    (HERE / FILES[package]).write_text(f'{head},\n "names": {{\n{rows}\n }}\n}}\n')


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        write(Path(argument))
