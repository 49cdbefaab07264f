"""bm25s, one thread, top 3, tokenization included.   pip install bm25s numba PyStemmer"""
import json
import time

import bm25s
import Stemmer

passages = [json.loads(line)["contents"] for line in open("col/c.jsonl")]
whole = json.load(open("q.json"))
stemmer = Stemmer.Stemmer("english")
retriever = bm25s.BM25(k1=0.9, b=0.4)
start = time.time()
retriever.index(bm25s.tokenize(passages, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
print("index", round(len(passages) / (time.time() - start)), "passages/s")
for backend in ("numpy", "numba"):
    if backend == "numba":
        retriever.activate_numba_scorer()
    for name, n_words in (("whole", 1000), ("six words", 6)):
        questions = [" ".join(question.split(" ")[:n_words]) for question in whole]
        for _ in range(3):
            start = time.time()
            tokens = bm25s.tokenize(questions, stopwords="en", stemmer=stemmer, show_progress=False)
            retriever.retrieve(tokens, k=3, show_progress=False, n_threads=1)
            print(backend, name, round(len(questions) / (time.time() - start)), "q/s")
