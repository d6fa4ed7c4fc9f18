"""A replaced file is noticed once, as soon as no one writes to it any more."""

from __future__ import annotations

from lcm_daemon.transports.file_watch import LOOK_SECONDS, FileWatch


def test_a_new_file_is_noticed_once_within_two_seconds(clock, tmp_path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    watch = FileWatch(path, clock)
    assert not watch.is_other
    path.write_bytes(b"the new one")
    assert watch.is_other
    start = clock.now()
    while not watch.has_changed():
        clock.sleep(0.1)
    assert clock.now() - start < 2.0
    assert not watch.is_other
    for _ in range(30):
        clock.sleep(0.1)
        assert not watch.has_changed()


def test_a_growing_file_is_waited_for(clock, tmp_path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    watch = FileWatch(path, clock)
    for size in range(10):
        path.write_bytes(bytes(10 + size))
        clock.sleep(LOOK_SECONDS)
        assert not watch.has_changed()
    clock.sleep(LOOK_SECONDS)
    assert watch.has_changed()


def test_a_missing_file_is_no_new_one(clock, tmp_path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    watch = FileWatch(path, clock)
    path.unlink()
    for _ in range(5):
        clock.sleep(LOOK_SECONDS)
        assert not watch.has_changed()
    assert watch.is_other
