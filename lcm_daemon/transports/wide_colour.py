"""HDR and wide colours to BT.709, by filters of FFmpeg: signal to light, matrix, light to signal.

203 nits become 255 (the reference white of ITU-R BT.2408), and brighter parts are cut off. The formulas are those of
FFmpeg's `zscale` with its defaults and `npl=203`: the system gamma of HLG applies to each channel, not to luminance.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.frame import Pixels
from lcm_daemon.transports import pyav

Floats = NDArray[np.float64]

WHITE_OF_RGB = 65535  # full white of 16 bits
WHITE_OF_YUV = 255 << 8  # the same where swscale has made it from YUV

WHITE_NITS = 203
SDR_GAMMA = 2.4  # ITU-R BT.1886, for BT.709 on both sides
D65, DCI_WHITE = (0.3127, 0.3290), (0.314, 0.351)


@dataclass(frozen=True)
class Transfer:
    """How a signal becomes light.

    Attributes:
        name: for the log.
        light: the light of the signal st(0), from 0 to 1; 1 is white. An expression of FFmpeg.
        most: the brightest light that is told from brighter; numbers of 16 bits hold it.
    """

    name: str
    light: str
    most: float


@dataclass(frozen=True)
class Primaries:
    """Chromaticities x, y of red, green, blue and white."""

    name: str
    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float] = D65


# By the codes of ISO/IEC 23091-2.
SDR = Transfer("SDR", f"pow(ld(0),{SDR_GAMMA})", 1)
TRANSFERS = {
    # SMPTE ST 2084, as in ITU-R BT.2100 table 4.
    16: Transfer("PQ", "st(1,pow(ld(0),32/2523));"
                       "pow(max(ld(1)-3424/4096,0)/(2413/128-2392/128*ld(1)),16384/2610)"
                       f"*10000/{WHITE_NITS}", 5),
    # ARIB STD-B67, as in ITU-R BT.2100 table 5, on a display of 1000 nits.
    18: Transfer("HLG", "st(1,if(lte(ld(0),0.5),ld(0)*ld(0)/3,(exp((ld(0)-0.55991073)/0.17883277)+0.28466892)/12));"
                        f"pow(ld(1),1.2)*1000/{WHITE_NITS}", 5),
}
BT709 = Primaries("BT.709", (0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
PRIMARIES = {
    1: BT709,
    5: Primaries("BT.601 (625 lines)", (0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: Primaries("BT.601 (525 lines)", (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: Primaries("SMPTE 240M", (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: Primaries("BT.2020", (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: Primaries("DCI-P3", (0.680, 0.320), (0.265, 0.690), (0.150, 0.060), DCI_WHITE),
    12: Primaries("Display P3", (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
WIDE_PRIMARIES = {9, 11, 12}  # of SDR videos; small differences between SDR primaries are not worth the time


class WideColourFilter:
    """Converts frames of one size and format to BT.709.

    Args:
        frame: an `av.VideoFrame` as those that will come, of format "gbrp16le" or "gbrap16le".
        transfer: a key of TRANSFERS, or 0 for SDR.
        primaries: a key of PRIMARIES.
        white: the number of full white in the frame.
    """

    def __init__(self, frame: Any, transfer: int, primaries: int, white: int) -> None:
        av = pyav.load("file")
        self._graph = av.filter.Graph()
        self._count = 0
        self._has_alpha = frame.format.name == "gbrap16le"
        source = TRANSFERS.get(transfer, SDR)
        to_light = f"st(0,min(val/{white},1));min(({source.light})/{source.most},1)*65535+0.5"
        to_signal = f"pow(min(val/65535*{source.most},1),1/{SDR_GAMMA})*255+0.5"
        matrix = conversion(PRIMARIES[primaries])
        mix = {f"{out}{of}": f"{matrix[row, column]:.6f}" for row, out in enumerate("rgb")
               for column, of in enumerate("rgb")}
        add = self._graph.add
        self._graph.link_nodes(
            self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format,
                                   time_base=Fraction(1, 1000)),
            add("lutrgb", r=to_light, g=to_light, b=to_light),
            add("colorchannelmixer", **mix),
            add("lutrgb", r=to_signal, g=to_signal, b=to_signal),
            add("buffersink"),
        ).configure()

    def apply(self, frame: Any) -> Pixels:
        """Convert one frame to uint8 (H, W, 4)."""
        frame.pts, self._count = self._count, self._count + 1
        self._graph.vpush(frame)
        done = self._graph.vpull()
        out = np.empty((done.height, done.width, 4), np.uint8)
        for plane, channel in enumerate((1, 2, 0)):
            np.copyto(out[..., channel], _plane(done, plane), casting="unsafe")
        out[..., 3] = _plane(done, 3) >> 8 if self._has_alpha else 255
        return out


def _plane(frame: Any, number: int) -> NDArray[np.uint16]:
    plane = frame.planes[number]
    lines = np.frombuffer(plane, np.uint16).reshape(-1, plane.line_size // 2)
    return lines[: frame.height, : frame.width]


def conversion(primaries: Primaries) -> Floats:
    """The 3x3 matrix from linear RGB of some primaries to linear RGB of BT.709; white stays white."""
    return np.asarray(np.linalg.inv(_to_xyz(BT709)) @ _adaptation(primaries.white) @ _to_xyz(primaries))


def _to_xyz(primaries: Primaries) -> Floats:
    """Linear RGB to CIE XYZ (SMPTE RP 177)."""
    columns = np.stack([_xyz(xy) for xy in (primaries.red, primaries.green, primaries.blue)], -1)
    return np.asarray(columns * np.linalg.solve(columns, _xyz(primaries.white)))


def _adaptation(white: tuple[float, float]) -> Floats:
    """CIE XYZ under another white to D65 (Bradford)."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    gains = (bradford @ _xyz(D65)) / (bradford @ _xyz(white))
    return np.asarray(np.linalg.inv(bradford) @ np.diag(gains) @ bradford)


def _xyz(xy: tuple[float, float]) -> Floats:
    x, y = xy
    return np.array([x / y, 1.0, (1 - x - y) / y])
