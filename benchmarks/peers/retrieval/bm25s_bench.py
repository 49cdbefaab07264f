"""bm25s, top 3, tokenization included, with its texts: python bm25s_bench.py CORPUS QUESTIONS SECONDS

Prints a JSON object a measurement: the speed of the indexing, then, for its scorers in numpy and in numba and for its backend all in
numba, the questions in one batch (its best case, queries a second) and one by one (the times of single queries).
"""
import json
import sys
import time

import bm25s
import Stemmer


def main():
    corpus, questions, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    passages = [json.loads(line)["contents"] for line in open(corpus)]
    whole = json.load(open(questions))
    stemmer = Stemmer.Stemmer("english")

    def tokenize(texts):
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    for backend in ("numpy", "numba scorer", "numba"):
        if backend == "numba scorer":
            retriever.activate_numba_scorer()
        else:
            retriever = bm25s.BM25(k1=0.9, b=0.4, backend=backend)
            start = time.perf_counter()
            retriever.index(tokenize(passages), show_progress=False)
            rate = len(passages) / (time.perf_counter() - start)
            row = {"engine": f"bm25s ({backend})", "passages_per_second": rate}
            print(json.dumps(row), flush=True)
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
