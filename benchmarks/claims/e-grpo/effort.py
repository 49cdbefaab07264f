"""Control of E-GRPO: a wrong answer earns for the number of its searches instead of for entities.

A reward program, see `plugins/process`: its only argument is alpha. A right answer earns 1, a wrong
one alpha times its searches over the most of its group, as `entity-match` pays for entities. What is
right is decided as there, by the exact match of normalized answers.
"""

import json
import re
import string
import sys

ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalized(text):
    kept = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", kept).split())


def scores(group, alpha):
    golden = {normalized(answer) for answer in group["question"]["golden_answers"]}
    trajectories = group["trajectories"]
    most = max((len(each["searches"]) for each in trajectories), default=0)
    for each in trajectories:
        right = float(each["answer"] is not None and normalized(each["answer"]) in golden)
        effort = len(each["searches"]) / most if most else 0.0
        reward = 1.0 if right else alpha * effort
        yield {"reward": reward, "parts": {"correct": right, "effort": effort}}


def main():
    alpha = float(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(list(scores(json.loads(line), alpha))), flush=True)


if __name__ == "__main__":
    main()
