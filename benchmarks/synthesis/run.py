"""Whether feedback makes better questions, and whether such questions make a better agent.

    python benchmarks/synthesis/run.py [reader|loop|train] [--model PATH] [--asides 1]
                                       [--long-names 0.1] [--seeds 1 2 3] [--items 300]
                                       [--steps 2 4] [--rounds 3] [--training-steps 75]
                                       [--out runs/synthesis] [--forage PATH]

`reader` makes the agents of the other two. `loop` makes questions from the generated world, with
feedback and by resampling, with the same seeds: round 0 is the same in both. `train` trains an agent
on those of the feedback, one on as many shallow ones, one on as many of which half are of each kind,
and one each on as many after two rounds of feedback and before the first. Without a part, all of them. `--model` is
another agent that tries the questions.

Runs that are finished are left alone, and those that were interrupted go on, so call it again until
it has nothing to do. `table.py` beside this makes the page of their results.
"""

import argparse
import json
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from runs import ROOT, Runs, add_forage, learned, lines, quoted

RUN_FILE = "configs/synthesize.toml"
READER = "configs/reader.toml"
UPDATES = ("feedback", "resample")
KINDS = ("deep", "shallow", "mixed", "unrevised", "twice")

# A third of the world is held out: its questions are for the tables after training.
ENTITIES = "{ train = 1600, dev = 200, test = 800 }"
# Held-out questions for the curves while training.
DEV = 80
# Asides make passages longer.
OBSERVATION_TOKENS = 300
# Warm start of the agent that will be trained: a fifth of the reader's.
BEGINNING = (
    "[{ steps = 300, lr_from = 0.4, lr_to = 0.05, demonstrations = 10, reading = 6,"
    " comparison = 1 }]"
)


# The agents


def reader(arguments):
    return arguments.out / "reader"


def beginner(arguments):
    return arguments.out / "beginner"


def imitated(run):
    """Greedy exact match at the end of a supervised training."""
    last = [row for row in lines(run / "metrics.jsonl") if "eval/greedy/em" in row][-1]
    return f"greedy {last['eval/greedy/em']:.3f} at step {last['step']}"


def teach(runs, arguments):
    for run, edits in ((reader(arguments), {}), (beginner(arguments), {"sft.phases": BEGINNING})):
        runs.call("sft", READER, run, edits, run / "model/model.safetensors", imitated)


# The loop


def loop_edits(arguments, seed, **changed):
    """What of the run file is changed."""
    edits = {
        "seed": seed,
        "world.entities": ENTITIES,
        "world.long_names": arguments.long_names,
        "world.asides": arguments.asides,
        "agent.model.path": quoted(arguments.model or reader(arguments) / "model"),
        "rollout.max_observation_tokens": OBSERVATION_TOKENS,
        "synthesis.items": arguments.items,
        "synthesis.steps_from": arguments.steps[0],
        "synthesis.steps_to": arguments.steps[1],
        "synthesis.rounds": arguments.rounds,
        "synthesis.in_flight": 96,
    }
    return edits | {f"synthesis.{key}": value for key, value in changed.items()}


def passed(run):
    """The last row of each S, in a line."""
    last = json.loads((run / "report.json").read_text())["rounds"][-1]
    by_steps = " ".join(f"S{steps} {row['passed']:.0%}" for steps, row in last["by_steps"].items())
    return f"passed {last['all']['passed']:.1%} ({by_steps}), {last['agent_runs']} runs of the agent"


def synthesize(runs, arguments, run, edits):
    runs.call("synthesize", RUN_FILE, run, edits, run / "report.json", passed)


def loop(runs, arguments):
    for seed in arguments.seeds:
        for update in UPDATES:
            run = arguments.out / f"{update}-{seed}"
            edits = loop_edits(arguments, seed, update=quoted(update))
            synthesize(runs, arguments, run, edits)


# The training


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def named(kind, rows):
    """Both kinds count from 0."""
    return [row | {"id": f"{kind}-{row['id']}"} for row in rows]


