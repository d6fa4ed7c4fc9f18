"""The block of numbers: one copy a frame, of what has changed."""

from __future__ import annotations

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.numbers import BLOCKS, Numbers
    from tests.rigs.card import CUDA, Entry, plugged_in, unplugged

CPU = torch.device("cpu")


def test_on_the_cpu_a_written_number_is_there_at_once() -> None:
    numbers = Numbers(CPU)
    one, three = numbers.reserve(1), numbers.reserve(3)
    three.write([1.0, 2.0, 3.0])
    one.write(7.5)
    assert one.tensor.tolist() == [7.5]
    assert three.tensor.tolist() == [1.0, 2.0, 3.0]
    three.write(0.5)
    assert three.tensor.tolist() == [0.5] * 3
    assert not numbers.send()


def test_too_many_numbers_are_an_error() -> None:
    numbers = Numbers(CPU, room=4)
    numbers.reserve(4)
    with pytest.raises(ValueError, match="room for 4 numbers, and 5 are needed"):
        numbers.reserve(1)


def test_only_what_has_changed_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged_in(monkeypatch) as card:
        numbers = Numbers(CUDA)
        parts = [numbers.reserve(2) for _ in range(4)]
        card.log.clear()
        parts[1].write([1.0, 2.0])
        assert numbers.send()
        assert not numbers.send()
        parts[1].write([1.0, 3.0])
        parts[2].write([4.0, 0.0])
        assert numbers.send()
        assert card.log == [Entry("upload", "8 bytes", "stream 0")] * 2, "from the first to the last that changed"
        assert [part.tensor.tolist() for part in parts] == [[0.0, 0.0], [1.0, 3.0], [4.0, 0.0], [0.0, 0.0]]


def test_numbers_of_a_frame_under_way_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host writes the next frame's numbers before the device has copied the last ones."""
    with plugged_in(monkeypatch) as card:
        numbers = Numbers(CUDA)
        part, found = numbers.reserve(1), list[float]()

        def read() -> bool:
            with unplugged():
                found.append(float(part.tensor))
            return True

        card.lazy.add(card.current.name)
        for number in range(BLOCKS):
            part.write(float(number + 1))
            numbers.send()
            card.current.add(read)
        card.drain()
        assert found == [float(number + 1) for number in range(BLOCKS)]
