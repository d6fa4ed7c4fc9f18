"""Single faults: damaged weights, torn files, clocks that are set, linked caches."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from safetensors.numpy import load_file

from lcm_daemon.commands.soak import engine_faults, state_faults
from lcm_daemon.commands.soak.nan_weights import WEIGHTS, write_model_of_nan, write_model_that_paints_nan
from lcm_daemon.commands.soak.observer import shared_memory
from lcm_daemon.commands.soak.shifted_clock import write_shift
from lcm_daemon.processes.supervisor import RestartLimit
from lcm_daemon.recipes.reader import load_recipe


def tensors(model: Path, part: str) -> dict[str, np.ndarray]:
    """Every tensor of a part of a model, by an independent reader."""
    found: dict[str, np.ndarray] = load_file(model / part / WEIGHTS)
    return found


def test_faults_of_the_engine_are_so_far_apart_that_the_third_one_does_not_step_down() -> None:
    limit, loading = RestartLimit(), 3.0  # only the time in which an engine renders counts
    assert all(limit.allows(number * (engine_faults.REST_SECONDS - loading)) for number in range(9))


def test_an_engine_that_has_no_memory_while_it_loads_does_not_step_down() -> None:
    limit, loading = RestartLimit(), 3.0
    rest, rest_of_two = engine_faults.REST_SECONDS - loading, engine_faults.REST_OF_TWO - loading
    assert engine_faults.LoadWithoutMemory.rest == engine_faults.FrameWithoutMemory.rest == engine_faults.REST_OF_TWO
    load = rest + rest_of_two  # two faults before; one engine is killed, the next one cannot load; then another fault
    assert all(limit.allows(moment) for moment in (0.0, rest, load, load, load + rest_of_two))


def test_only_its_own_report_counts_for_damaged_weights() -> None:
    fault = engine_faults.DamagedWeights("engine-nan", "", "soak-nan")
    status = {"alarm": "builtin: died", "error": "soak-nan-weights: recipe soak-nan-weights: conv_out.bias"}
    sent: list[str] = []
    scene = cast(Any, SimpleNamespace(
        show=SimpleNamespace(send=lambda *message: sent.append(message[1])),
        observer=SimpleNamespace(status_since=lambda moment: status)))
    fault.begin(scene)
    fault.go_on(scene)
    assert (sent, fault.is_done) == (["soak-nan"], False)
    status["error"] = "soak-nan: every picture of its warm-up is NaN"
    fault.go_on(scene)
    assert fault.is_done
    assert fault.checks(scene)[0].found == status["error"]


@pytest.mark.parametrize(("write", "part", "damaged"), [
    (write_model_of_nan, "unet", lambda name, values: np.isnan(values).all() == (name == "conv_out.bias")),
    (write_model_that_paints_nan, "vae", lambda name, values: (np.abs(values) == np.finfo(values.dtype).max).all())])
def test_damaged_weights(
    tmp_path: Path, write: Callable[[Path], Path], part: str, damaged: Callable[[str, np.ndarray], bool]
) -> None:
    before, after = (tensors(Path(model), part) for model in (load_recipe("builtin").model, write(tmp_path / "model")))
    assert before.keys() == after.keys()
    assert all(damaged(name, values) for name, values in after.items())
    assert all(np.array_equal(np.sign(values), np.sign(before[name]), equal_nan=True) or np.isnan(values).all()
               for name, values in after.items())


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
