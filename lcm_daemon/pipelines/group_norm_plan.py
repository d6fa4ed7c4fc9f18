"""Plan: how a kernel of `GroupNorm` divides its work among programs of the device."""

from __future__ import annotations

from dataclasses import dataclass

# None of these numbers was tuned on a card.
ONE_PASS = 1 << 14  # elements of a group, with padding, that one program holds in its registers
TILE = 1 << 12  # elements of a tile, with padding, where a group has several
RUN = 128  # channels of a tile, with padding: what lies together is read together
MAX_SPLITS = 64  # programs that share the statistics of one group


@dataclass(frozen=True)
class Plan:
    """How one normalisation is divided among programs. All but the counts are powers of two, as Triton requires.

    Attributes:
        width: Channels of a group, with padding.
        rows: Pixels of a tile, with padding.
        groups: Groups of a tile.
        splits: Programs that share an image's pixels. 1: each group is one tile, and its program does everything.
        rows_per_program: Pixels of each, a multiple of `rows`.
    """

    width: int
    rows: int
    groups: int = 1
    splits: int = 1
    rows_per_program: int = 0

    @staticmethod
    def of(pixels: int, channels: int, groups: int) -> Plan:
        """Plan for images with this number of pixels."""
        width = power_of_two(channels // groups)
        if power_of_two(pixels) * width <= ONE_PASS:
            return Plan(width, power_of_two(pixels))
        together = min(max(1, RUN // width), power_of_two(groups))
        rows = max(1, TILE // (width * together))
        tiles = -(-pixels // rows)
        rows_per_program = -(-tiles // MAX_SPLITS) * rows
        splits = -(-pixels // rows_per_program)
        return Plan(width, rows, together, max(splits, 2), rows_per_program)

    @property
    def is_whole(self) -> bool:
        return self.splits == 1


def power_of_two(number: int) -> int:
    """The smallest power of two that is not below `number`."""
    return 1 << (number - 1).bit_length()
