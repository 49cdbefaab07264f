"""Makes OUT/million.jsonl: passages of 100 words drawn with their frequencies in OUT/col/c.jsonl, so that real
questions have real posting lists.

    python generate.py OUT N
"""
import json
import random
import sys
from collections import Counter
from pathlib import Path

out, n_passages = Path(sys.argv[1]), int(sys.argv[2])
counts = Counter()
for line in open(out / "col/c.jsonl"):
    counts.update(json.loads(line)["contents"].split())
words, weights = list(counts), list(counts.values())
cumulative, total = [], 0
for weight in weights:
    total += weight
    cumulative.append(total)
draw = random.Random(1)
with open(out / "million.jsonl", "w") as file:
    for passage in range(n_passages):
        text = " ".join(draw.choices(words, cum_weights=cumulative, k=100))
        file.write(json.dumps({"id": str(passage), "contents": f'"Page {passage}"\n{text}'}) + "\n")
