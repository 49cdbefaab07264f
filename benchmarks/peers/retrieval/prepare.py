"""Makes the work that every engine is measured on: OUT/col/c.jsonl (real passages) and OUT/q.json (real questions).

    python prepare.py DATA OUT
"""
import json
import sys
from pathlib import Path

data, out = Path(sys.argv[1]), Path(sys.argv[2])
(out / "col").mkdir(parents=True, exist_ok=True)
seen = set()
with open(out / "col/c.jsonl", "w") as file:
    for name in ("musique/corpus.jsonl", "hotpotqa/corpus.jsonl", "wiki_passage_pool/passages.jsonl"):
        for line in open(data / name):
            row = json.loads(line)
            text = row["title"] + "\n" + row["text"]
            if text not in seen:
                contents = f'"{row["title"]}"\n{row["text"]}'
                file.write(json.dumps({"id": str(len(seen)), "contents": contents}) + "\n")
                seen.add(text)
questions = [
    json.loads(line)["question"]
    for name in ("musique", "hotpotqa")
    for line in open(data / name / "questions.jsonl")
]
json.dump(questions, open(out / "q.json", "w"))
print(len(seen), "passages,", len(questions), "questions")
