"""Makes docs/results/recipes.md and recipes.svg of the runs that `run.py` beside this has finished.

    python benchmarks/recipes/table.py [--runs runs/recipes] [--machine "two cores of an ..."]

What stands in the page after the line with END is kept: it is written by hand.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from runs import ROOT, band, cell, evaluation, lines, settings, table, write_page

PAGE = ROOT / "docs/results/recipes.md"


class Run:
    """A finished run: its held-out exact match before and after, its curve, and its size."""

    def __init__(self, folder):
        self.config = settings(folder)
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.seed = self.config["seed"]
        self.steps = self.config["training"]["steps"]
        self.tables = {
            (kind, step): evaluation(folder, kind, step)["all"]
            for kind in ("greedy", "sampled")
            for step in (0, self.steps)
        }
        rows = lines(folder / "metrics.jsonl")
        self.curve = {
            row["step"]: row["eval/greedy/em"] for row in rows if "eval/greedy/em" in row
        }
        self.reward = [row["reward/mean"] for row in rows if "reward/mean" in row]
        self.seconds = sum(row["seconds/step"] for row in lines(folder / "timings.jsonl"))

    def em(self, kind, step):
        return self.tables[kind, step]["em"]["mean"]


def paper(name):
    """The number of the paper in the first lines of a run file."""
    text = (ROOT / f"configs/{name}.toml").read_text()
    number = text.split("(arXiv ", 1)[1].split(")", 1)[0]
    return f"[{number}](https://arxiv.org/abs/{number})"


def gains(runs):
    """Exact match before and after, a row a recipe."""
    head = [
        "recipe", "paper", "greedy before", "greedy after", "gain", "sampled before",
        "sampled after", "searches before", "searches after", "training",
    ]
    rows = []
    for name, some in runs.items():
        last = some[0].steps
        ems = {
            (kind, step): [run.em(kind, step) for run in some]
            for kind in ("greedy", "sampled")
            for step in (0, last)
        }
        before, after = ems["greedy", 0], ems["greedy", last]
        searches = [
            statistics.mean(run.tables["greedy", step]["searches"] for run in some)
            for step in (0, last)
        ]
        rows.append([
            f"`{name}`", paper(name), cell(before), cell(after),
            cell([late - early for early, late in zip(before, after)], sign="+"),
            cell(ems["sampled", 0]), cell(ems["sampled", last]),
            *(f"{it:.2f}" for it in searches),
            f"{statistics.mean(run.seconds for run in some):.0f} s",
        ])
    return table(head, rows)


def chart(runs):
    """One small chart a recipe: the mean over seeds with its band, each seed as a thin line, and
    the other recipes' means in the background."""
    width, height, left, top, gap = 250, 160, 34, 40, 46
    columns = 3
    most = max(step for some in runs.values() for run in some for step in run.curve)
    means = {}
    for name, some in runs.items():
        steps = sorted(set.intersection(*(set(run.curve) for run in some)))
        means[name] = [(step, *band([run.curve[step] for run in some])) for step in steps]

    def at(origin, step, value):
        x = origin[0] + width * step / max(most, 1)
        y = origin[1] + height * (1 - min(max(value, 0), 1))
        return f"{x:.1f},{y:.1f}"

    def line(kind, origin, points):
        path = " ".join(at(origin, step, value) for step, value in points)
        return f'<polyline class="{kind}" points="{path}"/>'

    parts = []
    for place, (name, some) in enumerate(runs.items()):
        x = left + (place % columns) * (width + gap)
        y = top + (place // columns) * (height + gap + 14)
        origin = (x, y)
        parts.append(f'<text class="title" x="{x}" y="{y - 10}">{name}</text>')
        for tick in (0, 0.5, 1):
            height_of = y + height * (1 - tick)
            parts.append(
                f'<line class="grid" x1="{x}" x2="{x + width}" y1="{height_of}" y2="{height_of}"/>'
                f'<text class="tick" x="{x - 6}" y="{height_of + 4}" text-anchor="end">{tick}</text>'
            )
        for step in (0, most):
            place_of = x + width * step / max(most, 1)
            parts.append(
                f'<text class="tick" x="{place_of}" y="{y + height + 16}" '
                f'text-anchor="middle">{step}</text>'
            )
        for other, points in means.items():
            if other != name:
                parts.append(line("other", origin, [(step, mean) for step, mean, _ in points]))
        points = means[name]
        if points[0][2] is not None:
            upper = [at(origin, step, mean + half) for step, mean, half in points]
            lower = [at(origin, step, mean - half) for step, mean, half in reversed(points)]
            parts.append(f'<polygon class="band" points="{" ".join(upper + lower)}"/>')
            for run in some:
                parts.append(line("seed", origin, sorted(run.curve.items())))
        parts.append(line("mean", origin, [(step, mean) for step, mean, _ in points]))
    rows = -(-len(runs) // columns)
    total = (left + columns * (width + gap), top + rows * (height + gap + 14))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" role="img"
     font-family="system-ui, sans-serif">
<title>Held-out exact match by training step, one chart a recipe</title>
<style>
  .page {{ fill: #ffffff }}
  .title {{ fill: #1f2328; font-size: 14px; font-weight: 600 }}
  .tick {{ fill: #59636e; font-size: 11px }}
  .grid {{ stroke: #d1d9e0; stroke-width: 1 }}
  .band {{ fill: #0969da; opacity: 0.18 }}
  .mean {{ fill: none; stroke: #0969da; stroke-width: 2.5 }}
  .seed {{ fill: none; stroke: #0969da; stroke-width: 0.8; opacity: 0.6 }}
  .other {{ fill: none; stroke: #818b98; stroke-width: 0.8; opacity: 0.5 }}
  @media (prefers-color-scheme: dark) {{
    .page {{ fill: #0d1117 }}
    .title {{ fill: #f0f6fc }}
    .tick {{ fill: #9198a1 }}
    .grid {{ stroke: #3d444d }}
    .band {{ fill: #4493f8 }}
    .mean, .seed {{ stroke: #4493f8 }}
    .other {{ stroke: #9198a1 }}
  }}
</style>
<rect class="page" width="100%" height="100%"/>
{chr(10).join(parts)}
</svg>
"""


def page(runs, machine):
    every = [run for some in runs.values() for run in some]
    one = every[0]
    seeds = sorted({run.seed for run in every})
    commits = sorted({str(run.manifest["commit"]) for run in every})
    sizes = sorted(
        {
            run.config["training"]["questions_per_step"] * run.config["training"]["group_size"]
            for run in every
        }
    )
    trajectories = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    questions = one.config["world"]["questions"]
    n_seeds = {len(some) for some in runs.values()}
    seeds_said = ", ".join(map(str, seeds))
    if len(n_seeds) > 1:
        seeds_said += " (not all of them for every recipe yet)"
    intervals = "Means over the seeds with 95 % intervals (Student's t over seeds)"
    return f"""\
# The recipes, measured

Every recipe of [`configs/`](../../configs) on the built-in agent and world, as in its file except for the size: {one.steps} steps of {trajectories} trajectories.
Seeds {seeds_said}, each with a world of its own; exact match on {questions["test"]} held-out questions of one to four hops before and after training, and on {questions["dev"]} others for the curves.

```sh
python3 benchmarks/recipes/run.py --steps {one.steps} --seeds {" ".join(map(str, seeds))}
python3 benchmarks/recipes/table.py
```

Commit {", ".join(commits)}{f"; {machine}" if machine else ""}.

{gains(runs)}

{intervals}. Greedy is greedy decoding, sampled is temperature 1; searches are per question, in greedy decoding. Training is the time of all steps, without evaluations.

![held-out exact match by step](recipes.svg)

Greedy exact match on the {questions["dev"]} questions by step: the mean over seeds with its 95 % interval, each seed as a thin line, and the means of the other recipes in grey.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/recipes")
    parser.add_argument("--machine", default="", help="what it ran on, for the page")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()

    runs = defaultdict(list)
    for report in sorted(arguments.runs.glob("*/report.html")):
        runs[report.parent.name.rsplit("-", 1)[0]].append(Run(report.parent))
    if not runs:
        parser.error(f"no finished run in `{arguments.runs}`")
    if len({run.steps for some in runs.values() for run in some}) > 1:
        parser.error(f"the runs in `{arguments.runs}` have different numbers of steps")
    write_page(arguments.page, page(dict(runs), arguments.machine))
    arguments.page.with_suffix(".svg").write_text(chart(dict(runs)))
    print(f"{sum(map(len, runs.values()))} runs: {arguments.page}")


if __name__ == "__main__":
    main()
