"""The list of exports."""

from __future__ import annotations

import importlib.util

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.exports.formats import FORMATS, Format, find_format

TOY = Format("{show}.toy", "a toy", "nowhere")


@pytest.mark.parametrize(("show", "file"), [
    ("demo", "demo.toy"), ("my show", "my_show.toy"), ("../../etc/passwd", "etc_passwd.toy"), ("", "show.toy"),
    ("...", "show.toy"), ("C:\\x\n", "C_x.toy"), ("夜", "夜.toy"), ("a" * 300, "a" * 180 + ".toy"),
    ("夜" * 300, "夜" * 60 + ".toy"), ("CON", "show_CON.toy"),
    ("com1.x", "show_com1.x.toy"), ("console", "console.toy"),
    ("{show}", "show.toy"), ("%s{0}", "s_0.toy"),
])
def test_the_name_of_a_show_is_safe_in_the_name_of_a_file(show: str, file: str) -> None:
    assert TOY.file_name(show) == file


def test_every_export_has_a_module_and_a_file_of_its_own() -> None:
    assert all(importlib.util.find_spec(kind.module) for kind in FORMATS.values())
    assert len({kind.file for kind in FORMATS.values()}) == len(FORMATS)
    assert all(kind.program and kind.help and "{show}" in kind.file for kind in FORMATS.values())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(LcmDaemonError, match=r"no export is named 'touchdesiner'.*touchdesigner"):
        find_format("touchdesiner")
