"""Designs of experiments: `design.toml` of each paper, read and checked."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# The claims of a paper, what they are checked with, and comparisons of no claim: the p values of
# the first and of the last are adjusted, each among themselves.
ROLES = ("primary", "control", "secondary", "difference")


def known():
    """Names of the designs."""
    return sorted(path.parent.name for path in FOLDER.glob("*/design.toml"))


@dataclass(frozen=True)
class Measure:
    """A number of a run: the mean of a metric over steps of its training.

    `steps` is 0 for all of them (the area under the curve, divided by the number of steps), 5 for the
    first five and -10 for the last ten.
    """

    name: str
    title: str
    metric: str
    steps: int = 0

    def of(self, rows):
        """The number of a run with these rows of `metrics.jsonl`, a row a step; none where no step
        has the metric, as that of a teacher in a run without one."""
        some = rows[self.steps:] if self.steps <= 0 else rows[: self.steps]
        # A metric is absent in a step in which nothing has it.
        values = [row[self.metric] for row in some if self.metric in row]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class Arm:
    """A treatment: keys of the run file, and what is done to the evidence of its questions."""

    name: str
    title: str
    keys: dict = field(default_factory=dict)
    # Part of the evidence that is another question's.
    evidence: str | None = None
    # Number of seeds, where it is not that of the design.
    seeds: int | None = None
    # Run file, where it is not that of the design.
    run_file: str | None = None
    # Kinds of the synthesized questions that it is trained on, as many of each.
    questions: list[str] | None = None


@dataclass(frozen=True)
class Comparison:
    """A difference between two arms, seed by seed, and what is claimed of it."""

    measure: str
    arm: str
    baseline: str
    claim: str
    role: str = "secondary"
    # The mean has to reach this, and the interval has to lie above 0.
    at_least: float | None = None
    # The whole interval has to lie within this of 0.
    within: float | None = None
    # Verdict where this control fails.
    otherwise: str = "not reproduced"


@dataclass(frozen=True)
class Gate:
    """What has to hold of an arm before its comparisons mean anything."""

    measure: str
    arm: str
    claim: str
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, value):
        if value is None:
            return False
        low = -float("inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return low <= value <= high


@dataclass(frozen=True)
class Within:
    """A part of a reward in right trajectories, less that in wrong ones of the same question."""

    arm: str
    plugin: str
    part: str
    claim: str
    # The part that is 1 in right trajectories.
    right: str = "correct"
    # Keys of the plugin's `config`, as `--set` takes them.
    config: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Synthesized:
    """Questions that are made before a training, of several kinds."""

    run_file: str
    # Keys of all kinds, and of each.
    keys: dict
    kinds: dict
    # Keys of the imitation that makes the agent which tries the questions.
    start: dict


@dataclass(frozen=True)
class Transfer:
    """An evaluation of what was trained, on the same questions over another index."""

    name: str
    title: str
    analyzer: str = "english"
    # Number of worlds whose passages are in the index.
    worlds: int = 1
    keys: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A regime: keys of all its runs, arms, gates and comparisons."""

    name: str
    title: str
    keys: dict
    arms: list[Arm]
    gates: list[Gate]
    comparisons: list[Comparison]
    # Keys of the imitation that makes the agent that the runs start from; none for the shipped one.
    start: dict = field(default_factory=dict)
    within: list[Within] = field(default_factory=list)
    # What its runs are: `train`, or `synthesize`.
    command: str = "train"
    # Run file, where it is not that of the design.
    run_file: str | None = None
    # Names of the measures that its tables show, where they are not all.
    measures: list[str] | None = None
    synthesized: Synthesized | None = None
    transfers: list[Transfer] = field(default_factory=list)


@dataclass(frozen=True)
class Design:
    """An experiment: of a paper's claim, or a comparison without one."""

    name: str
    claim: str
    run_file: str
    plugins: list[str]
    seeds: int
    quick: dict
    measures: dict[str, Measure]
    parts: list[Part]
    looks: list[str] = field(default_factory=list)
    # Heading of its page.
    title: str | None = None
    # Number of the paper, and the effect that it reports.
    paper: str | None = None
    published: str | None = None

    def measures_of(self, part):
        """Measures that the tables of a part show."""
        return [self.measures[name] for name in part.measures or self.measures]


def read(name):
    """The design of a paper."""
    path = FOLDER / name / "design.toml"
    raw = tomllib.loads(path.read_text())
    try:
        return _design(name, raw)
    except (KeyError, TypeError, ValueError) as error:
        raise SystemExit(f"{path}: {error!r}") from error


def _design(name, raw):
    measures = {key: Measure(name=key, **value) for key, value in raw.pop("measures").items()}
    parts = [_part(part, measures) for part in raw.pop("parts")]
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"parts of one name: {names}")
    return Design(name=name, measures=measures, parts=parts, **raw)


def _part(raw, measures):
    arms = [Arm(**arm) for arm in raw.pop("arms")]
    gates = [Gate(**gate) for gate in raw.pop("gates", [])]
    comparisons = [Comparison(**comparison) for comparison in raw.pop("comparisons")]
    within = [Within(**it) for it in raw.pop("within", [])]
    transfers = [Transfer(**it) for it in raw.pop("transfers", [])]
    synthesized = raw.pop("synthesized", None)
    synthesized = synthesized and Synthesized(**synthesized)
    if unknown := set(raw.get("measures", [])) - measures.keys():
        raise ValueError(f"there is no measure `{unknown.pop()}`")
    names = {arm.name for arm in arms}
    if unknown := {it.arm for it in within} - names:
        raise ValueError(f"there is no arm `{unknown.pop()}`")
    for used in [*gates, *comparisons]:
        if used.measure not in measures:
            raise ValueError(f"there is no measure `{used.measure}`")
        for arm in {used.arm, getattr(used, "baseline", used.arm)} - names:
            raise ValueError(f"there is no arm `{arm}`")
    for comparison in comparisons:
        if comparison.role not in ROLES:
            raise ValueError(f"`{comparison.role}` is none of the roles {ROLES}")
    return Part(
        arms=arms, gates=gates, comparisons=comparisons, within=within, transfers=transfers,
        synthesized=synthesized, **raw,
    )
