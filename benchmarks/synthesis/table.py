"""Makes docs/results/synthesis.md of the runs that `run.py` beside this has finished.

    python benchmarks/synthesis/table.py [--runs runs/synthesis] [--machine "two cores of an ..."]
                                         [--other runs/names ...]

`--other` adds the loop of other settings. What stands in the page after the line with END is kept: it is written by hand.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from runs import ROOT, cell, evaluation, lines, settings, table, write_page

PAGE = ROOT / "docs/results/synthesis.md"
UPDATES = ("feedback", "resample")
KINDS = ("shallow", "deep", "mixed", "unrevised", "twice")


def loops(folder):
    """The reports of the loop by update and seed, of seeds that have both."""
    reports = {
        update: {
            int(it.parent.name.rsplit("-", 1)[1]): json.loads(it.read_text())
            for it in sorted(folder.glob(f"{update}-*/report.json"))
        }
        for update in UPDATES
    }
    seeds = sorted(set(reports["feedback"]) & set(reports["resample"]))
    return {update: [reports[update][seed] for seed in seeds] for update in UPDATES}, seeds


def all_items(reports):
    """The table of the paper: what stands after each round."""
    rows = []
    n_rounds = len(reports["feedback"][0]["rounds"])
    for rounds in range(n_rounds):
        for update in UPDATES if rounds else ("feedback",):
            of = [report["rounds"][rounds] for report in reports[update]]
            shares = [cell([it["all"][key] for it in of]) for key in ("correct", "passed", "average")]
            rows.append([
                rounds, update if rounds else "both", *shares,
                cell([it["all"]["searches"] for it in of], 2),
                cell([it["agent_runs"] / it["all"]["items"] for it in of], 2),
            ])
    head = ["rounds", "update", "correct", "passed", "Avg@K", "searches", "runs an item"]
    return table(head, rows)


def passed(reports):
    """Share passed by S and round, and what feedback has over resampling in the end."""
    last = len(reports["feedback"][0]["rounds"]) - 1
    steps = list(reports["feedback"][0]["rounds"][0]["by_steps"])

    def shares(update, rounds, of):
        return [it["rounds"][rounds]["by_steps"][of]["passed"] for it in reports[update]]

    head = ["S", "items", "round 0"]
    head += [f"{update} {rounds}" for rounds in range(1, last + 1) for update in UPDATES]
    head += [f"difference after {last}"]
    rows = []
    for of in steps:
        items = sum(it["rounds"][0]["by_steps"][of]["items"] for it in reports["feedback"])
        row = [of, items, cell(shares("feedback", 0, of))]
        for rounds in range(1, last + 1):
            row += [cell(shares(update, rounds, of)) for update in UPDATES]
        pairs = zip(shares("feedback", last, of), shares("resample", last, of))
        rows.append([*row, cell([one - other for one, other in pairs], sign="+")])
    return table(head, rows)


def hardness(reports):
    """Avg@K and mean searches by S, after the last round."""
    rows = []
    for of in reports["feedback"][0]["rounds"][-1]["by_steps"]:
        row = [of]
        for update in UPDATES:
            last = [it["rounds"][-1]["by_steps"][of] for it in reports[update]]
            row += [
                cell([it["correct"] for it in last]), cell([it["average"] for it in last]),
                cell([it["searches"] for it in last], 2),
            ]
        rows.append(row)
    head = ["S"]
    for update in UPDATES:
        head += [f"{update}: correct", "Avg@K", "searches"]
    return table(head, rows)


def reasons(reports):
    """Why pairs did not pass, by round, over all seeds."""
    rows = []
    for update in UPDATES:
        for rounds in range(len(reports[update][0]["reasons"])):
            counts = {}
            for report in reports[update]:
                for reason, count in report["reasons"][rounds].items():
                    counts[reason] = counts.get(reason, 0) + count
            tried = sum(
                report["rounds"][rounds]["agent_runs"]
                - (report["rounds"][rounds - 1]["agent_runs"] if rounds else 0)
                for report in reports[update]
            )
            said = ", ".join(f"{reason} {n}" for reason, n in sorted(counts.items()))
            rows.append([update, rounds, tried, said])
    return table(["update", "round", "runs of the agent", "not passed"], rows)


def elsewhere(folder, seeds):
    """How many pairs feedback mended, and how many of those no longer go through the document of
    their item, which resampling always asks about."""
    mended = left = 0
    for seed in seeds:
        pairs = {}
        for entry in lines(folder / f"feedback-{seed}/journal.jsonl"):
            if "proposed" in entry and "Ok" in entry["proposed"]["proposal"]:
                proposed = entry["proposed"]
                pairs[proposed["index"]] = proposed["proposal"]["Ok"]["pair"]["evidence"]
            elif "done" in entry:
                item, record = entry["done"]["item"], entry["done"]["record"]
                if record["end"] == "passed" and len(record["rounds"]) > 1:
                    mended += 1
                    left += item["document"]["title"] not in pairs[item["index"]]["entities"]
    return mended, left


def training(folder, seeds, decoding, base, others):
    """Exact match on the held-out questions by their number of facts: of agents that were trained on
    one kind of questions, and on others."""
    kinds = [base, *others]
    of = {}
    for seed in seeds:
        for kind in kinds:
            run = folder / f"trained-{kind}-{seed}"
            steps = settings(run)["training"]["steps"]
            of[seed, kind] = [evaluation(run, decoding, step) for step in (0, steps)]
    names = set.intersection(*(set(before) for before, _ in of.values()))
    names = sorted(names, key=lambda it: (it == "all", it))
    rows = []
    for name in names:
        em = {
            (kind, when): [of[seed, kind][when][name]["em"]["mean"] for seed in seeds]
            for kind in kinds for when in (0, 1)
        }
        searches = [
            statistics.mean(of[seed, kind][1][name]["searches"] for seed in seeds)
            for kind in kinds
        ]
        changes = [
            cell([it - before for before, it in zip(em[base, 1], em[kind, 1])], sign="+")
            for kind in others
        ]
        rows.append([
            name, sum(of[seed, base][1][name]["n"] for seed in seeds), cell(em[base, 0]),
            *(cell(em[kind, 1]) for kind in kinds), *changes, *(f"{it:.2f}" for it in searches),
        ])
    head = ["facts", "questions", "before", *kinds]
    head += [f"{kind} minus {base}" for kind in others]
    head += [f"searches, {kind}" for kind in kinds]
    return table(head, rows)


def trained(folder):
    """Seeds whose agents are all trained."""
    done = [
        {int(it.parent.name.rsplit("-", 1)[1]) for it in folder.glob(f"trained-{kind}-*/report.html")}
        for kind in KINDS
    ]
    return sorted(set.intersection(*done))


def percent(share):
    return f"{100 * share:.0f} %"


def other(folder):
    """The section of another setting."""
    reports, seeds = loops(folder)
    config = settings(folder / f"feedback-{seeds[0]}")
    world = config["world"]
    agent = Path(config["agent"]["model"]["path"])
    agent = agent.relative_to(ROOT) if agent.is_relative_to(ROOT) else agent
    return f"""
