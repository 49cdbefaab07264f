"""A part of a reward, compared among the trajectories of one question: right ones less wrong ones."""

import json
import statistics
import subprocess
from dataclasses import dataclass

from runs import ROOT


@dataclass(frozen=True)
class Contrast:
    """What a run says: questions whose trajectories are partly right."""

    seed: int
    differences: list[float]

    @property
    def mean(self):
        return statistics.mean(self.differences)

    @property
    def share_above(self):
        return sum(it > 0 for it in self.differences) / len(self.differences)


def contrasts(within, runs, forage):
    """One a run of the arm that has such questions among its saved training trajectories."""
    found = []
    for run in runs:
        if run.arm.name != within.arm:
            continue
        differences = of_lines(scored(within, run, forage), within)
        if differences:
            found.append(Contrast(run.seed, differences))
    return found


def scored(within, run, forage):
    """Lines of `forage reward replay --json` over the training trajectories of a run."""
    files = sorted((run.folder / "trajectories").glob("step-*-train.jsonl.zst"))
    if not files:
        return []
    options = [option for key in within.config for option in ("--set", key)]
    ended = subprocess.run(
        [*forage, "reward", "replay", within.plugin, *map(str, files), *options, "--json"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )
    if ended.returncode != 0:
        raise SystemExit(ended.stderr)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def of_lines(lines, within):
    """The difference of each question of a step that has right and wrong trajectories."""
    questions = {}
    for line in lines:
        parts = line["grade"].get("scored", {}).get("parts", {})
        if within.right in parts and within.part in parts:
            sides = questions.setdefault((line["step"], line["question"]), ([], []))
            sides[parts[within.right] == 1].append(parts[within.part])
    return [
        statistics.mean(right) - statistics.mean(wrong)
        for wrong, right in questions.values()
        if right and wrong
    ]
