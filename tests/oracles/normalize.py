"""The answer rules of SQuAD v1.1 and HotpotQA on 500 awkward strings, as JSON.

    python3 tests/oracles/normalize.py > tests/oracles/normalize.json

`normalize` is the rule that the official scripts of both, Search-R1, verl and FlashRAG share.
"""

import json
import random
import re
import string
import unicodedata
from collections import Counter

PIECES = [
    "the", "The", "THE", "a", "A", "an", "An", "aN", "then", "Ana", "theatre", "yes", "no",
    "noanswer", "Yes!", "no.", "U.S.", "U.S.A.", "1,000", "1.5", "$5", "e.g.", "rock'n'roll",
    "the-man", "a_b", "_the_", "a-1", "A.", "a's", "l'été", "Été", "thé", "à", "ÀÉÎ", "ß", "ẞ",
    "İstanbul", "ıssız", "ΟΔΟΣ", "ὈΔΥΣΣΕΎΣ", "Москва", "東京", "the東京", "東京a", "हिन्दी", "aहि",
    "हिa", "ไทย", "ก็a", "עִבְרִית", "العَرَبِيَّة", "a\u0301", "e\u0301", "the\u0301", "ﬁ", "Ⅷ", "Ⓐ", "ⓐ",
    "½", "²", "a²", "the½", "٣", "a٣", "ǅ", "ŉ", "𝒜", "🦊", "the🦊", "“the”", "‘a’", "a—the", "a–an",
    "…", "«a»", "¿a?", "the/an", "(the)", "[a]", "{an}", "a&b", "C++", "#1", "@a", "AC/DC",
    "x\u200by", "the\u200d", "\ufefa", "\ufeffthe", "a\u00ad", "naïve", "O'Brien", "the's", "Theo",
]
SPACES = [" "] * 12 + ["  ", "\t", "\n", "\u00a0", "\u3000", "\u2009", "\x1c", "\x1f", "\u2028", "\x85", "", "\v"]


def normalize(text):
    text = text.lower()
    text = "".join(c for c in text if c not in set(string.punctuation))
    text = re.sub(r"\b(a|an|the)\b", " ", text)
    return " ".join(text.split())


def exact(prediction, gold):
    return int(normalize(prediction) == normalize(gold))


def squad_f1(prediction, gold):
    prediction, gold = normalize(prediction).split(), normalize(gold).split()
    shared = sum((Counter(prediction) & Counter(gold)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def hotpotqa_f1(prediction, gold):
    plain = normalize(prediction), normalize(gold)
    verdicts = ["yes", "no", "noanswer"]
    if plain[0] != plain[1] and (plain[0] in verdicts or plain[1] in verdicts):
        return 0.0
    return squad_f1(prediction, gold)


def awkward(rng, assigned):
    pieces = []
    for _ in range(rng.randint(0, 7)):
        kind = rng.random()
        if kind < 0.75:
            pieces.append(rng.choice(PIECES))
        elif kind < 0.85:
            pieces.append("".join(rng.choice(string.printable) for _ in range(rng.randint(1, 4))))
        else:
            pieces.append("".join(rng.choice(assigned) for _ in range(rng.randint(1, 3))))
        pieces.append(rng.choice(SPACES))
    return "".join(pieces)


def main():
    rng = random.Random(2026)
    # Characters that every Unicode version since 14 knows; surrogates are no text.
    assigned = [
        chr(at) for at in range(0x20, 0x20000)
        if unicodedata.category(chr(at)) not in ("Cn", "Cs", "Co")
    ]
    cases = []
    while len(cases) < 500:
        answer = awkward(rng, assigned)
        golds = [awkward(rng, assigned) for _ in range(rng.randint(1, 2))]
        changed = answer.split(" ")
        rng.shuffle(changed)
        golds.append(rng.choice([
            answer.upper(), "the " + answer, answer + "!", " ".join(changed), rng.choice(PIECES),
        ]))
        cases.append({
            "answer": answer,
            "golds": golds,
            "normalized": normalize(answer),
            "em": max(exact(answer, gold) for gold in golds),
            "squad_f1": max(squad_f1(answer, gold) for gold in golds),
            "hotpotqa_f1": max(hotpotqa_f1(answer, gold) for gold in golds),
        })
    lines = ",\n".join(json.dumps(case) for case in cases)
    print(f"[\n{lines}\n]")


main()
