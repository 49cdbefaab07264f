"""Runs of a design: their run files, and the program called until all are finished."""

import json
import os
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import synthesis
from designs import FOLDER
from runs import MEMORY, ROOT, lines

# Sizes of a smoke test: does everything of a design run?
SMOKE = {
    "training": {
        "steps": 2, "questions_per_step": 2, "group_size": 2, "checkpoint_every": 2,
        "save_trajectories_every": 2,
    },
    "world": {
        "entities": {"train": 300, "dev": 60, "test": 60},
        "questions": {"train": 24, "dev": 2, "test": 2},
    },
    "evaluation": {"every": 2},
}


SMOKE_SYNTHESIS = {
    "synthesis": {"items": 8, "tries": 1, "rounds": 1},
    "rollout": {"max_searches": 4},
    "world": {"entities": {"train": 120, "dev": 60, "test": 60}},
}
# Enough that some are kept in each split.
SMOKE_MADE = {**SMOKE_SYNTHESIS, "synthesis": {"items": 40, "tries": 1, "rounds": 0}}

SHIPPED = "assets/tiny-agent"


@dataclass(frozen=True)
class Run:
    """One training: an arm of a part with a seed."""

    part: object
    arm: object
    seed: int
    folder: Path

    @property
    def label(self):
        return f"{self.part.name}/{self.folder.name}"

    def is_finished(self):
        return (self.folder / "report.html").exists() and all(
            self.transfer(it).exists() for it in self.part.transfers
        )

    def transfer(self, transfer):
        """Evaluation over another index."""
        return self.folder.with_name(f"{self.folder.name}-{transfer.name}") / "evaluation.json"

    def rows(self):
        """Metrics of its steps, or numbers of its rounds.

        The last step of a training also has the evaluations after it, as `final/DECODING/ROW/em`, and
        those over other indexes, as `NAME/ROW/em`.
        """
        if self.part.command == "synthesize":
            return synthesis.rows(self.folder)
        rows = [row for row in lines(self.folder / "metrics.jsonl") if row["step"] > 0]
        last = rows[-1]["step"]
        tables = {
            f"final/{decoding}": self.folder / f"evaluations/step-{last:06}-{decoding}.json"
            for decoding in ("greedy", "sampled")
        }
        tables |= {it.name: self.transfer(it) for it in self.part.transfers}
        for name, path in tables.items():
            for row in json.loads(path.read_text())["rows"]:
                rows[-1][f"{name}/{row['name']}/em"] = row["em"]["mean"]
        return rows

    def seconds(self):
        return sum(row["seconds/step"] for row in lines(self.folder / "timings.jsonl"))


def merged(base, changed):
    """A table with the keys of another. One that says which `plugin` or `name` is replaced whole."""
    result = dict(base)
    for key, value in changed.items():
        old = result.get(key)
        whole = not isinstance(value, dict) or "plugin" in value or "name" in value
        result[key] = value if whole or not isinstance(old, dict) else merged(old, value)
    return result


def flat(table, prefix=""):
    """Keys and values of a table, with dots."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def toml(value):
    """A value in TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(it)}" for key, it in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def write_run_file(path, table):
    """Writes a run file, unless it is there: one that differs is another experiment."""
    text = "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
    if path.exists() and tomllib.loads(path.read_text()) != tomllib.loads(text):
        sys.exit(f"`{path}` is of another design: choose another folder with `--out`")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def beside(folder, ending):
    """The file beside a folder with its name and this ending: `alpha-0.3-1` has a dot of its own."""
    return folder.with_name(folder.name + ending)


