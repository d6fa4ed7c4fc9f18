"""How far an engine has come that loads."""

from __future__ import annotations

from lcm_daemon.render.load_progress import loaded_share

SAID = ("starting", "loading", "loading schedule", "loading text encoder 2", "loading unet", "loading vae",
        "warming up image", "warm: 40 ms a frame", "rendering")


def test_the_share_grows_with_each_step_to_1() -> None:
    shares = [loaded_share(state) for state in SAID]
    assert shares == sorted(set(shares))
    assert shares[0] > 0.0
    assert shares[-1] == 1.0


def test_an_engine_that_does_not_load_has_all() -> None:
    assert [loaded_share(state) for state in ("rendering", "failed", "alarm")] == [1.0, 1.0, 1.0]
