"""The page of a soak."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from lcm_daemon import __version__
from lcm_daemon.commands.bench import machine
from lcm_daemon.commands.html_page import heading, page, table
from lcm_daemon.commands.soak.incident import Incident
from lcm_daemon.commands.soak.observer import Observer
from lcm_daemon.commands.soak.scene import Check
from lcm_daemon.commands.soak.timeline import Timeline
from lcm_daemon.commands.soak.verdict import Growth
from lcm_daemon.commands.svg_plot import Mark, Series, clock_text, line_plot
from lcm_daemon.core.metrics import quantile_of

LOG_LINES = 200
MOST_POINTS = 1000  # of a line


@dataclass(frozen=True)
class Findings:
    """Everything that a soak has found.

    Attributes:
        show: Name of the show.
        recipe: Name of its recipe.
        about: What was soaked, in words, by a word for it.
        seconds: How long it took.
        interval: Seconds between two frames of the output.
        shown: The output.
        control: The output of the control.
        observer: Status and processes.
        incidents: The faults.
        growth: Of each process.
        verdicts: What decides.
        log: The last lines of the copy's log.
    """

    show: str
    recipe: str
    about: Mapping[str, str]
    seconds: float
    interval: float
    shown: Timeline
    control: Timeline
    observer: Observer
    incidents: Sequence[Incident]
    growth: Sequence[Growth]
    verdicts: Sequence[Check]
    log: Sequence[str]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.verdicts)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        bad = [check.what for check in self.verdicts if not check.ok]
        return f"not as expected: {', '.join(bad)}" if bad else "everything was as expected"


def soak_page(found: Findings) -> str:
    """The report as one HTML file."""
    verdict = f'<p class="verdict {"good" if found.ok else "bad"}">{escape(found.line)}</p>'
    about = {**found.about, "in to out": latency_line(found.shown, found.incidents), "time": clock_text(found.seconds),
             "machine": _machine()}
    body = [verdict, table(("", ""), list(about.items())), heading("Verdict"),
            table(("what", "found"), [(check.what, check.found) for check in found.verdicts], _marks(found.verdicts)),
            *_plots(found), *_incident_table(found), *_growth_table(found.growth), *_alarms(found), _log(found.log)]
    return page(f"Soak of {found.show}", body, figures(found))


def figures(found: Findings) -> dict[str, Any]:
    """The report for programs. Times in seconds since the start, gaps and latencies in milliseconds; bytes."""
    start = found.shown.start
    return {
        "version": __version__, "show": found.show, "recipe": found.recipe, "seconds": round(found.seconds, 1),
        "about": dict(found.about), "machine": machine(), "ok": found.ok, "verdict": found.line,
        "verdicts": [check.__dict__ for check in found.verdicts],
        "latency_ms": latency_figures(found.shown, found.incidents),
        "longest_gap_ms": round(1000 * max((span.longest for span in found.shown.spans), default=0.0), 1),
        "control_longest_gap_ms": round(1000 * max((span.longest for span in found.control.spans), default=0.0), 1),
        "faults": [{"name": each.fault, "at": round(each.start - start, 1), "skipped": each.skipped, "ok": each.ok,
                    "recovery": each.recovery, "gap_ms": round(1000 * each.gap, 1),
                    "control_gap_ms": round(1000 * each.control, 1),
                    "checks": [check.__dict__ for check in each.checks]} for each in found.incidents],
        "growth": [row.__dict__ for row in found.growth],
    }


def latency_figures(shown: Timeline, incidents: Sequence[Incident]) -> dict[str, float]:
    """From the sender to the output, in milliseconds; "calm" is without the changes that were sent during a fault."""
    spans = [(each.start, each.end) for each in incidents if not each.skipped]
    return {"p50": round(1000 * shown.latency(0.5), 1), "p99": round(1000 * shown.latency(0.99), 1),
            "changes": len(shown.changes), "unseen": shown.unseen,
            "calm p50": round(1000 * shown.latency(0.5, spans), 1),
            "calm p99": round(1000 * shown.latency(0.99, spans), 1), "calm changes": len(shown.outside(spans))}


def latency_line(shown: Timeline, incidents: Sequence[Incident]) -> str:
    """The same in words, which say whether it is with the faults."""
    found = latency_figures(shown, incidents)
    if found["changes"] == found["calm changes"]:
        during = "none of them during a fault"
        return f"p50 {found['p50']} ms, p99 {found['p99']} ms ({found['changes']} changes of brightness, {during})"
    return (f"p50 {found['calm p50']} ms, p99 {found['calm p99']} ms ({found['calm changes']} changes of brightness "
            f"outside of faults); with those during faults p50 {found['p50']} ms, p99 {found['p99']} ms "
            f"({found['changes']} changes)")


def _machine() -> str:
    found = machine()
    return (f"{platform.processor() or platform.machine()}, {found['cores']:.0f} cores, {found['memory GiB']:.1f} GiB, "
            f"{found['system']}, Python {found['python']}, lcm-daemon {__version__}")


def _marks(checks: Sequence[Check]) -> list[str]:
    return ["" if check.ok else "bad" for check in checks]


def _plots(found: Findings) -> list[str]:
    start, seconds = found.shown.start, found.seconds
    marks = [Mark(each.start - start, each.end - start, each.line()) for each in found.incidents if not each.skipped]

    def plot(title: str, note: str, unit: str, *series: Series) -> list[str]:
        thin = [Series(line.name, _thinned(line.points)) for line in series if line.points]
        return [heading(title, note), line_plot(thin, unit, seconds, marks)] if thin else []

    spans, control, points = found.shown.spans, found.control.spans, found.observer.points
    latencies = [(span.start - start, sorted(span.latencies)) for span in spans if span.latencies]
    return [
        *plot("Cadence", "Longest time between two frames of the output, in each span of "
              f"{found.shown.span:g} s. Shaded: faults.", "ms",
              Series("show", [(span.start - start, 1000 * span.longest) for span in spans if span.frames]),
              Series("control", [(span.start - start, 1000 * span.longest) for span in control if span.frames])),
        *plot("Pictures", "New pictures a second that came out, and what the status says.", "/s",
              Series("new on the output", [(span.start - start, span.fresh / found.shown.span) for span in spans[:-1]]),
              Series("rendered", [(point.time - start, point.fps) for point in points]),
              Series("input", [(point.time - start, point.input_fps) for point in points]),
              Series("output", [(point.time - start, point.output_fps) for point in points])),
        *plot("Latency", "From the sender to the output, by changes of brightness; and as the status says it, from the "
              "source to the result.", "ms",
              Series("in to out, median", [(time, 1000 * quantile_of(each, 0.5)) for time, each in latencies]),
              Series("in to out, longest", [(time, 1000 * each[-1]) for time, each in latencies]),
              Series("status", [(point.time - start, point.latency) for point in points])),
        *plot("Memory", "What each process has for itself.", "MiB", *_by_role(found, "memory", 2**20)),
        *plot("Open files and sockets", "", "", *_by_role(found, "descriptors", 1)),
        *plot("Shared memory", "Of all processes of the show.", "MiB",
              Series("shared", [(each.time - start, each.shared / 2**20) for each in found.observer.samples])),
        *plot("Processes that were replaced", "Counted since the start.", "", *_restarts(found)),
    ]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS of them; of several in one place, the highest."""
    size = -(-len(points) // MOST_POINTS)
    return [max(points[place:place + size], key=lambda point: point[1]) for place in range(0, len(points), size or 1)]


def _by_role(found: Findings, attribute: str, unit: float) -> list[Series]:
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for sample in found.observer.samples:
        sums: dict[str, float] = defaultdict(float)
        for process in sample.processes:
            sums[process.role] += getattr(process, attribute)
        for role, value in sums.items():
            lines[role].append((sample.time - found.shown.start, value / unit))
    return [Series(role, points) for role, points in sorted(lines.items())]


def _restarts(found: Findings) -> list[Series]:
    lines = []
    for role in sorted({role for _, role in found.observer.replaced}):
        times = [time - found.shown.start for time, each in found.observer.replaced if each == role]
        steps = [(0.0, 0.0)]
        for count, time in enumerate(times, 1):
            steps += [(time, count - 1.0), (time, float(count))]
        lines.append(Series(role, [*steps, (found.seconds, float(len(times)))]))
    return lines


def _incident_table(found: Findings) -> list[str]:
    if not found.incidents:
        return []
    rows = [(clock_text(each.start - found.shown.start), each.fault, each.does,
             f"not caused: {each.skipped}" if each.skipped else
             "; ".join(f"{check.what}: {check.found}" for check in each.checks),
             "-" if each.skipped else "yes" if each.ok else "NO") for each in found.incidents]
    return [heading("Faults", "Each with what was expected of the show, and what was found."),
            table(("at", "fault", "what it does", "found", "as expected"), rows,
                  ["" if each.ok else "bad" for each in found.incidents])]


def _growth_table(rows: Sequence[Growth]) -> list[str]:
    cells = [(row.what, str(row.pid or ""), f"{row.hours:.2f} h", f"{row.before / 2**20:.1f} MiB",
              f"{row.grown / 2**20:+.2f} MiB", f"{row.descriptors:+.0f}") for row in rows]
    return [heading("Growth", "Of processes that lived 20 minutes, after their first ten."),
            table(("what", "process", "for", "memory", "grown", "open files and sockets"), cells,
                  ["" if row.ok else "bad" for row in rows])] if rows else []


def _alarms(found: Findings) -> list[str]:
    rows = [(clock_text(time - found.shown.start), text) for time, text in found.observer.alarms]
    return [heading("Alarms"), table(("at", "text"), rows[-100:])] if rows else []


def _log(lines: Sequence[str]) -> str:
    return f"<details><summary>Log of the copy</summary><pre>{escape(chr(10).join(lines[-LOG_LINES:]))}</pre></details>"
