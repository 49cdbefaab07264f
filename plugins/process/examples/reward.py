"""A reward in Python: half a point for the right word, less a toll for every search."""

import json
import sys


def score(question, trajectory):
    answer = (trajectory["answer"] or "").strip().lower()
    right = any(gold.lower() in answer for gold in question["golden_answers"])
    toll = 0.1 * len(trajectory["searches"])
    return {"reward": 0.5 * right - toll, "parts": {"right": right * 1.0, "toll": toll}}


for line in sys.stdin:
    group = json.loads(line)
    grades = [score(group["question"], it) for it in group["trajectories"]]
    print(json.dumps(grades), flush=True)
