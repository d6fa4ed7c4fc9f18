"""Whether the daemon lives, and whether it shows what it should: the answers at `/livez` and `/readyz`.

A daemon is alive while its stage ticks: `/livez` is for what restarts it. It is ready while its frames reach a sink and
show a recent picture, or while the show is closed: `/readyz` is for what calls for help.
"""

from __future__ import annotations

from dataclasses import dataclass

from lcm_daemon.core.stage_numbers import StageNumbers

MAX_STAGE_AGE = 5.0  # seconds since the stage's last numbers, which come twice a second
MAX_OUTPUT_AGE = 2.0  # seconds since a frame reached a sink
MAX_PICTURE_AGE = 10.0  # seconds for which the picture that goes out may be out of date


@dataclass(frozen=True)
class Liveness:
    """An answer.

    Attributes:
        is_alive: Whether the stage ticks.
        is_ready: Whether the output shows what it should.
        reason: Why it is not alive or not ready; "" if it is both.
        stage_age: Seconds since the stage said what it does; None before the first time. The others likewise:
        output_age: Since a frame reached a sink.
        picture_age: For which the picture that goes out is out of date.
    """

    is_alive: bool
    is_ready: bool
    reason: str
    stage_age: float | None = None
    output_age: float | None = None
    picture_age: float | None = None


def liveness(numbers: StageNumbers | None, now: float) -> Liveness:
    """Judge. numbers: The stage's newest; None before the first ones. now: Monotonic seconds."""
    if numbers is None:
        return Liveness(False, False, "the stage has not said yet what it does")
    stage_age = max(0.0, now - numbers.at)
    output_age = None if numbers.output_at is None else max(0.0, now - numbers.output_at)
    picture_age = None if numbers.picture_age is None else numbers.picture_age + stage_age
    if stage_age > MAX_STAGE_AGE:
        reason = f"the stage has not ticked for {stage_age:.1f} s"
        return Liveness(False, False, reason, stage_age, output_age, picture_age)
    reason = _not_ready(numbers.is_open, output_age, picture_age)
    return Liveness(True, not reason, reason, stage_age, output_age, picture_age)


def _not_ready(is_open: bool, output_age: float | None, picture_age: float | None) -> str:
    """Why the output does not show what it should; "" if it does."""
    if output_age is None:
        return "no frame has reached a sink yet"
    if output_age > MAX_OUTPUT_AGE:
        return f"no frame has reached a sink for {output_age:.1f} s"
    if not is_open:
        return ""
    if picture_age is None:
        return "no picture has been rendered yet"
    if picture_age > MAX_PICTURE_AGE:
        return f"the picture is {picture_age:.0f} s out of date"
    return ""