def write_data(out, seed, made):
    """Question files of all kinds, which were made in these folders: as many for training, and the
    same ones held out."""
    data = out / f"data-{seed}"
    data.mkdir(parents=True, exist_ok=True)
    rows = {
        (kind, split): named(kind, lines(run / f"{split}.jsonl"))
        for kind, run in made.items()
        for split in ("train", "dev", "test")
    }
    n_train = min(len(rows[kind, "train"]) for kind in made)
    for kind in made:
        write_lines(data / f"{kind}.jsonl", rows[kind, "train"][:n_train])
    half = n_train // 2
    mixed = rows["deep", "train"][:half] + rows["shallow", "train"][: n_train - half]
    write_lines(data / "mixed.jsonl", mixed)
    for split, most in (("dev", DEV // 2), ("test", None)):
        write_lines(
            data / f"{split}.jsonl",
            rows["deep", split][:most] + rows["shallow", split][:most],
        )
    return data, n_train


def training_file(arguments):
    """The quickstart's recipe for the beginner, on question files, with the rollout of the
    synthesis."""
    recipe = (ROOT / "configs/quickstart.toml").read_text()
    synthesis = (ROOT / RUN_FILE).read_text()
    section = {
        name: re.search(rf"^\[{name}\]\n(?:(?!\[).*\n)*", text, re.MULTILINE)
        for name, text in (("world", recipe), ("rollout", synthesis))
    }
    rollout = re.search(r"^\[rollout\]\n(?:(?!\[).*\n)*", recipe, re.MULTILINE).group()
    files = '[data]\ntrain = "train"\ndev = "dev"\ntest = "test"\n\n[retriever]\nindex = "index"\n\n'
    text = recipe.replace(section["world"].group(), files)
    text = text.replace(rollout, section["rollout"].group())
    text = text.replace("assets/tiny-agent", str(beginner(arguments) / "model"))
    text = text.replace('name = "quickstart"', 'name = "synthesized"')
    file = arguments.out / "training.toml"
    file.write_text(text)
    return file


def train(runs, arguments):
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = training_file(arguments)
    for seed in arguments.seeds:
        deep = arguments.out / f"feedback-{seed}"
        if not (deep / "report.json").exists():
            sys.exit(f"`{deep}` is not finished: begin with `loop`")
        shallow = arguments.out / f"shallow-{seed}"
        edits = loop_edits(arguments, seed, min_steps=1, update=quoted("feedback"))
        edits |= {"synthesis.steps_from": 1, "synthesis.steps_to": 2}
        synthesize(runs, arguments, shallow, edits)
        made = {"deep": deep, "shallow": shallow}
        for kind, rounds, items in (("unrevised", 0, 2), ("twice", 2, 1)):
            made[kind] = arguments.out / f"{kind}-{seed}"
            edits = loop_edits(arguments, seed, update=quoted("feedback"))
            edits |= {"synthesis.rounds": rounds, "synthesis.items": items * arguments.items}
            synthesize(runs, arguments, made[kind], edits)
        data, n_train = write_data(arguments.out, seed, made)
        print(f"seed {seed}: {n_train} questions of each kind to train on", flush=True)
        for kind in KINDS:
            run = arguments.out / f"trained-{kind}-{seed}"
            edits = {
                "seed": seed,
                "data.train": quoted(data / f"{kind}.jsonl"),
                "data.dev": quoted(data / "dev.jsonl"),
                "data.test": quoted(data / "test.jsonl"),
                "retriever.index": quoted(deep / "index"),
                "rollout.max_observation_tokens": OBSERVATION_TOKENS,
                "training.steps": arguments.training_steps,
            }
            runs.call("train", file, run, edits, run / "report.html", learned)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=("reader", "loop", "train"))
    parser.add_argument("--model", type=Path, help="the agent that tries the questions")
    parser.add_argument(
        "--asides", type=float, default=1.0, help="share of the links that passages tell more of"
    )
    parser.add_argument(
        "--long-names", type=float, default=0.1, help="share of the names that are hard to spell"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--steps", type=int, nargs=2, default=[2, 4], metavar=("FROM", "TO"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--training-steps", type=int, default=75)
    parser.add_argument("--out", type=Path, default=ROOT / "runs/synthesis")
    add_forage(parser)
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()

    arguments.model = arguments.model and arguments.model.resolve()

    n_seeds = len(arguments.seeds)
    sizes = {"reader": 2, "loop": n_seeds * len(UPDATES), "train": n_seeds * (3 + len(KINDS))}
    parts = [arguments.part] if arguments.part else list(sizes)
    runs = Runs(arguments.forage, sum(sizes[part] for part in parts))
    if "reader" in parts:
        teach(runs, arguments)
    if "loop" in parts:
        loop(runs, arguments)
    if "train" in parts:
        train(runs, arguments)


if __name__ == "__main__":
    main()
