"""A BM25 server of the /retrieve protocol on FastAPI and Anserini, built as Search-R1's is: one query after the other.

    python pyserini_server.py JAR INDEX PORT

It calls Anserini's SimpleSearcher through pyjnius, as pyserini's LuceneSearcher does; pyserini itself would import torch.
"""
import json
import sys
from typing import List, Optional

import jnius_config

jnius_config.set_classpath(sys.argv[1])

import uvicorn
from fastapi import FastAPI
from jnius import autoclass
from pydantic import BaseModel

searcher = autoclass("io.anserini.search.SimpleSearcher")(sys.argv[2])
searcher.set_bm25(0.9, 0.4)
app = FastAPI()


class Asked(BaseModel):
    queries: List[str]
    topk: Optional[int] = None
    return_scores: bool = False


def find(query, k):
    rows = []
    for hit in searcher.search(query, k):
        contents = json.loads(searcher.doc(hit.docid).get("raw"))["contents"]
        title, _, text = contents.partition("\n")
        rows.append({"document": {"title": title.strip('"'), "text": text, "contents": contents}, "score": hit.score})
    return rows


@app.get("/health")
def health():
    return {"status": "healthy"}


# A coroutine, so that requests wait for one another: in threads, Anserini loses documents under pyjnius.
@app.post("/retrieve")
async def retrieve(asked: Asked):
    return {"result": [find(query, asked.topk or 3) for query in asked.queries]}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[3]), log_level="warning")
