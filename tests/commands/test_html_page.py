"""A report is one file: well-formed, with its figures inside, and with texts of a log that stay text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lcm_daemon.commands.bench import bench_page
from lcm_daemon.commands.html_page import check_writable, page, table
from lcm_daemon.core.errors import LcmDaemonError


def figures_of(text: str) -> dict[str, object]:
    """What a page carries for programs."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_a_page_needs_nothing_else_and_carries_its_figures() -> None:
    text = page("Soak of <demo>", [table(("a",), [("</script><b>",)], ["bad"])], {"log": "</script><b>", "gap": 33.4})
    assert figures_of(text) == {"log": "</script><b>", "gap": 33.4}
    assert "<b>" not in text
    assert not re.search(r"(src|href|url\()", text)
    assert '<tr class="bad">' in text


def test_a_bench_has_a_page() -> None:
    report = {"model": {"builtin, frames/s": 12.5, "builtin, frame, ms (p50)": 80.0}, "start": {"failed": "no <frame>"}}
    text = bench_page({"machine": {"system": "Linux"}, "recipe": "builtin"}, report)
    assert figures_of(text)["model"] == report["model"]
    assert text.count("<svg") == 1
    assert "no &lt;frame&gt;" in text


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LcmDaemonError, match=r"x\.html: cannot be written: No such file or directory$"):
        check_writable(str(tmp_path / "absent" / "x.html"))
