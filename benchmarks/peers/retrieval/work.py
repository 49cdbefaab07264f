"""The work that every engine is measured on."""
import json
import random
from collections import Counter

CORPORA = ("musique/corpus.jsonl", "hotpotqa/corpus.jsonl", "wiki_passage_pool/passages.jsonl")
QUESTIONS = ("musique/questions.jsonl", "hotpotqa/questions.jsonl")


def write(file, idx, title, text):
    file.write(json.dumps({"id": str(idx), "contents": f'"{title}"\n{text}'}) + "\n")


def real(data, out, limit=None):
    """Writes OUT/real/c.jsonl, the distinct passages of all corpora, and OUT/q.json. Returns how many passages there are."""
    (out / "real").mkdir(parents=True, exist_ok=True)
    seen = set()
    with open(out / "real/c.jsonl", "w") as file:
        for row in (json.loads(line) for name in CORPORA for line in open(data / name)):
            passage = (row["title"], row["text"])
            if passage not in seen and len(seen) != limit:
                write(file, len(seen), *passage)
                seen.add(passage)
    questions = [json.loads(line)["question"] for name in QUESTIONS for line in open(data / name)]
    json.dump(questions, open(out / "q.json", "w"))
    return len(seen)


def generated(out, n_passages):
    """Writes OUT/generated/c.jsonl: passages of 100 words with their frequencies in the real ones, so that real questions have real
    posting lists."""
    (out / "generated").mkdir(parents=True, exist_ok=True)
    counts = Counter()
    for line in open(out / "real/c.jsonl"):
        counts.update(json.loads(line)["contents"].split())
    words, cumulative, total = list(counts), [], 0
    for word in words:
        total += counts[word]
        cumulative.append(total)
    draw = random.Random(1)
    with open(out / "generated/c.jsonl", "w") as file:
        for idx in range(n_passages):
            write(file, idx, f"Page {idx}", " ".join(draw.choices(words, cum_weights=cumulative, k=100)))
    return n_passages
