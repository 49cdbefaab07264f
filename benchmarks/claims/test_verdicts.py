"""Verdicts on numbers that were worked out by hand.

    python3 -m unittest discover benchmarks/claims
"""

import sys
import unittest
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from designs import Comparison, Gate, Measure
from runs import student_quantile, student_tail
from verdicts import Difference, apart, holm, verdict


def primary(values, at_least=0.1):
    claimed = Comparison("area", "a", "b", "c", role="primary", at_least=at_least)
    return Difference(claimed, dict(enumerate(values, 1)))


def control(values, **wanted):
    claimed = Comparison("area", "c", "b", "c", role="control", otherwise="effort", **wanted)
    return Difference(claimed, dict(enumerate(values, 1)))


CLEAR = [0.2, 0.3, 0.25, 0.22]
NOTHING = [0.01, -0.01, 0.0, 0.005]


class Verdicts(unittest.TestCase):
    def test_student(self):
        # Of the tables.
        for freedom, expected in ((1, 12.706), (3, 3.182), (11, 2.201), (30, 2.042)):
            self.assertAlmostEqual(student_quantile(freedom), expected, places=3)
        self.assertAlmostEqual(student_tail(1.0, 1), 0.5, places=7)

    def test_intervals(self):
        # Mean 0.2425, standard deviation .043493, half width 3.18245 * .043493 / 2.
        low, high = primary(CLEAR).interval
        self.assertAlmostEqual(low, 0.2425 - 0.069207, places=4)
        self.assertAlmostEqual(high, 0.2425 + 0.069207, places=4)
        self.assertIsNone(primary([0.2]).interval)

    def test_holm(self):
        found = [primary(CLEAR), primary([0.5, 0.1, 0.3, 0.2]), control(NOTHING, within=0.03)]
        adjusted = holm(found)
        self.assertAlmostEqual(adjusted[id(found[0])], 2 * found[0].p)
        self.assertAlmostEqual(adjusted[id(found[1])], max(2 * found[0].p, found[1].p))
        self.assertNotIn(id(found[2]), adjusted)

    def test_differences_are_adjusted_among_themselves(self):
        claimed = Comparison("area", "a", "b", "c", role="difference")
        one = Difference(claimed, dict(enumerate(CLEAR)))
        adjusted = holm([primary(CLEAR), one])
        self.assertAlmostEqual(adjusted[id(one)], one.p)

    def test_arms_apart_from_the_base(self):
        def of(arm, values):
            claimed = Comparison("area", arm, "b", "c", role="difference")
            return Difference(claimed, dict(enumerate(values)))

        # The second differs by the same in every seed, so its p is 0.
        found = [of("near", NOTHING), of("far", [0.25] * 4), of("once", [0.5])]
        adjusted = holm(found)
        self.assertEqual(apart([True], found, adjusted), "apart from the base: `far`")
        self.assertEqual(apart([], found[:1], adjusted), "apart from the base: none")
        self.assertEqual(apart([False], found, adjusted), "gate not met")

    def test_verdicts(self):
        equal, unequal = control(NOTHING, within=0.03), control(CLEAR, within=0.03)
        apart, not_apart = control(CLEAR, at_least=0.05), control(NOTHING, at_least=0.05)
        for n_primary, gates, found, expected in (
            (1, [True], [primary(CLEAR), equal, apart], "reproduced"),
            (1, [True, False], [primary(CLEAR), equal], "gate not met"),
            (1, [True], [primary(CLEAR), unequal], "effort"),
            (1, [True], [primary(CLEAR), not_apart], "effort"),
            (1, [True], [primary(NOTHING), equal], "refuted"),
            # The mean is too small, and the interval is above 0.
            (1, [True], [primary(CLEAR, at_least=0.3), equal], "not reproduced"),
            # The interval holds 0, and what was claimed.
            (1, [True], [primary([0.5, -0.3, 0.4, 0.1]), equal], "not reproduced"),
            (2, [True], [primary(CLEAR), equal], "not finished"),
            (1, [True], [primary([0.2])], "not finished"),
        ):
            self.assertEqual(verdict(n_primary, gates, found, holm(found)), expected)

    def test_measures(self):
        rows = [{"step": step, "em": value} for step, value in enumerate((0.0, 0.2, 0.4, 1.0), 1)]
        for steps, expected in ((0, 0.4), (2, 0.1), (-2, 0.7)):
            self.assertAlmostEqual(Measure("m", "", "em", steps).of(rows), expected)
        # A step in which nothing has the metric is left out.
        self.assertAlmostEqual(Measure("m", "", "em", 2).of([{"step": 1}, rows[1]]), 0.2)
        self.assertIsNone(Measure("m", "", "f1").of(rows))

    def test_gates(self):
        self.assertTrue(Gate("m", "a", "", at_least=0.9).is_met(0.9))
        self.assertFalse(Gate("m", "a", "", at_most=0.05).is_met(0.06))
        self.assertFalse(Gate("m", "a", "", at_most=0.05).is_met(None))


if __name__ == "__main__":
    unittest.main()
