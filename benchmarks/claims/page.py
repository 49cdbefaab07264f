"""Pages of a design: Markdown with every number, and HTML with the curves."""

import html
import json
import statistics

from chart import curves
from runs import cell, settings, table, write_page
from within import contrasts
from verdicts import apart, differences, holm, verdict


def write(design, runs, folder, is_evidence, forage):
    """Writes `PAPER.md` and `PAPER.html` of finished runs; returns their paths."""
    if not runs:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    pages = folder / f"{design.name}.md", folder / f"{design.name}.html"
    write_page(pages[0], markdown(design, runs, is_evidence, forage))
    pages[1].write_text(curves_page(design, runs, is_evidence))
    return pages


def by_arm(part, runs):
    """Finished runs of a part by arm, in the order of the design."""
    found = {arm.name: [] for arm in part.arms}
    for run in runs:
        if run.part.name == part.name:
            found[run.arm.name].append(run)
    return {name: some for name, some in found.items() if some}


def conclusion(design, runs):
    """Verdicts, gates and differences by part, and adjusted p values."""
    gates, found, said = {}, {}, {}
    for part in design.parts:
        arms = by_arm(part, runs)
        gates[part.name] = [
            (gate, mean_of(design.measures[gate.measure], arms[gate.arm]))
            for gate in part.gates
            if gate.arm in arms
        ]
        found[part.name] = differences(part, design.measures, runs)
    adjusted = holm([it for some in found.values() for it in some])
    for part in design.parts:
        if not by_arm(part, runs):
            continue
        met = [gate.is_met(value) for gate, value in gates[part.name]]
        if n_primary := sum(it.role == "primary" for it in part.comparisons):
            said[part.name] = verdict(n_primary, met, found[part.name], adjusted)
        elif any(it.role == "difference" for it in part.comparisons):
            said[part.name] = apart(met, found[part.name], adjusted)
    return said, gates, found, adjusted


def about(design):
    """What is claimed, and by whom."""
    if not design.paper:
        return [f"{design.claim}\n"]
    return [
        f"**Claim** ([{design.paper}](https://arxiv.org/abs/{design.paper})): {design.claim}\n",
        f"**The paper's own effect**: {design.published}.\n",
    ]


def values_of(measure, runs):
    """Numbers of the runs that have the metric."""
    values = [measure.of(run.rows()) for run in runs]
    return [value for value in values if value is not None]


def mean_of(measure, runs):
    """Their mean; none where no run has the metric."""
    values = values_of(measure, runs)
    return statistics.mean(values) if values else None


def headline(said, is_evidence):
    """Verdicts of all parts in a line."""
    if not is_evidence:
        return "illustration, not evidence"
    return "; ".join(f"{name}: {verdict}" for name, verdict in said.items())


def markdown(design, runs, is_evidence, forage):
    said, gates, found, adjusted = conclusion(design, runs)
    manifests = [path for run in runs if (path := run.folder / "manifest.json").exists()]
    commits = sorted({json.loads(path.read_text())["commit"] or "?" for path in manifests})
    parts = [
        f"# {design.title or f'{design.name}: the claim of its paper'}\n",
        *about(design),
        f"**Verdict: {headline(said, is_evidence)}.**\n",
        f"Design: [`design.toml`](../../../benchmarks/claims/{design.name}/design.toml); "
        f"{len(runs)} runs{' of commit ' if commits else ''}{', '.join(commits)}.\n\n"
        f"```sh\ncargo xtask reproduce {design.name}\n```\n",
    ]
    for part in design.parts:
        arms = by_arm(part, runs)
        if not arms:
            continue
        parts.append(f"## {part.title}\n")
        for gate, value in gates[part.name]:
            met = "met" if gate.is_met(value) else "**not met**"
            bounds = {"at least": gate.at_least, "at most": gate.at_most}
            bound = ", ".join(f"{word} {it}" for word, it in bounds.items() if it is not None)
            parts.append(
                f"Gate, {met}: {gate.claim}. {design.measures[gate.measure].title.capitalize()} of "
                f"`{gate.arm}`: {'none' if value is None else f'{value:.3f}'}, {bound}.\n"
            )
        parts.append(differences_table(design, found[part.name], adjusted) + "\n")
        parts.append(arms_table(design, part, arms) + "\n")
        for within in part.within:
            parts.append(within_text(within, contrasts(within, arms.get(within.arm, []), forage)))
        if part.command == "train":
            parts.append("Budget a run, means over seeds:\n\n" + budget_table(part, arms) + "\n")
        parts.append(seeds_table(design, part, arms) + "\n")
    if design.looks:
        parts.append("## Looks before the design was frozen\n")
        parts.append("\n".join(f"- {look}" for look in design.looks) + "\n")
    parts.append(
        "Differences are seed by seed: the two arms have the same world, questions, start and "
        "streams of random numbers. Intervals are of Student's t over seeds, at 95 %; p is adjusted "
        "by Holm, over the primary comparisons of all parts or over the differences.\n"
    )
    return "\n".join(parts)


