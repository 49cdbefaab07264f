"""What the experiments beside this share: they call the program until all their runs are finished,
and make pages of Markdown tables of them."""

import functools
import json
import math
import os
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What freed memory costs otherwise; `cargo xtask` sets the same.
MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "67108864",
}

# In pages, what follows this line is kept.
END = "<!-- What follows is written by hand. -->"


# Running


def add_forage(parser):
    parser.add_argument("--forage", help="the binary; without it, `cargo xtask`")


class Runs:
    """Calls the program, and says what came of it."""

    def __init__(self, forage, total):
        self.program = [forage] if forage else ["cargo", "xtask"]
        self.total, self.done = total, 0

    def call(self, command, run_file, run, changed, finished, said):
        """One run, from where it stands, with these keys of its run file changed. `finished` is
        the file that it writes last, and `said` makes a line of the folder."""
        self.done += 1
        label = f"[{self.done}/{self.total}] {run.name}"
        check_same(run, changed)
        if finished.exists():
            print(f"{label}: finished before: {said(run)}", flush=True)
            return
        line = [*self.program, command, str(run_file), "--out", str(run)]
        if (run / "config.toml").exists():
            line.append("--resume")
        for key, value in changed.items():
            line += ["--set", f"{key}={value}"]
        log = run.with_suffix(".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with log.open("a") as file:
            status = subprocess.run(
                line, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                env=os.environ | MEMORY,
            )
        if status.returncode != 0:
            sys.exit(f"{label}: exit code {status.returncode}; see {log}")
        print(f"{label}: {said(run)}, {time.monotonic() - began:.0f} s", flush=True)


def check_same(run, changed):
    """Refuses to take a run of another size for one of these."""
    if not (run / "config.toml").exists():
        return
    there = settings(run)
    for key, value in changed.items():
        value_there = there
        for name in key.split("."):
            value_there = value_there[name]
        if value_there != tomllib.loads(f"it = {value}")["it"]:
            sys.exit(f"`{run}` has another `{key}`: choose another folder with `--out`")


def quoted(text):
    """A string of a run file."""
    return json.dumps(str(text))


# Reading


def settings(run):
    return tomllib.loads((run / "config.toml").read_text())


def lines(path):
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def evaluation(run, decoding, step):
    """The rows of a table of an evaluation, by name."""
    table = json.loads((run / f"evaluations/step-{step:06}-{decoding}.json").read_text())
    return {row["name"]: row for row in table["rows"]}


def learned(run):
    """Greedy exact match before and after a training."""
    steps = (0, settings(run)["training"]["steps"])
    return " -> ".join(f"{evaluation(run, 'greedy', it)['all']['em']['mean']:.3f}" for it in steps)


# Statistics


def student_tail(t, freedom):
    """P(|T| >= t) of Student's t, by Simpson's rule: right to eight digits."""
    log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    scale = math.exp(log) / math.sqrt(freedom * math.pi)
    # With x = sqrt(freedom) tan(a), the density is a power of the cosine over a finite range.
    n, end = 2000, math.atan(abs(t) / math.sqrt(freedom))
    step = end / n
    weights = [1 if idx in (0, n) else 4 if idx % 2 else 2 for idx in range(n + 1)]
    area = sum(w * math.cos(idx * step) ** (freedom - 1) for idx, w in enumerate(weights))
    return max(0.0, 1 - 2 * scale * math.sqrt(freedom) * area * step / 3)


@functools.cache
def student_quantile(freedom):
    """The 97.5 % point of Student's t: 12.706, 4.303, 3.182, ..."""
    low, high = 0.0, 100.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, freedom) > 0.05 else (low, middle)
    return high


def band(values):
    """Mean and half the width of its 95 % interval over seeds; none for a single seed."""
    n = len(values)
    if n < 2:
        return values[0], None
    half = student_quantile(n - 1) * statistics.stdev(values) / math.sqrt(n)
    return statistics.mean(values), half


# Pages


def cell(values, digits=3, sign=""):
    mean, half = band(values)
    return f"{mean:{sign}.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


def table(head, rows):
    return "\n".join(
        [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        + [f"| {' | '.join(map(str, row))} |" for row in rows]
    )


def write_page(page, text):
    """Writes a page, and keeps what was written by hand."""
    by_hand = page.read_text().partition(END)[2].lstrip("\n") if page.exists() else ""
    page.write_text(f"{text}\n{END}\n" + (f"\n{by_hand}" if by_hand else ""))
