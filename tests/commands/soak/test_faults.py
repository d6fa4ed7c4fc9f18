"""Single faults: damaged weights, torn files, clocks that are set, linked caches."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

from lcm_daemon.commands.soak import engine_faults, state_faults
from lcm_daemon.commands.soak.nan_weights import LENGTH_BYTES, TENSOR, write_nan_model
from lcm_daemon.commands.soak.observer import shared_memory
from lcm_daemon.commands.soak.shifted_clock import write_shift
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.safetensors_header import read_header


def test_damaged_weights_differ_in_one_tensor_only(tmp_path: Path) -> None:
    model = write_nan_model(tmp_path / "model")
    name = "unet/diffusion_pytorch_model.safetensors"
    before, after = (Path(folder, name).read_bytes() for folder in (load_recipe("builtin").model, model))
    start = LENGTH_BYTES + int.from_bytes(before[:LENGTH_BYTES], "little")
    first, last = (start + offset for offset in read_entry(before, start)["data_offsets"])
    assert (before[:first], before[last:]) == (after[:first], after[last:])
    assert set(after[first:last:2]) | set(after[first + 1:last:2]) <= {0x00, 0x7E, 0x7F, 0xC0}
    assert read_header(model / name)


def read_entry(content: bytes, start: int) -> dict[str, Any]:
    import json

    return dict(json.loads(content[LENGTH_BYTES:start])[TENSOR])


def test_a_file_of_the_state_is_cut_off_anywhere(tmp_path: Path) -> None:
    scene = cast(Any, SimpleNamespace(show=SimpleNamespace(state=tmp_path), chance=Random(3)))
    assert state_faults._tear(scene) == "no file was there"
    lengths = set()
    for _ in range(50):
        (tmp_path / "show.journal").write_bytes(b"x" * 100)
        state_faults._tear(scene)
        lengths.add(len((tmp_path / "show.journal").read_bytes()))
    assert min(lengths) >= 50
    assert max(lengths) <= 100
    assert len(lengths) > 20


def test_a_cache_of_links_can_be_damaged_and_the_users_own_stays(tmp_path: Path) -> None:
    own, copy = tmp_path / "own", tmp_path / "copy"
    (own / "openvino").mkdir(parents=True)
    (own / "openvino" / "a.blob").write_bytes(b"compiled")
    engine_faults.link_cache(own, copy)
    show = SimpleNamespace(cache=copy, process=SimpleNamespace(children=list))
    scene = cast(Any, SimpleNamespace(show=show, chance=Random(3), pid=lambda role: 0, signal=lambda *_: None))
    fault = engine_faults.DamagedCache()
    assert not fault.missing(scene)
    fault.begin(scene)
    assert (copy / "openvino" / "a.blob").read_bytes() != b"compiled"
    assert (own / "openvino" / "a.blob").read_bytes() == b"compiled"


def test_summer_time_ends_in_berlin_at_three() -> None:
    end = state_faults._end_of_summer()
    assert 0 <= (end - datetime.now(UTC)).days <= 370
    place = end.astimezone(ZoneInfo("Europe/Berlin"))
    assert (place.month, place.hour, place.fold) == (10, 2, 1)


def test_a_process_sees_a_clock_that_is_set(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    write_shift(file, 3600.0)
    code = ("import sys, time; from pathlib import Path; from lcm_daemon.commands.soak import shifted_clock as c\n"
            "f = Path(sys.argv[1]); true = time.time; c.shift_clock(f); first = time.time() - true()\n"
            "c.write_shift(f, -60.0); print(round(first), round(time.time() - true()))")
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["3600", "-60"], done.stderr


def test_shared_memory_is_that_of_the_owners(tmp_path: Path) -> None:
    for name in ("lcmd-12-aa", "lcmd-12-bb", "lcmd-123-cc", "other"):
        (tmp_path / name).write_bytes(b"x" * 10)
    assert shared_memory([12], tmp_path) == 20


def test_nothing_is_compiled(tmp_path: Path) -> None:
    scene = cast(Any, SimpleNamespace(show=SimpleNamespace(cache=tmp_path / "absent")))
    assert engine_faults.DamagedCache().missing(scene) == "nothing is compiled on this machine"
