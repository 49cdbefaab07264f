"""Trains every recipe of `configs/` on several seeds, small enough for three quarters of an hour.

    python benchmarks/recipes/run.py [--steps 25] [--trajectories 48] [--seeds 1 2 3]
                                     [--recipes NAME...] [--out runs/recipes] [--forage PATH]

Runs that are finished are left alone, and those that were interrupted go on, so call it again until
it has nothing to do. `table.py` beside this makes the page of their results.
"""

import argparse
import sys
import tomllib
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from runs import ROOT, Runs, add_forage, learned

# Held-out questions: `dev` for the curves, `test` before and after.
QUESTIONS = "{ train = 2000, dev = 80, test = 120 }"
EVALUATE_EVERY = 5


def recipes():
    """The run files that choose an algorithm, by name."""
    files = sorted((ROOT / "configs").glob("*.toml"))
    parsed = {file.stem: tomllib.loads(file.read_text()) for file in files}
    return {name: it for name, it in parsed.items() if "algorithm" in it}


def edits(recipe, seed, steps, trajectories):
    """What of a recipe is changed: its size, and nothing of its algorithm."""
    training = recipe["training"]
    questions = max(
        -(-trajectories // training["group_size"]), training.get("mini_batches", 1)
    )
    changed = {
        "seed": seed,
        "world.questions": QUESTIONS,
        "training.steps": steps,
        "training.questions_per_step": questions,
        "training.checkpoint_every": 5,
        "training.save_trajectories_every": steps,
        "evaluation.every": EVALUATE_EVERY,
    }
    if "extra_groups" in training:
        share = training["extra_groups"] / training["questions_per_step"]
        changed["training.extra_groups"] = round(share * questions)
    return changed


def main():
    known = recipes()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--trajectories", type=int, default=48, help="a step, about")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--recipes", nargs="+", choices=known, default=list(known))
    parser.add_argument("--out", type=Path, default=ROOT / "runs/recipes")
    add_forage(parser)
    arguments = parser.parse_args()

    # The first seed of all recipes, then the next: whoever stops early has a part of each.
    jobs = [(name, seed) for seed in arguments.seeds for name in arguments.recipes]
    runs = Runs(arguments.forage, len(jobs))
    for name, seed in jobs:
        run = arguments.out.resolve() / f"{name}-{seed}"
        changed = edits(known[name], seed, arguments.steps, arguments.trajectories)
        runs.call("train", f"configs/{name}.toml", run, changed, run / "report.html", learned)


if __name__ == "__main__":
    main()
