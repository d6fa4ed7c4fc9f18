"""Names and signatures of accelerators that need an NVIDIA GPU, from their wheels; accelerators.json is made by

    pip download --no-deps torch-tensorrt onediff stable-fast-pruna
    python -m tests.rigs.accelerator_names WHEEL...

A second wheel of a package, for an older version, is kept under "PACKAGE VERSION".

stable-fast itself has wheels only for older versions of torch; its diffusion_pipeline_compiler.py is the same.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.rigs.native_names import signature

FILE = Path(__file__).parent / "accelerators.json"

# By wheel: file, owner, and the names of the file that the adapter uses.
SOURCES = {
    "torch_tensorrt": (("torch_tensorrt/_compile.py", "torch_tensorrt", ("compile",)),
                       ("torch_tensorrt/dynamo/_compiler.py", "dynamo", ("compile",))),
    "onediff": (("onediff/infer_compiler/backends/compiler.py", "infer_compiler", ("compile",)),
                ("onediff/infer_compiler/backends/env_var.py", "infer_compiler", ("OneflowCompileOptions",)),
                ("onediff/infer_compiler/__init__.py", "infer_compiler.__init__", ()),
                ("onediff/infer_compiler/backends/__init__.py", "exported", ())),
    "stable_fast_pruna": (("sfast/compilers/diffusion_pipeline_compiler.py", "diffusion_pipeline_compiler",
                           ("compile_unet", "CompilationConfig")),),
}


def load() -> dict[str, Any]:
    """By wheel: {"version", "made", "names": {owner: {name: signature}}}."""
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


def read(wheel: zipfile.ZipFile, package: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for file, owner, wanted in SOURCES[package]:
        tree = ast.parse(wheel.read(file))
        known = names.setdefault(owner, {})
        if not wanted:
            known |= {alias.name: {} for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name in wanted:
                known[node.name] = signature(node, 0)
            if isinstance(node, ast.ClassDef) and node.name in wanted:
                known[node.name] = fields(node)
                for inner in (item for item in node.body if isinstance(item, ast.ClassDef)):
                    names.setdefault(node.name, {})[inner.name] = fields(inner)
    return names


def fields(node: ast.ClassDef) -> dict[str, Any]:
    """Signature of a dataclass's constructor; every field has a default."""
    return {"required": 0, "names": [], "keywords": list(annotated(node))}


def annotated(node: ast.ClassDef) -> Iterator[str]:
    for item in node.body:
        if isinstance(item, ast.AnnAssign):
            yield ast.unparse(item.target)


def main(wheels: list[str]) -> None:
    content = {}
    for path in map(Path, wheels):
        package, version = path.name.split("-")[:2]
        with zipfile.ZipFile(path) as wheel:
            key = f"{package} {version}" if package in content else package
            content[key] = {"version": version, "made": f"{path.name} "
                                f"(sha256 {hashlib.sha256(path.read_bytes()).hexdigest()})",
                                "names": read(wheel, package)}
    FILE.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