def differences_table(design, found, adjusted):
    rows = []
    for it in found:
        claimed = it.comparison
        wanted = "–"
        if claimed.at_least is not None:
            wanted = f"≥ {claimed.at_least} and above 0"
        elif claimed.within is not None:
            wanted = f"within ± {claimed.within}"
        holds = {None: "–", True: "yes", False: "**no**"}[it.holds()]
        p = f"{adjusted[id(it)]:.2g}" if id(it) in adjusted else "–"
        rows.append([
            claimed.role, claimed.claim, f"`{claimed.arm}` less `{claimed.baseline}`",
            design.measures[claimed.measure].title, cell(it.values, sign="+"),
            f"{it.n_above} of {len(it.values)}", p, wanted, holds,
        ])
    return table(
        ["role", "claim", "difference", "of", "mean", "seeds above 0", "p", "wanted", "holds"], rows
    )


def within_text(within, found):
    """A sentence about right and wrong trajectories of the same questions."""
    head = f"Within questions, `{within.part}` of `{within.arm}`, {within.claim}: "
    if not found:
        return head + "no question has right and wrong trajectories among those that are saved.\n"
    n_questions = sum(len(it.differences) for it in found)
    return head + (
        f"{cell([it.mean for it in found], sign='+')} over {len(found)} seeds, above 0 in "
        f"{cell([it.share_above for it in found])} of the {n_questions} questions with both.\n"
    )


def arms_table(design, part, arms):
    titles = {arm.name: arm.title for arm in part.arms}
    measures = design.measures_of(part)
    rows = [
        [f"`{name}`", titles[name], len(some)]
        + [cell(values) if (values := values_of(measure, some)) else "–" for measure in measures]
        for name, some in arms.items()
    ]
    return table(["arm", "", "seeds", *(measure.title for measure in measures)], rows)


def budget_table(part, arms):
    """Trajectories, tokens, updates and seconds: the arms of a comparison must not differ in them."""
    rows = []
    for name, some in arms.items():
        training = settings(some[0].folder)["training"]
        trajectories = training["steps"] * training["questions_per_step"] * training["group_size"]
        every = [run.rows() for run in some]
        per_step = trajectories / training["steps"]
        sums = {
            key: statistics.mean(sum(row[key] for row in rows) * per_step for rows in every)
            for key in ("rollout/policy_tokens", "rollout/tokens")
        }
        updates = training["steps"] * training.get("mini_batches", 1) * training.get("epochs", 1)
        seconds = statistics.mean(run.seconds() for run in some)
        rows.append([
            f"`{name}`", f"{trajectories:,}", f"{sums['rollout/policy_tokens']:,.0f}",
            f"{sums['rollout/tokens']:,.0f}", updates, f"{seconds:.0f}",
        ])
    return table(["arm", "trajectories", "tokens of the policy", "tokens", "updates", "seconds"], rows)


def seeds_table(design, part, arms):
    """The first measure of every seed."""
    measure = design.measures_of(part)[0]
    seeds = sorted({run.seed for some in arms.values() for run in some})
    rows = []
    for name, some in arms.items():
        values = {run.seed: measure.of(run.rows()) for run in some}
        shown = {seed: f"{value:.3f}" for seed, value in values.items() if value is not None}
        rows.append([f"`{name}`", *(shown.get(seed, "") for seed in seeds)])
    return f"{measure.title.capitalize()}, by seed:\n\n" + table(["arm", *map(str, seeds)], rows)


def curves_page(design, runs, is_evidence):
    """A page that stands alone, with a chart of each part for each metric."""
    said, *_ = conclusion(design, runs)
    parts = []
    for part in design.parts:
        arms = by_arm(part, runs)
        if not arms:
            continue
        titles = {arm.name: arm.title for arm in part.arms}
        shown = design.measures_of(part)
        metrics = {measure.metric: measure.title.partition(",")[0] for measure in shown}
        parts.append(f"<h2>{html.escape(part.title)}</h2>")
        for metric, title in metrics.items():
            lines = [
                (titles[name], [[row.get(metric) for row in run.rows()] for run in some])
                for name, some in arms.items()
            ]
            # A metric is absent in a step in which nothing has it.
            if all(value is not None for _, some in lines for curve in some for value in curve):
                parts.append(f"<h3>{html.escape(title)} by step</h3>{curves(title, lines)}")
    label = headline(said, is_evidence)
    return f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{html.escape(design.name)}: {html.escape(label)}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }} svg {{ width: 100% }}</style>
<h1>{html.escape(design.name)}</h1>
<p>{html.escape(design.claim)}</p>
<p><strong>{html.escape(label)}</strong>. Thick lines are means over seeds, bands their 95 % intervals, thin lines single seeds.</p>
{chr(10).join(parts)}
</html>
"""
