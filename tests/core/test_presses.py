"""Presses: a held button's repeats are one press."""

from __future__ import annotations

from lcm_daemon.core.presses import MAX_BUTTONS, Presses


class Button:
    def __init__(self) -> None:
        self.time = 0.0
        self.presses = Presses(lambda: self.time)

    def count(self, times: list[float], *arguments: object, sender: str = "osc/a", button: str = "cue/go") -> int:
        found = 0
        for self.time in times:
            found += not self.presses.is_repeat(sender, button, arguments)
        return found


def test_a_button_held_at_sixty_messages_a_second_is_one_press() -> None:
    assert Button().count([n / 60 for n in range(180)], 1.0) == 1


def test_presses_without_a_release_count_from_a_tenth_of_a_second_apart() -> None:
    assert Button().count([0.0, 0.3], 1) == 2
    assert Button().count([n * 0.15 for n in range(8)], 1) == 8  # taps at 400 beats a minute
    assert Button().count([0.0, 0.09, 0.18, 0.27, 0.38], 1) == 2  # the silence counts from the last message


def test_the_first_message_is_a_press_at_any_time() -> None:
    """t - (t - 0.1) is less than 0.1 at half of all times."""
    for place in range(200):
        assert Button().count([16_400.0 + place * 0.37]) == 1


def test_a_release_ends_the_press() -> None:
    one = Button()
    assert one.count([0.0], 1.0) == 1
    one.presses.release("osc/a", "cue/go")
    assert one.count([0.02], 1.0) == 1


def test_another_value_sender_or_button_is_another_press() -> None:
    one = Button()
    assert one.count([0.0], "storm") + one.count([0.01], "calm") + one.count([0.02], "calm") == 2
    assert one.count([0.03], "calm", sender="osc/b") == 1
    assert one.count([0.04], "calm", button="cue/back") == 1


def test_the_memory_is_limited() -> None:
    one = Button()
    for number in range(2 * MAX_BUTTONS):
        one.presses.is_repeat(f"osc/{number}", "cue/go", ())
    assert len(one.presses._last) == MAX_BUTTONS
    assert one.presses.is_repeat(f"osc/{2 * MAX_BUTTONS - 1}", "cue/go", ())
