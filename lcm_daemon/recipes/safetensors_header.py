"""Reads what a .safetensors file contains, without its weights and without torch.

The file begins with the length of its header (8 bytes, little endian) and the header, a JSON mapping of each tensor's
name to its dtype, its shape and its place in the rest of the file
(https://github.com/huggingface/safetensors#format). A header of a whole checkpoint has about 300 kB.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from lcm_daemon.core.errors import RecipeError

MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors library
_LENGTH = struct.Struct("<Q")
_METADATA = "__metadata__"
# Bits of one value, by the dtypes of the format.
_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}
_HTML = (b"<!doctype", b"<html", b"<?xml", b"<head")
_START = 64  # bytes that tell the kind of a file


class TensorInfo(NamedTuple):
    """One tensor of a file.

    dtype: As the format names it: "F16", "BF16", "F32", "F8_E4M3", "I64", ...
    shape: Of the tensor; () for a scalar.
    """

    dtype: str
    shape: tuple[int, ...]


class BadWeightFile(RecipeError):
    """A file is not readable as safetensors.

    reason: What it is instead, without the path: "is an HTML page, not weights; ...".
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type[BadWeightFile], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


def read_header(path: Path) -> Mapping[str, TensorInfo]:
    """Read the names, dtypes and shapes of all tensors, in the order of the file.

    Raises:
        BadWeightFile: The file cannot be read, is of another kind (a pickle, an HTML page), is damaged or is cut off.
    """
    return _read(path)[0]


def read_metadata(path: Path) -> Mapping[str, str]:
    """Read the texts that a file carries beside its tensors, as training scripts write them; {} if there are none.

    Raises:
        BadWeightFile: As of `read_header`.
    """
    return _read(path)[1]


def check_kind(path: Path) -> None:
    """Look at the first bytes alone. Raises BadWeightFile if they are those of another kind of file."""
    try:
        with path.open("rb") as file:
            _header_length(path, file.read(_START))
    except OSError as error:
        raise BadWeightFile(path, f"cannot be read: {error.strerror or error}") from error


_Header = tuple[Mapping[str, TensorInfo], Mapping[str, str]]


def _read(path: Path) -> _Header:
    try:
        found = path.stat()
        return _read_known(path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise BadWeightFile(path, f"cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=8)  # several questions are asked of one file, one after the other
def _read_known(path: Path, size: int, _changed: int) -> _Header:
    with path.open("rb") as file:
        length = _header_length(path, file.read(_START))
        file.seek(_LENGTH.size)
        text = file.read(length)
    if len(text) < length:
        raise BadWeightFile(path, "is cut off within its header: the download is incomplete")
    try:
        rows = _as_mapping(json.loads(text))
        tensors, data = _tensors(rows)
        metadata = {str(key): str(value) for key, value in _as_mapping(rows.get(_METADATA) or {}).items()}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BadWeightFile(path, f"has a damaged header: {str(error).splitlines()[0]:.120}") from error
    if not tensors:
        raise BadWeightFile(path, "is empty: it has no tensors")
    if (whole := _LENGTH.size + length + data) != size:
        wrong = "is cut off: the download is incomplete" if size < whole else "has bytes behind its tensors"
        raise BadWeightFile(path, f"{wrong} ({size:,} bytes, where its header tells of {whole:,})")
    return tensors, metadata


def _header_length(path: Path, start: bytes) -> int:
    """Length of a header, by the first bytes of its file. Raises BadWeightFile if the file is of another kind."""
    if kind := describe_other_kind(start):
        raise BadWeightFile(path, kind)
    length: int = _LENGTH.unpack_from(start)[0]
    if not 2 <= length <= MAX_HEADER or start[8:9] != b"{":
        raise BadWeightFile(path, "is not a .safetensors file: it does not begin with such a header")
    return length


def _tensors(rows: Mapping[str, Any]) -> tuple[Mapping[str, TensorInfo], int]:
    """The tensors, in the order of the file, and the bytes that they take. Raises ValueError, KeyError, TypeError."""
    infos, spans = dict[str, TensorInfo](), list[tuple[int, int, str]]()
    for name, row in rows.items():
        if name != _METADATA:
            dtype, shape, (begin, end) = str(row["dtype"]), tuple(map(int, row["shape"])), row["data_offsets"]
            if dtype not in _BITS or min(shape, default=0) < 0 or _BITS[dtype] * math.prod(shape) != 8 * (end - begin):
                raise ValueError(f"the tensor {name!r:.80} has an impossible size")
            infos[name] = TensorInfo(dtype, shape)
            spans.append((begin, end, name))
    spans.sort()
    position = 0
    for begin, end, name in spans:
        if begin != position:
            raise ValueError(f"the tensor {name!r:.80} does not follow the one before")
        position = end
    return {name: infos[name] for _, _, name in spans}, position


def _as_mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is not a mapping")
    return value


def describe_other_kind(start: bytes) -> str:
    """Tell what a file is by its first bytes, as "is ..."; "" if it may be a .safetensors file."""
    return next((text for is_kind, text in _KINDS if is_kind(start)), "")


def _begins(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(starts)


_KINDS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda start: not start, "is empty: the download has failed"),
    (lambda start: start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(_HTML),
     "is an HTML page, not weights: the download gave a web page, which happens where a site wants a login"),
    (_begins(b"PK\x03\x04", b"PK\x05\x06"),
     "is a pickle (a file of torch.save) or another zip archive, not safetensors; a pickle can run programs and is "
     "not loaded: get the model as .safetensors"),
    (lambda start: start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") and start[2:8] != b"\0" * 6,
     "is a pickle, not safetensors; a pickle can run programs and is not loaded: get the model as .safetensors"),
    (_begins(b"version https://git-lfs"),
     "is a pointer of Git LFS, not the weights: run `git lfs pull` in its folder"),
    (_begins(b"GGUF"), "is a GGUF file, which is not supported: get the model as .safetensors"),
    (_begins(b"{"), "is a JSON text, not weights"),
    (lambda start: len(start) < _LENGTH.size + 2, "is too short for a .safetensors file"),
)


def tensors_below(tensors: Mapping[str, TensorInfo], prefix: str) -> Iterator[tuple[str, TensorInfo]]:
    """Yield the tensors whose names begin with `prefix`, without it."""
    return ((name.removeprefix(prefix), info) for name, info in tensors.items() if name.startswith(prefix))
