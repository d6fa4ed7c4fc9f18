"""Headers of weight files: read without torch; other kinds of files are named."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.recipes.safetensors_header import BadWeightFile, TensorInfo, check_kind, read_header, read_metadata


def write_file(path: Path, header: Any, data: bytes = b"") -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def row(begin: int, end: int, shape: list[int], dtype: str = "F16") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_names_dtypes_shapes_and_texts(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_file(file, {"__metadata__": {"ss_base": "sd"}, "b": row(12, 16, [], "F32"), "a": row(0, 12, [2, 3])},
               bytes(16))
    assert read_header(file) == {"a": TensorInfo("F16", (2, 3)), "b": TensorInfo("F32", ())}
    assert list(read_header(file)) == ["a", "b"], "in the order of the file"
    assert read_metadata(file) == {"ss_base": "sd"}


def test_it_reads_what_the_library_writes(tmp_path: Path) -> None:
    numpy, safetensors = pytest.importorskip("numpy"), pytest.importorskip("safetensors.numpy")
    file = tmp_path / "a.safetensors"
    safetensors.save_file({"x": numpy.zeros((3, 5), "float16"), "y": numpy.zeros(7, "int64")}, file, {"k": "v"})
    assert read_header(file) == {"x": TensorInfo("F16", (3, 5)), "y": TensorInfo("I64", (7,))}
    assert read_metadata(file) == {"k": "v"}


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_file(file, {"a": row(0, 2, [1])}, bytes(2))
    assert list(read_header(file)) == ["a"]
    write_file(file, {"other": row(0, 2, [1])}, bytes(2))
    assert list(read_header(file)) == ["other"]


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))


def _bytes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


_INFINITE = b'{"a":{"dtype":"F16","shape":[1e999],"data_offsets":[0,4]}}'
OTHER: dict[str, tuple[Callable[[Path], None], str]] = {
    "absent": (lambda path: None, "cannot be read: No such file"),
    "empty": (_bytes(b""), "is empty"),
    "html": (_bytes(b"\r\n <!DOCTYPE html><html><body>Sign in</body></html>"), "is an HTML page, not weights"),
    "torch.save": (_zip, "is a pickle"),
    "old pickle": (_bytes(pickle.dumps({"a": 1}, protocol=2) + bytes(90)), "is a pickle"),
    "lfs": (_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), "is a pointer of Git LFS"),
    "gguf": (_bytes(b"GGUF\x03\0\0\0" + bytes(90)), "is a GGUF file"),
    "json": (_bytes(b'{"error": "not found"}'), "is a JSON text"),
    "noise": (_bytes(bytes(range(90, 190))), "is not a .safetensors file"),
    "huge header": (_bytes(b"\xff" * 7 + b"\0{" + bytes(90)), "is not a .safetensors file"),
    "cut header": (_bytes((999).to_bytes(8, "little") + b'{"a": '), "is cut off within its header"),
    "cut data": (lambda path: write_file(path, {"a": row(0, 4, [2])}, b"abc"), "is cut off: the download is"),
    "more data": (lambda path: write_file(path, {"a": row(0, 4, [2])}, b"abcdef"), "has bytes behind its tensors"),
    "no mapping": (lambda path: write_file(path, {"a": 5}), "has a damaged header"),
    "shape": (lambda path: write_file(path, {"a": row(0, 4, [3])}, bytes(4)), "'a' has an impossible size"),
    "infinite": (_bytes(len(_INFINITE).to_bytes(8, "little") + _INFINITE), "has a damaged header: cannot convert"),
    "overlap": (lambda path: write_file(path, {"a": row(0, 4, [2]), "b": row(2, 6, [2])}, bytes(6)), "not follow"),
    "deep": (_bytes((90_000).to_bytes(8, "little") + b'{"a":' + b"[" * 89_995), "has a damaged header"),
}


KINDS = list(OTHER)[:list(OTHER).index("cut header")]  # those that the first bytes tell


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_not_weights_is_named(kind: str, tmp_path: Path) -> None:
    make, reason = OTHER[kind]
    file = tmp_path / "model.safetensors"
    make(file)
    with pytest.raises(BadWeightFile) as caught:
        read_header(file)
    assert reason in caught.value.reason
    assert str(caught.value) == f"{file} {caught.value.reason}"
    if kind in KINDS:
        with pytest.raises(BadWeightFile, match=reason):
            check_kind(file)
    else:
        check_kind(file)
