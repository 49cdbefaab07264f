"""Runs of question synthesis: their numbers, and the question files that are made of them."""

import json

from runs import lines

# Held-out questions for the curves while training, of each kind.
N_DEV = 40


def rows(folder):
    """Numbers after each round, the first one included: what an item cost and gave until then.

    `kept` counts questions of different texts that passed, `agent_runs` the runs of the agent.
    """
    records = [
        event["done"]["record"] for event in lines(folder / "journal.jsonl") if "done" in event
    ]
    n_rounds = max(len(record["rounds"]) for record in records)
    found = []
    for n in range(1, n_rounds + 1):
        tried = [
            [round_["tried"] for round_ in record["rounds"][:n] if "tried" in round_]
            for record in records
        ]
        agent_runs = sum(
            it["verdict"]["n_runs"] + len(it.get("lost", [])) for some in tried for it in some
        )
        kept = {
            some[-1]["pair"]["question"]
            for record, some in zip(records, tried)
            if record["end"] == "passed" and len(record["rounds"]) <= n
        }
        found.append({
            "step": n,
            "agent_runs": agent_runs,
            "kept": len(kept),
            "kept_share": len(kept) / len(records),
            "kept_per_1000": 1000 * len(kept) / agent_runs,
        })
    return found


def write_questions(folder, made, n_test=None):
    """Question files, in `folder`: `{kind}.jsonl` to train on of each kind of `made`, which maps kinds
    to folders of synthesis, all of one length, and held-out ones, `dev.jsonl` and `test.jsonl`, of
    the first two kinds together, `n_test` of each for the tests, or all.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    # All kinds count from 0.
    read = {
        (kind, split): [
            row | {"id": f"{kind}-{row['id']}"} for row in lines(path / f"{split}.jsonl")
        ]
        for kind, path in made.items()
        for split in ("train", "dev", "test")
    }
    n_train = min(len(read[kind, "train"]) for kind in made)
    files = {kind: read[kind, "train"][:n_train] for kind in made}
    held_out = list(made)[:2]
    for split, most in (("dev", n_test or N_DEV), ("test", n_test)):
        files[split] = [row for kind in held_out for row in read[kind, split][:most]]
    for name, some in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some)
        (partial / f"{name}.jsonl").write_text(text)
    partial.rename(folder)


def write_mixture(folder, kinds):
    """A file of questions of these kinds, as many of each, and as many together as of one; returns
    its path."""
    path = folder / f"{'+'.join(kinds)}.jsonl"
    if len(kinds) > 1:
        texts = [(folder / f"{kind}.jsonl").read_text().splitlines(keepends=True) for kind in kinds]
        n = len(texts[0])
        path.write_text("".join(
            line for idx, some in enumerate(texts)
            for line in some[: n * (idx + 1) // len(kinds) - n * idx // len(kinds)]
        ))
    return path
