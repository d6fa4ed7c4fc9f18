"""A report as one HTML file that needs nothing else: style, tables, plots and figures are inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError

_STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--dim:#66707c;--line:#d8dde3;--bad:#b3261e;--good:#1a7f37;
--c0:#1f6feb;--c1:#bf5b00;--c2:#1a7f37;--c3:#8250df;--c4:#b3261e;--c5:#0f7a80;--c6:#9a6700;--c7:#66707c}
@media(prefers-color-scheme:dark){:root{--back:#14171b;--text:#e4e7eb;--dim:#98a2ad;--line:#323a43;--bad:#ff7b72;
--good:#56d364;--c0:#6ea8ff;--c1:#ffa657;--c2:#56d364;--c3:#d2a8ff;--c4:#ff7b72;--c5:#4fd1d9;--c6:#e3b341;--c7:#98a2ad}}
body{background:var(--back);color:var(--text);font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2.2rem}p.note{color:var(--dim)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--dim)}
.good{color:var(--good)}.bad{color:var(--bad)}.verdict{font-size:1.15rem;font-weight:600}
svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:var(--dim)}
.end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:var(--line)}.mark{fill:var(--dim);opacity:.2}
polyline{fill:none;stroke-width:1.5}
.legend span{margin-right:1.2rem}.legend span:before{content:"";display:inline-block;width:.9rem;height:.2rem;
margin-right:.35rem;vertical-align:middle;background:currentColor}
pre{overflow:auto;font-size:12px}details{margin-top:1rem}
""" + "".join(f"polyline.c{n}{{stroke:var(--c{n})}}rect.c{n}{{fill:var(--c{n})}}span.c{n}{{color:var(--c{n})}}"
              for n in range(8))


def page(title: str, body: Sequence[str], figures: Mapping[str, Any]) -> str:
    """The whole file.

    Args:
        title: Its title.
        body: Parts of the page, in HTML.
        figures: What the page shows, for programs: JSON in the element `figures`.
    """
    data = json.dumps(figures).replace("<", "\\u003c")  # so that no text of a log ends the element
    return ("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width\">"
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n"
            + "\n".join(body)
            + f"\n<script type=\"application/json\" id=\"figures\">{data}</script></body></html>\n")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], marks: Sequence[str] = ()) -> str:
    """A table of plain texts. marks: The class of each row: "good", "bad" or ""."""
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"]
    for place, row in enumerate(rows):
        mark = f' class="{marks[place]}"' if place < len(marks) and marks[place] else ""
        lines.append(f"<tr{mark}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def heading(text: str, note: str = "") -> str:
    """A heading, and a line below it."""
    return f"<h2>{escape(text)}</h2>" + (f'<p class="note">{escape(note)}</p>' if note else "")


def check_writable(file: str | None) -> None:
    """Raises LcmDaemonError if the file cannot be written."""
    try:
        if file:
            Path(file).open("a").close()
    except OSError as error:
        raise LcmDaemonError(f"{file}: cannot be written: {error.strerror}") from error
