"""Numbers and question files that are made of what the program wrote.

    python3 -m unittest discover benchmarks/claims
"""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import synthesis
from designs import Within
from runner import exchanged, flat, merged
from within import of_lines


def tried(question, n_runs=4, lost=0):
    return {"tried": {"pair": {"question": question}, "verdict": {"n_runs": n_runs},
                      "lost": ["no server"] * lost}}


def done(end, *rounds):
    return {"done": {"record": {"end": end, "rounds": list(rounds)}}}


class Questions(unittest.TestCase):
    def test_a_synthesis_is_counted_by_its_rounds(self):
        with tempfile.TemporaryDirectory() as folder:
            journal = [
                done("passed", tried("a?")),
                done("passed", tried("b?"), {"not-made": {"reason": "no chain"}}, tried("c?")),
                # The same question a second time.
                done("passed", tried("d?"), tried("a?", n_runs=3, lost=1)),
                done("out-of-rounds", tried("e?"), tried("f?"), tried("g?")),
                {"proposed": {}},
            ]
            path = Path(folder) / "journal.jsonl"
            path.write_text("".join(json.dumps(event) + "\n" for event in journal))
            rows = synthesis.rows(Path(folder))
        self.assertEqual([row["agent_runs"] for row in rows], [16, 24, 32])
        self.assertEqual([row["kept"] for row in rows], [1, 1, 2])
        self.assertAlmostEqual(rows[-1]["kept_per_1000"], 1000 * 2 / 32)
        self.assertAlmostEqual(rows[-1]["kept_share"], 0.5)

    def test_kinds_are_of_one_length_and_mixtures_too(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            made = {}
            for kind, n_train in (("deep", 5), ("shallow", 8), ("unrevised", 6)):
                made[kind] = folder / kind
                made[kind].mkdir()
                for split, n in (("train", n_train), ("dev", 2), ("test", 3)):
                    rows = "".join(json.dumps({"id": f"{split}-{it}"}) + "\n" for it in range(n))
                    (made[kind] / f"{split}.jsonl").write_text(rows)
            files = folder / "questions"
            synthesis.write_questions(files, made)

            def ids(path):
                return [json.loads(line)["id"] for line in path.read_text().splitlines()]

            self.assertEqual(len(ids(files / "shallow.jsonl")), 5)
            mixed = ids(synthesis.write_mixture(files, ["deep", "shallow"]))
            self.assertEqual(
                mixed,
                ["deep-train-0", "deep-train-1", "shallow-train-0", "shallow-train-1", "shallow-train-2"],
            )
            self.assertEqual(synthesis.write_mixture(files, ["deep"]), files / "deep.jsonl")
            self.assertEqual(len(ids(files / "test.jsonl")), 6)
            self.assertFalse(any(it.startswith("unrevised") for it in ids(files / "test.jsonl")))

    def test_right_and_wrong_are_compared_within_a_question(self):
        within = Within(arm="a", plugin="p", part="gamma", claim="c")

        def line(question, correct, gamma):
            return {"step": 1, "question": question,
                    "grade": {"scored": {"parts": {"correct": correct, "gamma": gamma}}}}

        found = of_lines([
            line("q", 1.0, 1.0), line("q", 0.0, 0.5), line("q", 0.0, 0.0),
            line("all right", 1.0, 1.0), line("all wrong", 0.0, 0.25),
            {"step": 1, "question": "q", "grade": {"failed": "no server"}},
        ], within)
        self.assertEqual(found, [0.75])

    def test_evidence_of_others_goes_in_a_circle_among_questions_of_as_many_steps(self):
        def question(name, n_steps):
            return {"id": name, "evidence": {"steps": [{}] * n_steps, "entities": [name]}}

        found = exchanged([question("a", 2), question("b", 3), question("c", 2)], "entities")
        self.assertEqual([it["evidence"]["entities"] for it in found], [["c"], ["b"], ["a"]])

    def test_tables_are_merged_by_key_and_named_ones_replaced(self):
        base = {"a": {"x": 1, "y": 2}, "loss": {"name": "ppo", "clip_low": 0.2}}
        changed = merged(base, {"a": {"y": 3}, "loss": {"name": "gspo"}})
        self.assertEqual(changed, {"a": {"x": 1, "y": 3}, "loss": {"name": "gspo"}})
        self.assertEqual(dict(flat({"a": {"b": {"c": 1}}, "d": 2})), {"a.b.c": 1, "d": 2})


if __name__ == "__main__":
    unittest.main()
