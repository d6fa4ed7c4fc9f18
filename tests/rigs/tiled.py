"""Tiled AVIF and HEIC files (ISO/IEC 23008-12, 6.6.2.3.2: an item of type `grid`), as cameras and phones write them.

Pillow and pillow-heif read such files but write none: their files of the tiles are taken apart and put together again.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

from PIL import Image


def tiled(picture: Image.Image, columns: int, rows: int, kind: str = "AVIF") -> bytes:
    """The bytes of a picture that is cut into tiles; its sides are multiples of the number of tiles."""
    width, height = picture.width // columns, picture.height // rows
    tiles = []
    for row in range(rows):
        for column in range(columns):
            file = io.BytesIO()
            box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
            picture.crop(box).save(file, kind, quality=90)
            tiles.append(_Tile(file.getvalue()))
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, picture.width, picture.height)
    return _file(tiles, grid, (width, height), picture.size)


class _Tile:
    """What a file of one picture holds: its coded data, and the decoder's configuration."""

    def __init__(self, data: bytes) -> None:
        top = dict(_boxes(data))
        meta = dict(_boxes(top[b"meta"][4:]))
        properties = dict(_boxes(dict(_boxes(meta[b"iprp"]))[b"ipco"]))
        self.brand = top[b"ftyp"][:4]
        self.configuration = next(_box(name, body) for name, body in properties.items() if name in (b"av1C", b"hvcC"))
        self.coded = _coded(data, meta[b"iloc"])


def _coded(data: bytes, iloc: bytes) -> bytes:
    """The data of the first item (ISO/IEC 14496-12, 8.11.3, with 32-bit offsets and lengths or narrower)."""
    version, sizes = iloc[0], struct.unpack(">H", iloc[4:6])[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    at = 6 + (2 if version < 2 else 4)
    at += (2 if version < 2 else 4) + (2 if version else 0) + 2
    base, at = int.from_bytes(iloc[at : at + base_size], "big"), at + base_size + 2
    offset, at = base + int.from_bytes(iloc[at : at + offset_size], "big"), at + offset_size
    return data[offset : offset + int.from_bytes(iloc[at : at + length_size], "big")]


def _file(tiles: list[_Tile], grid: bytes, tile: tuple[int, int], whole: tuple[int, int]) -> bytes:
    coded = [*(each.coded for each in tiles), grid]
    count, kind = len(coded), b"av01" if tiles[0].configuration[4:8] == b"av1C" else b"hvc1"
    kinds = [kind] * len(tiles) + [b"grid"]
    infos = [_full(b"infe", struct.pack(">HH", n + 1, 0) + name + b"\0", 2) for n, name in enumerate(kinds)]
    references = _box(b"dimg", struct.pack(f">HH{len(tiles)}H", count, len(tiles), *range(1, count)))
    properties = [_full(b"ispe", struct.pack(">II", *tile)), _full(b"ispe", struct.pack(">II", *whole)),
                  _full(b"pixi", bytes([3, 8, 8, 8])), tiles[0].configuration]
    uses = b"".join(struct.pack(">HB", n + 1, 3) + bytes([1, 3, 0x84]) for n in range(len(tiles)))
    uses += struct.pack(">HB", count, 2) + bytes([2, 3])

    def meta(offset: int) -> bytes:
        items, at = b"", offset
        for number, each in enumerate(coded, 1):
            items += struct.pack(">HHHII", number, 0, 1, at, len(each))
            at += len(each)
        return _full(b"meta", b"".join([
            _full(b"hdlr", bytes(4) + b"pict" + bytes(13)), _full(b"pitm", struct.pack(">H", count)),
            _full(b"iloc", struct.pack(">HH", 0x4400, count) + items),
            _full(b"iinf", struct.pack(">H", count) + b"".join(infos)), _full(b"iref", references),
            _box(b"iprp", _box(b"ipco", b"".join(properties)) + _full(b"ipma", struct.pack(">I", count) + uses)),
        ]))

    brand = tiles[0].brand
    start = _box(b"ftyp", brand + bytes(4) + brand + b"mif1" + b"miaf")
    return start + meta(len(start) + len(meta(0)) + 8) + _box(b"mdat", b"".join(coded))


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size = struct.unpack(">I", data[at : at + 4])[0] or len(data) - at
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def _full(name: bytes, body: bytes, version: int = 0) -> bytes:
    return _box(name, bytes([version, 0, 0, 0]) + body)
