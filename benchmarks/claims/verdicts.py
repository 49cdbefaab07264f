"""What follows of the numbers of a design: intervals of paired differences, and a verdict in words."""

import statistics
from dataclasses import dataclass

from runs import band, student_tail


@dataclass(frozen=True)
class Difference:
    """A comparison with its numbers: one difference a seed that both arms have finished."""

    comparison: object
    by_seed: dict

    @property
    def values(self):
        return list(self.by_seed.values())

    @property
    def mean(self):
        return statistics.mean(self.values)

    @property
    def interval(self):
        """95 % interval of Student's t over seeds; none with fewer than two."""
        mean, half = band(self.values)
        return None if half is None else (mean - half, mean + half)

    @property
    def p(self):
        """Of the paired t test, both sides."""
        if len(self.values) < 2:
            return None
        deviation = statistics.stdev(self.values)
        if deviation == 0:
            return 1.0 if self.mean == 0 else 0.0
        return student_tail(self.mean / deviation * len(self.values) ** 0.5, len(self.values) - 1)

    @property
    def n_above(self):
        return sum(value > 0 for value in self.values)

    def holds(self):
        """Whether the claim holds; none where nothing is claimed, or there is no interval."""
        claimed, interval = self.comparison, self.interval
        if interval is None or (claimed.at_least is None and claimed.within is None):
            return None
        if claimed.within is not None:
            return -claimed.within <= interval[0] and interval[1] <= claimed.within
        return interval[0] > 0 and self.mean >= claimed.at_least


def differences(part, measures, runs):
    """The comparisons of a part for which there is a seed that both arms have finished."""
    numbers = {}
    for run in runs:
        if run.part.name == part.name:
            numbers.setdefault(run.arm.name, {})[run.seed] = run.rows()
    found = []
    for comparison in part.comparisons:
        measure = measures[comparison.measure]
        arm, baseline = (numbers.get(name, {}) for name in (comparison.arm, comparison.baseline))
        sides = {
            seed: (measure.of(arm[seed]), measure.of(baseline[seed]))
            for seed in sorted(arm.keys() & baseline.keys())
        }
        by_seed = {
            seed: one - other
            for seed, (one, other) in sides.items()
            if one is not None and other is not None
        }
        if by_seed:
            found.append(Difference(comparison, by_seed))
    return found


def holm(found):
    """Adjusted p values of the primary differences, by Holm: `{id: p}`. Those of the role
    `difference` are adjusted among themselves."""
    adjusted = {}
    for role in ("primary", "difference"):
        some = [it for it in found if it.comparison.role == role and it.p is not None]
        least = 0.0
        for rank, it in enumerate(sorted(some, key=lambda it: it.p)):
            least = max(least, min(1.0, it.p * (len(some) - rank)))
            adjusted[id(it)] = least
    return adjusted


def verdict(n_primary, gates_met, found, adjusted):
    """Of a part, whose p values are adjusted over all parts: `reproduced`, `not reproduced`, `refuted` or `gate not met`, or what a control says.

    Reproduced: every primary interval, after Holm, is above 0, every mean reaches what was claimed,
    and every control holds. Refuted: the interval of a primary difference holds 0 or lies below it,
    and does not reach what was claimed.
    """
    primary = [it for it in found if it.comparison.role == "primary"]
    if len(primary) < n_primary or any(it.interval is None for it in primary):
        return "not finished"
    if not all(gates_met):
        return "gate not met"
    for it in primary:
        low, high = it.interval
        if low <= 0 and high < it.comparison.at_least:
            return "refuted"
    if not all(it.holds() and adjusted[id(it)] < 0.05 for it in primary):
        return "not reproduced"
    for it in found:
        if it.comparison.role == "control" and it.holds() is False:
            return it.comparison.otherwise
    return "reproduced"


def apart(gates_met, found, adjusted):
    """Of a part without a claim: the arms that differ from their baseline, after Holm."""
    if not all(gates_met):
        return "gate not met"
    clear = [
        f"`{it.comparison.arm}`"
        for it in found
        if it.comparison.role == "difference" and adjusted.get(id(it), 1.0) < 0.05
    ]
    return f"apart from the base: {', '.join(clear) or 'none'}"