class Runner:
    """Calls the program for the runs of a design in a folder."""

    def __init__(self, design, out, forage, jobs, smoke=False):
        self.design, self.out, self.forage, self.jobs, self.smoke = design, out, forage, jobs, smoke
        self.lock = threading.Lock()
        self.free = list(range(jobs))
        self.stopped = False
        # By seed, for what several runs need and one makes.
        self.making = {}

    def runs(self, parts, seeds, arms=None):
        """Runs of some parts and seeds, the first seed of all arms first."""
        for seed in seeds:
            for part in parts:
                for idx, arm in enumerate(part.arms):
                    # In a smoke test, two arms a part have all seeds.
                    most = 1 if self.smoke and idx >= 2 else arm.seeds
                    beyond = most is not None and seed - seeds[0] >= most
                    if (arms is None or arm.name in arms) and not beyond:
                        folder = self.out / part.name / f"{arm.name}-{seed}"
                        yield Run(part, arm, seed, folder)

    def finish(self, runs):
        """Runs until all are finished, `jobs` at a time."""
        open_runs = [run for run in runs if not run.is_finished()]
        print(f"{len(runs)} runs, {len(runs) - len(open_runs)} of them finished", flush=True)
        for part in {run.part.name: run.part for run in open_runs}.values():
            if part.start:
                self.start(part.name, part.start)
            if part.synthesized:
                self.start(f"{part.name}-questions", part.synthesized.start)
        began, n_done = time.monotonic(), 0

        def one(run):
            nonlocal n_done
            if self.stopped:
                return
            try:
                seconds = self.run(run)
            except BaseException:
                self.stopped = True
                raise
            with self.lock:
                n_done += 1
                left = (time.monotonic() - began) / n_done * (len(open_runs) - n_done)
                print(
                    f"[{len(runs) - len(open_runs) + n_done}/{len(runs)}] {run.label}: "
                    f"{seconds:.0f} s; {left / 60:.0f} min left",
                    flush=True,
                )

        with ThreadPoolExecutor(self.jobs) as pool:
            for future in [pool.submit(one, run) for run in open_runs]:
                future.result()

    def start(self, name, keys):
        """The model that a part starts from: the shipped agent after some steps of imitation."""
        folder = self.out / "starts" / name
        if not (folder / "model/model.safetensors").exists():
            table = merged(tomllib.loads((FOLDER / "start.toml").read_text()), keys)
            table["name"] = f"{self.design.name}-{name}"
            if self.smoke:
                phases = [{**phase, "steps": 2} for phase in table["sft"]["phases"]]
                table["sft"] = {**table["sft"], "phases": phases, "checkpoint_every": 2}
                table = merged(table, {"evaluation": {"every": 2}, "world": SMOKE["world"]})
            self.call("sft", table, folder, None)
        return folder / "model"

    def run(self, run):
        """One training or synthesis; returns its seconds."""
        part = run.part
        file = run.arm.run_file or part.run_file or self.design.run_file
        table = merged(tomllib.loads((ROOT / file).read_text()), part.keys)
        table = merged(table, run.arm.keys)
        table |= {"name": run.folder.name, "seed": run.seed}
        model = str(self.start(part.name, part.start) if part.start else ROOT / SHIPPED)
        with self.lock:
            core = self.free.pop()
        began = time.monotonic()
        if part.command == "synthesize":
            self.synthesize(table, model, run.folder, core, SMOKE_SYNTHESIS)
        else:
            self.train(run, merged(table, {"model": {"path": model}}), core)
        with self.lock:
            self.free.append(core)
        return time.monotonic() - began

    def synthesize(self, table, model, folder, core, smoke):
        """One synthesis, in a smoke test of this size."""
        table = merged(table, {"agent": {"model": {"path": model}}})
        if self.smoke:
            table = merged(table, smoke)
        if not (folder / "report.html").exists():
            self.call("synthesize", table, folder, core)

    def train(self, run, table, core):
        """One training, and its evaluations over other indexes."""
        if self.smoke:
            sizes = dict(SMOKE["training"])
            if table["training"]["group_size"] == 1:
                sizes |= {"group_size": 1, "questions_per_step": 4}
            table = merged(table, {**SMOKE, "training": sizes})
            if "self_distillation" in table.get("algorithm", {}):
                table = merged(table, {"algorithm": {"self_distillation": {"warmup_steps": 0}}})
        if run.arm.evidence:
            table = self.with_other_evidence(table, run)
        if run.arm.questions:
            table = self.with_synthesized(table, run, core)
        self.call("train", table, run.folder, core)
        for transfer in run.part.transfers:
            if not run.transfer(transfer).exists():
                self.evaluate(transfer, table, run, core)

    def with_synthesized(self, table, run, core):
        """A run over the questions of its kind and the index that they were made with. They are made
        by the first run of the seed, which the others wait for."""
        part, seed = run.part, run.seed
        folder = self.out / part.name / f"questions-{seed}"
        with self.making.setdefault(seed, threading.Lock()):
            made = {}
            for kind, keys in part.synthesized.kinds.items():
                base = tomllib.loads((ROOT / part.synthesized.run_file).read_text())
                base = merged(merged(base, part.synthesized.keys), keys)
                base |= {"name": f"{kind}-{seed}", "seed": seed}
                made[kind] = self.out / part.name / f"made-{kind}-{seed}"
                solver = self.start(f"{part.name}-questions", part.synthesized.start)
                self.synthesize(base, str(solver), made[kind], core, SMOKE_MADE)
            if not folder.exists():
                synthesis.write_questions(folder, made, 2 if self.smoke else None)
        table = {key: value for key, value in table.items() if key != "world"}
        held_out = {split: str(folder / f"{split}.jsonl") for split in ("dev", "test")}
        train = synthesis.write_mixture(folder, run.arm.questions)
        table["data"] = {"train": str(train), **held_out}
        table["retriever"] = {"index": str(next(iter(made.values())) / "index")}
        return table

    def evaluate(self, transfer, table, run, core):
        """An evaluation over another index: of the same world, and of others beside it."""
        part = run.part
        index = self.out / part.name / f"index-{transfer.name}-{run.seed}"
        with self.making.setdefault(run.seed, threading.Lock()):
            if not index.exists():
                self.other_index(transfer, table, part, run.seed, index, core)
        out = run.transfer(transfer).parent
        options = [
            option for key, value in flat(transfer.keys) for option in ("--set", f"{key}={toml(value)}")
        ]
        arguments = ["eval", run.folder, "--index", index, "--out", out, *options]
        self.program(arguments, beside(out, ".log"), core)

    def other_index(self, transfer, table, part, seed, index, core):
        """Builds the index of a transfer."""
        world = merged(
            tomllib.loads((ROOT / part.synthesized.run_file).read_text()), part.synthesized.keys
        )["world"]
        if self.smoke:
            world = merged(world, SMOKE_SYNTHESIS["world"])
        files = []
        for number in range(transfer.worlds):
            # Worlds of other seeds have other names; their passages have the same ids.
            of_seed = seed + 1000 * number
            folder = self.out / part.name / f"world-{of_seed}"
            if not folder.exists():
                described = {key: it for key, it in table.items() if key not in ("data", "retriever")}
                questions = {"train": 1, "dev": 1, "test": 1}
                described |= {"world": world | {"questions": questions}, "seed": of_seed}
                path = beside(folder, ".toml")
                write_run_file(path, described | {"name": folder.name})
                self.program(["world", path, "--out", folder], beside(folder, ".log"), core)
            passages = lines(folder / "corpus.jsonl")
            if number:
                passages = [it | {"id": f"{number}-{it['id']}"} for it in passages]
            files += passages
        corpus = beside(index, ".jsonl")
        corpus.write_text("".join(json.dumps(it, ensure_ascii=False) + "\n" for it in files))
        arguments = ["index", "--corpus", corpus, "--out", index, "--analyzer", transfer.analyzer]
        self.program(arguments, beside(index, ".log"), core)

    def with_other_evidence(self, table, run):
        """A run over the files of its world, where each training question has a part of the evidence
        of the next question with as many steps."""
        folder = self.out / run.part.name / f"world-{run.seed}"
        with self.lock:
            if not folder.exists():
                path = beside(folder, ".toml")
                write_run_file(path, {**table, "name": folder.name})
                self.program(["world", path, "--out", folder], beside(folder, ".log"), None)
        questions = lines(folder / "train.jsonl")
        path = folder.with_name(f"train-{run.arm.name}-{run.seed}.jsonl")
        path.write_text("".join(json.dumps(it) + "\n" for it in exchanged(questions, run.arm.evidence)))
        files = {split: str(folder / f"{split}.jsonl") for split in ("dev", "test")}
        table = {key: value for key, value in table.items() if key != "world"}
        table["data"] = {"train": str(path), **files}
        table["retriever"] = {"index": str(folder / "index")}
        return table

    def call(self, command, table, folder, core):
        """Starts or resumes a run."""
        path = beside(folder, ".toml")
        write_run_file(path, table)
        arguments = [command, path, "--out", folder]
        if (folder / "config.toml").exists():
            arguments.append("--resume")
        self.program(arguments, beside(folder, ".log"), core)

    def program(self, arguments, log, core):
        log.parent.mkdir(parents=True, exist_ok=True)
        # Runs side by side do not share cores: each number is the same with one core as with many.
        alone = None
        if core is not None and self.jobs > 1 and hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            mine = {cores[core % len(cores)]}
            alone = lambda: os.sched_setaffinity(0, mine)  # noqa: E731
        with log.open("a") as file:
            status = subprocess.run(
                [*self.forage, *map(str, arguments)], cwd=ROOT, stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, env=os.environ | MEMORY, preexec_fn=alone,
            )
        if status.returncode != 0:
            sys.exit(f"exit code {status.returncode}: see {log}; the same command goes on from here")


def exchanged(questions, key):
    """Questions with a part of the evidence of others: of the next with as many steps, in a circle."""
    alike = {}
    for question in questions:
        alike.setdefault(len(question["evidence"]["steps"]), []).append(question)
    others = {}
    for same in alike.values():
        for question, other in zip(same, same[1:] + same[:1]):
            others[question["id"]] = other["evidence"][key]
    return [
        {**question, "evidence": {**question["evidence"], key: others[question["id"]]}}
        for question in questions
    ]
