"""bm25s, top 3, tokenization included, with its texts: python bm25s_bench.py CORPUS QUESTIONS SECONDS [BACKEND...]

BACKEND is `numpy`, `numba scorer` (the scores in numba, the rest in numpy) or `numba` (all of it); all of them where none is given.
Prints a JSON object a measurement: the speed of the indexing, then the questions in one batch (its best case, queries a second) and one
by one (the times of single queries).
"""
import json
import sys
import time

import bm25s
import Stemmer


def main():
    corpus, questions, seconds, *backends = sys.argv[1:]
    seconds = float(seconds)
    passages = [json.loads(line)["contents"] for line in open(corpus)]
    whole = json.load(open(questions))
    stemmer = Stemmer.Stemmer("english")

    def tokenize(texts):
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    start = time.perf_counter()
    tokens = tokenize(passages)
    tokenizing = time.perf_counter() - start
    for backend in backends or ("numpy", "numba scorer", "numba"):
        retriever = bm25s.BM25(k1=0.9, b=0.4, backend="numba" if backend == "numba" else "numpy")
        start = time.perf_counter()
        retriever.index(tokens, show_progress=False)
        rate = len(passages) / (tokenizing + time.perf_counter() - start)
        print(json.dumps({"engine": f"bm25s ({backend})", "passages_per_second": rate}), flush=True)
        if backend == "numba scorer":
            retriever.activate_numba_scorer()
        for name, n_words in (("whole", 1000), ("six words", 6)):
            texts = [" ".join(question.split(" ")[:n_words]) for question in whole]
            for threads in (1, 2):

                def ask(texts):
                    found = retriever.retrieve(tokenize(texts), k=3, show_progress=False, n_threads=threads)
                    return [[passages[it] for it in row] for row in found.documents]

                ask(texts)
                rounds, start = 0, time.perf_counter()
                while time.perf_counter() - start < seconds:
                    ask(texts)
                    rounds += 1
                rate = rounds * len(texts) / (time.perf_counter() - start)
                times = []
                start = time.perf_counter()
                while time.perf_counter() - start < seconds:
                    asked = time.perf_counter()
                    ask([texts[len(times) % len(texts)]])
                    times.append(time.perf_counter() - asked)
                times.sort()
                p50, p99 = (1e6 * times[int((len(times) - 1) * it)] for it in (0.5, 0.99))
                row = {"engine": f"bm25s ({backend})", "questions": name, "threads": threads}
                row |= {"queries_per_second": rate, "p50_us": p50, "p99_us": p99}
                print(json.dumps(row), flush=True)


main()
