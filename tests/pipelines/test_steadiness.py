"""Steadiness: less flicker along the motion, real changes at once, and no trace of broken results."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch import Tensor
    from torch.nn import functional

    from lcm_daemon.pipelines.numbers import Numbers
    from lcm_daemon.pipelines.optical_flow import warp
    from lcm_daemon.pipelines.steadiness import MAX_SHARE, Steadiness
    from lcm_daemon.pipelines.temporal import FrameFeedback

SIDE = 64
INNER = (..., slice(8, -8), slice(8, -8))  # far from the edges, where the motion shows what was outside


def picture(seed: int, shift: float = 0.0) -> Tensor:
    """Waves that are known at any position, (1, 3, SIDE, SIDE) inside -1..1."""
    random = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(SIDE).float(), torch.arange(SIDE).float() + shift, indexing="ij")
    image = torch.zeros(1, 3, SIDE, SIDE)
    for _ in range(8):
        a, b, phase, *heights = torch.rand(6, generator=random).tolist()
        wave = torch.sin((a - 0.5) * 0.8 * x + (b - 0.5) * 0.8 * y + 6.3 * phase)
        image += wave * (torch.tensor(heights)[:, None, None] - 0.3) * 0.3
    return image.clamp(-1.0, 1.0)


def flicker(seed: int) -> Tensor:
    """What a model adds to each result: details that differ from frame to frame."""
    return 0.1 * torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def make() -> Steadiness:
    return Steadiness((SIDE, SIDE), torch.device("cpu"), Numbers(torch.device("cpu")))


def play(steadiness: Steadiness, image: Tensor, result: Tensor, amount: float = 1.0) -> Tensor:
    steadiness.prepare(amount)
    steadiness.follow(image)
    return steadiness.average(result)


def test_the_first_result_is_shown_as_it_is() -> None:
    result = picture(0) + flicker(0)
    assert torch.equal(play(make(), picture(0), result), result)


@pytest.mark.parametrize("speed", [0.0, 0.7])
def test_flicker_is_averaged_along_the_motion(speed: float) -> None:
    steadiness, motion = make(), torch.tensor([speed, 0.0])[None, :, None, None].expand(1, 2, SIDE, SIDE)
    shown, raw = [], []
    for number in range(14):
        raw.append(picture(1, speed * number) + flicker(number))
        shown.append(play(steadiness, picture(1, speed * number), raw[-1]))

    def error(clip: list[Tensor]) -> float:
        pairs = list(itertools.pairwise(clip[8:]))
        return sum(float((warp(a, motion, "bicubic") - b)[INNER].abs().mean()) for a, b in pairs) / len(pairs)

    assert error(shown) < 0.35 * error(raw)
    last = picture(1, speed * 13)
    assert (shown[-1] - last)[INNER].abs().mean() < 0.6 * (raw[-1] - last)[INNER].abs().mean()


def steady_still(steadiness: Steadiness, frames: int = 8) -> None:
    for number in range(frames):
        play(steadiness, picture(1), picture(1) + flicker(number))


def test_a_change_of_a_part_shows_there_at_once_and_the_rest_stays_steady() -> None:
    steadiness = make()
    steady_still(steadiness)
    changed = picture(1)
    changed[..., 20:44, 20:44] += 0.8
    shown = play(steadiness, changed, changed + flicker(20)) - (changed + flicker(20))
    assert shown[..., 24:40, 24:40].abs().max() < 0.01
    assert shown[..., :10].abs().mean() > 0.03


def test_after_a_cut_nothing_of_the_last_result_is_left() -> None:
    steadiness = make()
    steady_still(steadiness)
    result = picture(5) + flicker(20)
    assert torch.equal(play(steadiness, picture(5), result), result)
    assert not torch.equal(play(steadiness, picture(5), picture(5) + flicker(21)), picture(5) + flicker(21))


def test_another_prompt_shows_at_once() -> None:
    """The input stays, the results are other ones."""
    steadiness = make()
    steady_still(steadiness)
    wide = functional.interpolate(picture(9)[..., ::16, ::16], (SIDE, SIDE), mode="bilinear") * 2.0
    result = (picture(1) + wide).clamp(-1.0, 1.0)
    left = (play(steadiness, picture(1), result) - result).abs().mean() / (result - picture(1)).abs().mean()
    assert left < 0.25


def test_what_a_slow_change_leaves_behind_does_not_add_up() -> None:
    """A light that fades up: each step is too small to be seen as a change."""
    steadiness = make()
    steady_still(steadiness)
    for number in range(40):
        image = picture(1) * 0.4 + 0.012 * number - 0.2
        shown = play(steadiness, image, image)
    assert (shown - image).abs().mean() < 0.08  # the plain average with this share: 9 steps, 0.11


@pytest.mark.parametrize("number", [0, 3])
def test_a_broken_result_leaves_no_trace(number: int) -> None:
    """It passes, so that it is counted as broken; the next results are as if it had not come."""
    ours, plain = make(), make()
    for each in range(6):
        if each == number:
            broken = play(ours, picture(1), torch.full((1, 3, SIDE, SIDE), float("nan")))
            assert not broken.isfinite().any()
        found, expected = (play(one, picture(1), picture(1) + flicker(each)) for one in (ours, plain))
        torch.testing.assert_close(found, expected)


def test_after_0_it_starts_again() -> None:
    steadiness = make()
    steady_still(steadiness)
    assert steadiness.prepare(0.0) is False
    result = picture(1) + flicker(30)
    assert torch.equal(play(steadiness, picture(1), result), result)


def test_sessions_keep_their_own_memory() -> None:
    ours, plain = make(), make()
    for number in range(4):
        play(ours, picture(1), picture(1) + flicker(number))
        play(plain, picture(1), picture(1) + flicker(number))
    saved = ours.save()
    ours.restore(None)
    assert torch.equal(play(ours, picture(2), picture(2)), picture(2))
    ours.restore(saved)
    assert torch.equal(*(play(one, picture(1), picture(1) + flicker(9)) for one in (ours, plain)))
    play(ours, picture(1), picture(1), 0.0) if ours.prepare(0.0) else None
    assert ours.save() is None


def test_the_share_follows_the_amount() -> None:
    for amount in (0.25, 1.0):
        steadiness = make()
        play(steadiness, picture(1), picture(1))
        shown = play(steadiness, picture(1), picture(1) + flicker(1), amount)
        share = 1.0 - (shown - picture(1))[INNER].norm() / flicker(1)[INNER].norm()
        assert share == pytest.approx(MAX_SHARE * amount, abs=0.06)


def test_a_delayed_result_is_moved_as_its_own_input() -> None:
    """In a stream batch the result is of an earlier frame."""
    late = Steadiness((SIDE, SIDE), torch.device("cpu"), Numbers(torch.device("cpu")), delay=2)
    offsets = [0.0, 0.0, 0.0, 1.5, 3.0, 3.0, 3.0]
    for number, offset in enumerate(offsets):
        late.prepare(1.0)
        late.follow(picture(1, offset), 2)
        late.average(picture(1, offsets[max(number - 2, 0)]), 2)
        expected = offsets[max(number - 2, 0)] - offsets[max(number - 3, 0)]
        assert late._motion[0, 0, 20:44, 20:44].mean() == pytest.approx(expected, abs=0.1)


def test_feedback_moves_with_the_input() -> None:
    """One pixel of shake does not put the last result beside the input that it belongs to."""
    size, amount = (SIDE, SIDE), torch.tensor(0.8)

    def mixed(move: Callable[[FrameFeedback], None]) -> Tensor:
        feedback = FrameFeedback(size, torch.device("cpu"))
        feedback.store(picture(1), amount)
        move(feedback)
        image = picture(1, 2.0)
        feedback.mix(image, amount)
        return (image - picture(1, 2.0))[INNER].abs().mean()

    motion = torch.tensor([2.0, 0.0])[None, :, None, None].expand(1, 2, SIDE, SIDE)
    assert mixed(lambda feedback: feedback.move(motion)) < 0.1 * mixed(lambda feedback: None)


def test_it_can_be_recorded() -> None:
    """On the meta device nothing can be read, so a read or a branch on a value fails."""
    device = torch.device("meta")
    steadiness = Steadiness((96, 72), torch.device("cpu"), Numbers(torch.device("cpu")))
    for name, value in vars(steadiness).items():
        if isinstance(value, Tensor):
            setattr(steadiness, name, value.to(device))
    steadiness._numbers.tensor = steadiness._numbers.tensor.to(device)
    image = torch.zeros(1, 3, 72, 96, device=device, dtype=torch.float16)
    assert steadiness.follow(image).shape == (1, 2, 72, 96)
    assert steadiness.average(image).dtype == torch.float16
