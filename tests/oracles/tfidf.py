"""Cosines of TF-IDF vectors on 200 random document sets, as JSON.

    python3 tests/oracles/tfidf.py > tests/oracles/tfidf.json

A set is what StepSearch (arXiv 2505.15107) compares in one search: for each found document a fresh
`TfidfVectorizer` of scikit-learn, with its defaults, is fitted on it and all gold documents.
"""

import json
import random

from sklearn.feature_extraction.text import TfidfVectorizer

AWKWARD = [
    "a", "I", "x1", "3", "42", "U.S.", "rock'n'roll", "snake_case", "_", "__", "Été", "thé", "東京",
    "हिन्दी", "ไทย", "ΟΔΟΣ", "İstanbul", "½", "x²", "--", "🦊", "e-mail", "C++", "O'Brien", "a\u0301b",
]


def document(rng, words):
    picked = []
    for _ in range(rng.randint(0, 14)):
        # Zipf-like, so that documents share words.
        word = words[min(int(rng.paretovariate(0.6)) - 1, len(words) - 1)]
        picked.append(rng.choice(AWKWARD) if rng.random() < 0.12 else rng.choice([word, word.title()]))
    return rng.choice([" ", " ", ", ", "\n"]).join(picked)


def cosines(found, gold):
    try:
        vectors = TfidfVectorizer().fit_transform([found, *gold])
    except ValueError:  # No word in any document.
        return [0.0] * len(gold)
    return [float(it) for it in (vectors[1:] @ vectors[0].T).toarray().ravel()]


def main():
    rng = random.Random(2026)
    letters = "abcdefghijklmnoprstuvwy"
    words = ["".join(rng.choice(letters) for _ in range(rng.randint(1, 6))) for _ in range(60)]
    sets = []
    for _ in range(200):
        gold = [document(rng, words) for _ in range(rng.randint(1, 4))]
        found = [document(rng, words) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.3:
            found.append(rng.choice(gold))
        sets.append({
            "gold": gold,
            "found": found,
            "cosines": [[round(it, 9) for it in cosines(each, gold)] for each in found],
        })
    lines = ",\n".join(json.dumps(each) for each in sets)
    print(f"[\n{lines}\n]")


main()
