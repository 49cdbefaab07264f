"""A BM25 server of the /retrieve protocol on FastAPI and Pyserini, built as Search-R1's is: one query after the other.

    python pyserini_server.py INDEX PORT
"""
import json
import sys
from typing import List, Optional

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from pyserini.search.lucene import LuceneSearcher

searcher = LuceneSearcher(sys.argv[1])
app = FastAPI()


class Asked(BaseModel):
    queries: List[str]
    topk: Optional[int] = None
    return_scores: bool = False


def find(query, k):
    rows = []
    for hit in searcher.search(query, k):
        contents = json.loads(searcher.doc(hit.docid).raw())["contents"]
        title, _, text = contents.partition("\n")
        rows.append({"document": {"title": title.strip('"'), "text": text, "contents": contents}, "score": hit.score})
    return rows


@app.post("/retrieve")
def retrieve(asked: Asked):
    return {"result": [find(query, asked.topk or 3) for query in asked.queries]}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
