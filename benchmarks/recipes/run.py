"""Trains every recipe of `configs/` on several seeds, small enough for three quarters of an hour.

    python benchmarks/recipes/run.py [--steps 25] [--trajectories 48] [--seeds 1 2 3]
                                     [--recipes NAME...] [--out runs/recipes] [--forage PATH]

Runs that are finished are left alone, and those that were interrupted go on, so call it again until
it has nothing to do. `table.py` beside this makes the page of their results.
"""

import argparse
import json
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

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


def check_same(run, changed):
    """Refuses to take a run of another size for one of these."""
    there = tomllib.loads((run / "config.toml").read_text())
    for key in ("training.steps", "training.questions_per_step"):
        section, name = key.split(".")
        if there[section][name] != changed[key]:
            sys.exit(f"`{run}` has another `{key}`: choose another folder with `--out`")


def em(run, step):
    table = json.loads((run / f"evaluations/step-{step:06}-greedy.json").read_text())
    return table["rows"][0]["em"]["mean"]


def main():
    known = recipes()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--trajectories", type=int, default=48, help="a step, about")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--recipes", nargs="+", choices=known, default=list(known))
    parser.add_argument("--out", type=Path, default=ROOT / "runs/recipes")
    parser.add_argument("--forage", help="the binary; without it, `cargo xtask train`")
    arguments = parser.parse_args()

    train = [arguments.forage, "train"] if arguments.forage else ["cargo", "xtask", "train"]
    # The first seed of all recipes, then the next: whoever stops early has a part of each.
    jobs = [(name, seed) for seed in arguments.seeds for name in arguments.recipes]
    for done, (name, seed) in enumerate(jobs, start=1):
        run = arguments.out.resolve() / f"{name}-{seed}"
        label = f"[{done}/{len(jobs)}] {name}, seed {seed}"
        changed = edits(known[name], seed, arguments.steps, arguments.trajectories)
        if (run / "config.toml").exists():
            check_same(run, changed)
        if (run / "report.html").exists():
            print(f"{label}: finished before", flush=True)
            continue
        command = [*train, f"configs/{name}.toml", "--out", str(run)]
        if (run / "config.toml").exists():
            command.append("--resume")
        for key, value in changed.items():
            command += ["--set", f"{key}={value}"]
        log = run.with_suffix(".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with log.open("a") as file:
            status = subprocess.run(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        if status.returncode != 0:
            sys.exit(f"{label}: exit code {status.returncode}; see {log}")
        seconds = time.monotonic() - began
        before, after = em(run, 0), em(run, arguments.steps)
        print(f"{label}: {before:.3f} -> {after:.3f} in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
