"""The figures that the project asks of a card, as a table for examples/figures/README.md, with card, versions, command.

    python -m tests.cuda.kit.figures RESULTS BENCH.json ...
"""

from __future__ import annotations

import json
import pathlib
import sys

COMMAND = "bash tests/cuda/kit/run.sh"
BEYOND = "SD-Turbo 512, 1 step: the next aim"
BEYOND_XL = "SDXL-Turbo 512, 1 step: the next aim"


def find(rows: list[dict], *parts: str) -> dict:
    """The newest result whose name contains all of these; empty if there is none."""
    return next((row for row in reversed(rows) if all(part in row["name"] for part in parts)), {})


def number(row: dict, key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def best_fps(rows: list[dict], *parts: str) -> float | None:
    found = [number(row, "fps") for row in rows if all(part in row["name"] for part in parts)]
    return max((fps for fps in found if fps), default=None)


def of_bench(benches: list[dict], name: str) -> float | None:
    return next((bench["model"][name] for bench in reversed(benches) if name in bench.get("model", {})), None)


def over(one: float | None, other: float | None) -> float | None:
    return one / other if one and other else None


def lines(rows: list[dict], benches: list[dict]) -> list[tuple[str, str | None, str, bool | None]]:
    """What, figure, wanted, reached. The figure and the last are None where nothing was measured."""
    found: list[tuple[str, str | None, str, bool | None]] = []
    plays = find(rows, "kit-upgraded: plays compiled") or find(rows, "kit-recorded: plays")
    fps, p50, p99 = (number(plays, key) for key in ("rendered_seen_fps", "in_to_out_p50_ms", "in_to_out_p99_ms"))
    shown = f"{fps:.0f} fps, p50 {p50:.1f} ms, p99 {p99:.1f} ms" if fps and p50 and p99 else None
    for what, least, most in (("SD-Turbo 512, 1 step, memory bus in to memory bus out", 200, 8), (BEYOND, 300, 5)):
        found.append((what, shown, f"{least} fps at p99 <= {most} ms", fps >= least and p99 <= most if shown else None))

    form = "accelerated" if of_bench(benches, "1 step: accelerated, frames/s") else "recorded"
    ours, theirs = (of_bench(benches, f"1 step: {name}, frames/s") for name in (form, "diffusers"))
    loop = best_fps(rows, "sd-turbo, ", "3 frames under way: interval")
    for what, ratio, least in ((f"{form}, beside diffusers' own pipeline, eager", over(ours, theirs), 2.0),
                               ("the first line, beside the kit's own loop of plain torch", over(fps, loop), 1.0)):
        shown = f"{ratio:.2f} times" if ratio else None
        found.append((what, shown, f"{least} times", ratio >= least if ratio else None))

    aims = ((1, "SDXL-Turbo 512, 1 step", 90), (1, BEYOND_XL, 120), (2, "SDXL-Turbo 512, 2 steps", 0))
    for steps, what, least in aims:
        xl = best_fps(rows, "sdxl-turbo", f"{steps} steps: frames in flight")
        shown, wanted = f"{xl:.0f} fps" if xl else None, f"{least} fps" if least else "-"
        found.append((what, shown, wanted, xl >= least if xl and least else None))

    control = find(rows, "what the ControlNet adds")
    cost, share = number(control, "time_share"), number(control, "operations_share")
    measured = cost is not None and share is not None
    wanted = "its share of the operations" + (f", {share:.0%}" if measured else "")
    found.append(("a ControlNet adds to the time of a frame", f"{cost:.0%}" if measured else None, wanted,
                  cost <= share if measured else None))
    back = number(find(rows, "compiled engine killed") or find(rows, "engine killed after all"), "first_new_card_s")
    found.append(("a compiled engine is killed: until a new frame", f"{back:.1f} s" if back else None, "10 s",
                  back < 10 if back else None))
    return found


def table(rows: list[dict], benches: list[dict], commit: str) -> str:
    """Markdown: a heading, the command, the table."""
    card, versions = find(rows, "card"), find(rows, "versions")
    if "name_of_card" in card:
        head = f"## {card['name_of_card']}; torch {versions.get('torch')}, CUDA {versions.get('cuda')}, " \
               f"diffusers {versions.get('diffusers')}, driver {card.get('driver')}"
    else:
        head = "## no card: small shapes on the CPU, which say nothing of a card"
    reached = {True: "yes", False: "no", None: "-"}
    body = [f"| {what} | {shown or 'not measured'} | {wanted} | {reached[good]} |"
            for what, shown, wanted, good in lines(rows, benches)]
    labels = [f"{name.partition(', plays')[0]}: {value}" for bench in benches for name, value in
              bench.get("model", {}).items() if name.endswith(", plays")]
    forms = "; ".join(dict.fromkeys(labels)) or "not measured"
    return "\n".join([head, "", f"`{COMMAND}`, commit {commit or 'unknown'}. Forms of the bench: {forms}.", "",
                      "| what | figure | wanted | reached |", "|---|---|---|---|", *body]) + "\n"


def read(path: str) -> list[dict]:
    file = pathlib.Path(path)
    return [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []


def main() -> None:
    benches = [json.loads(pathlib.Path(name).read_text()) for name in sys.argv[2:] if pathlib.Path(name).exists()]
    commit = pathlib.Path(sys.argv[1]).parent / "logs" / "commit.txt"
    print(table(read(sys.argv[1]), benches, commit.read_text().strip()[:12] if commit.exists() else ""))


if __name__ == "__main__":
    main()
