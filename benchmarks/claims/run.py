"""Reproduces the claim of a paper: runs its design, and writes pages of what came of it.

    cargo xtask reproduce e-grpo [--seeds N] [--quick] [--jobs N] [--parts NAME...] [--out DIR]

Runs that are finished are left alone, and those that were interrupted go on: the same command again
goes on from where it was. `--quick` is an illustration: two arms and three seeds.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import designs
import page
from runner import Runner
from runs import ROOT


def arguments():
    parser = argparse.ArgumentParser(prog="cargo xtask reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("paper", choices=designs.known())
    parser.add_argument("--seeds", type=int, help="number of seeds. Default: that of the design")
    parser.add_argument("--first-seed", type=int, default=1, help="90 to 99 are for choosing a design")
    parser.add_argument("--quick", action="store_true", help="an illustration, and no evidence")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, a core each")
    parser.add_argument("--parts", nargs="+", help="only these parts of the design")
    parser.add_argument("--arms", nargs="+", help="only these arms")
    parser.add_argument("--out", type=Path, help="folder of the runs. Default: runs/claims/PAPER")
    parser.add_argument("--pages-only", action="store_true", help="run nothing")
    parser.add_argument("--smoke", action="store_true", help="two tiny steps a run, as a test")
    parser.add_argument("--forage", nargs="+", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    given = arguments()
    design = designs.read(given.paper)
    quick = design.quick if given.quick else {}
    names = given.parts or ([quick["part"]] if quick else [part.name for part in design.parts])
    parts = [part for part in design.parts if part.name in names]
    if unknown := set(names) - {part.name for part in parts}:
        raise SystemExit(f"`{given.paper}` has no part {', '.join(sorted(unknown))}")
    out = (given.out or ROOT / "runs/claims" / given.paper).resolve()
    n_seeds = given.seeds or quick.get("seeds", design.seeds)
    seeds = range(given.first_seed, given.first_seed + n_seeds)
    runner = Runner(design, out, given.forage, given.jobs, given.smoke)
    runs = list(runner.runs(parts, seeds, given.arms or quick.get("arms")))
    if not given.pages_only:
        runner.finish(runs)
    is_evidence = not (quick or given.smoke or given.first_seed != 1 or given.parts or given.arms)
    folder = ROOT / "docs/results/claims" if is_evidence else out
    finished = [run for run in runs if run.is_finished()]
    for path in page.write(design, finished, folder, is_evidence, given.forage):
        print(path)


if __name__ == "__main__":
    main()