## `{folder.name}`

The agent is `{agent}`, {percent(world["long_names"])} of the names are long, {percent(world["asides"])} of the links state a further fact; seeds {", ".join(map(str, seeds))}.

{all_items(reports)}

{passed(reports)}
"""


def page(folder, machine, others):
    reports, seeds = loops(folder)
    config = settings(folder / f"feedback-{seeds[0]}")
    synthesis, world = config["synthesis"], config["world"]
    mended, left = elsewhere(folder, seeds)
    done = trained(folder)
    steps = settings(folder / f"trained-deep-{done[0]}")["training"]["steps"] if done else 75
    text = f"""\
# Question synthesis by execution feedback, measured

The loop of [docs/synthesis.md](../synthesis.md) on generated worlds. The graph walk (`generator.walker`) proposes questions, and a small agent attempts them. {percent(world["asides"])} of the links in passages state a further fact, which the agent reads, and it cannot spell {percent(world["long_names"])} of the names ([why](../../benchmarks/synthesis/README.md)). {synthesis["items"]} items a seed with S from {synthesis["steps_from"]} to {synthesis["steps_to"]}, K = {synthesis["tries"]}, {synthesis["rounds"]} rounds after the first; seeds {", ".join(map(str, seeds))}, each with a world of its own.

```sh
python3 benchmarks/synthesis/run.py --training-steps {steps}
python3 benchmarks/synthesis/table.py
```
{f"{chr(10)}{machine}.{chr(10)}" if machine else ""}
Means over the seeds with 95 % intervals (Student's t over seeds). Both update methods share round 0. An item that has passed is not tried again, so a method that passes more needs fewer runs of the agent: see `runs an item`.

## Feedback and resampling

{all_items(reports)}

Share passed, by S and round:

{passed(reports)}

After the last round, by S; Avg@K and searches are those of correct pairs:

{hardness(reports)}

Why pairs did not pass, over all seeds:

{reasons(reports)}

Of the {mended} pairs that feedback repaired, {left} no longer involve the document of their item, about which resampling always asks.
"""
    if seeds := done:
        run = settings(folder / f"trained-deep-{seeds[0]}")["training"]
        n_train = [
            len((folder / f"data-{seed}/deep.jsonl").read_text().splitlines()) for seed in seeds
        ]
        text += f"""
## An agent trained on them

A beginner agent, warm-started on a fifth of the demonstrations of the agent above, is trained by the quickstart's recipe ({run["steps"]} steps of {run["questions_per_step"]} questions × {run["group_size"]}) on the questions from feedback (deep), on as many made in the same way with S of 1 or 2 (shallow), or on as many that are half of each kind (mixed): {", ".join(map(str, n_train))} of each for seeds {", ".join(map(str, seeds))}. Exact match on held-out questions of both kinds, about entities that no training question mentions, by the number of facts.

Greedy:

{training(folder, seeds, "greedy", "shallow", ["deep", "mixed"])}

At temperature 1:

{training(folder, seeds, "sampled", "shallow", ["deep", "mixed"])}

The same for training on as many questions with the same S that no feedback has changed (unrevised: every question that the agent answered in two searches or more), and on questions after two rounds of feedback (twice). Greedy:

{training(folder, seeds, "greedy", "unrevised", ["twice", "deep"])}

At temperature 1:

{training(folder, seeds, "sampled", "unrevised", ["twice", "deep"])}
"""
    return text + "".join(map(other, others))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/synthesis")
    parser.add_argument("--other", type=Path, nargs="+", default=[], help="runs of other settings")
    parser.add_argument("--machine", default="", help="what it ran on, for the page")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    if not loops(arguments.runs)[1]:
        parser.error(f"no seed in `{arguments.runs}` has both ways of updating")
    others = [it.resolve() for it in arguments.other]
    write_page(arguments.page, page(arguments.runs.resolve(), arguments.machine, others))
    print(arguments.page)


if __name__ == "__main__":
    main()
