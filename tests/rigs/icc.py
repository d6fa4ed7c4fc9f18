"""ICC profiles (ICC.1:2001-04, version 2): what cameras, phones and print shops embed in pictures."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

# Columns: red, green and blue primary as XYZ under D50.
ADOBE_RGB = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]
DISPLAY_P3 = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)]
D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries: Sequence[tuple[float, float, float]], gamma: float | None) -> bytes:
    """A profile of three primaries; the curve is a gamma, or sRGB's if it is None."""
    curve = _curve(gamma)
    colours = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, primaries), strict=True))
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**colours, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile(inks: dict[str, tuple[float, float, float]]) -> bytes:
    """A profile by a table of the 16 corners (type mft2): L, a, b of full inks, multiplied as filters are.

    Args:
        inks: "c", "m", "y" and "k": L from 0 to 100, a and b from -128 to 127 on white paper.
    """
    table = b""
    for corner in range(16):
        used = [inks[name] for place, name in enumerate("cmyk") if corner >> (3 - place) & 1]
        light = 100 * np.prod([ink[0] / 100 for ink in used])
        a, b = (sum(ink[axis] for ink in used) / max(1, len(used)) for axis in (1, 2))
        table += struct.pack(">HHH", round(light * 652.8), round((a + 128) * 256), round((b + 128) * 256))
    identity = b"".join(struct.pack(">i", (1 << 16) * (row == column)) for row in range(3) for column in range(3))
    straight = struct.pack(">HH", 0, 65535)
    lut = (b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + identity + struct.pack(">HH", 2, 2) + straight * 4 + table
           + straight * 3)
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut, b"A2B1": lut})


def to_srgb(rgb: Sequence[int], primaries: Sequence[tuple[float, float, float]], gamma: float | None) -> list[int]:
    """What a colour of an `rgb_profile` is in sRGB, computed without a colour library."""
    values = np.array(rgb) / 255
    linear = values**gamma if gamma else np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    linear = np.linalg.solve(np.array(SRGB).T, np.array(primaries).T @ linear).clip(0, 1)
    encoded = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return [round(value) for value in encoded * 255]


def _curve(gamma: float | None) -> bytes:
    if gamma:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    x = np.linspace(0, 1, 1024)
    y = np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92)
    return b"curv" + bytes(4) + struct.pack(">I", 1024) + (y * 65535).round().astype(">u2").tobytes()


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _profile(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"for tests"
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 8 + 2 + 1 + 67),
            b"cprt": b"text" + bytes(4) + text + b"\0", b"wtpt": _xyz(D50), **tags}
    directory, data, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        directory += name + struct.pack(">II", offset + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    size = offset + len(data)
    header = (struct.pack(">I", size) + b"lcms" + struct.pack(">I", 0x02400000) + device + space + connection
              + struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(D50)[8:])
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + directory + data
