"""Rows of made-up questions in the shapes of published data sets, as JSON lines and as parquet.

    python3 tests/oracles/dataset_rows.py tests/data/rows

Each data set is written twice: `NAME.jsonl` as the project publishes it, and `NAME.parquet` as
pyarrow stores it, with the columns of its copy on the Hugging Face Hub where that differs. Both
must give the same questions. The county of Tarnmoor and all that is said of it are made up.
"""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

QUESTION = "Which river flows by the seat of Tarnmoor?"
ANSWER = "Osk"
ALIASES = ["River Osk"]
# Title, sentences, whether it is needed.
PAGES = [
    ("Halvik (port)", ["Halvik is a port in Tarnmoor.", " It has 900 people."], False),
    ("Tarnmoor", ["Tarnmoor is a county.", " Its seat is Velmora."], True),
    ("Velmora", ["Velmora lies on the Osk.", " It has 4,100 people."], True),
]
COMPARISON = "Is Halvik older than Velmora?"
FACTS = [("Tarnmoor", 1), ("Velmora", 0)]
SEARCHES = [["seat of Tarnmoor", "Tarnmoor county seat"], ["river at Velmora", "Velmora river"]]


def paragraphs():
    return [
        {"idx": idx, "title": title, "paragraph_text": "".join(text), "is_supporting": needed}
        for idx, (title, text, needed) in enumerate(PAGES)
    ]


def decomposition():
    return [
        {"id": 11, "question": "Tarnmoor >> seat", "answer": "Velmora", "paragraph_support_idx": 1},
        {"id": 12, "question": "Which river does #1 lie on?", "answer": ANSWER, "paragraph_support_idx": 2},
    ]


def musique():
    return [{
        "id": "2hop__11_12", "paragraphs": paragraphs(), "question": QUESTION,
        "question_decomposition": decomposition(), "answer": ANSWER,
        "answer_aliases": ALIASES, "answerable": True,
    }]


def hotpotqa():
    """`hotpot_*.json`, and the columns of `hotpotqa/hotpot_qa`."""
    shared = {"question": QUESTION, "answer": ANSWER, "type": "bridge", "level": "hard"}
    original = {
        "_id": "5a01", **shared,
        "supporting_facts": [list(fact) for fact in FACTS],
        "context": [[title, text] for title, text, _ in PAGES],
    }
    hub = {
        "id": "5a01", **shared,
        "supporting_facts": {"title": [fact[0] for fact in FACTS], "sent_id": [fact[1] for fact in FACTS]},
        "context": {"title": [page[0] for page in PAGES], "sentences": [page[1] for page in PAGES]},
    }
    comparison = {"question": COMPARISON, "answer": "no", "type": "comparison", "level": "easy"}
    both = [("Halvik (port)", 0), ("Velmora", 0)]
    original_2 = {
        "_id": "5a02", **comparison,
        "supporting_facts": [list(fact) for fact in both],
        "context": [[title, text] for title, text, _ in PAGES],
    }
    hub_2 = {
        "id": "5a02", **comparison,
        "supporting_facts": {"title": [fact[0] for fact in both], "sent_id": [0, 0]},
        "context": hub["context"],
    }
    return [original, original_2], [hub, hub_2]


def two_wiki():
    """`train.json` with `evidences_id`, and the lists of objects of its copy."""
    shared = {"question": QUESTION, "answer": ANSWER, "type": "compositional"}
    triples = [("Tarnmoor", "seat", "Velmora"), ("Velmora", "river", "Osk")]
    original = {
        "_id": "13f5", **shared, "entity_ids": "Q1_Q2", "answer_id": "Q3",
        "context": [[title, [part.strip() for part in text]] for title, text, _ in PAGES],
        "supporting_facts": [list(fact) for fact in FACTS],
        "evidences": [list(triple) for triple in triples],
        "evidences_id": [["Q1", "seat", "Q2"], ["Q2", "river", "Q3"]],
    }
    hub = {
        "id": "13f5", **shared,
        "context": [{"title": title, "content": [part.strip() for part in text]} for title, text, _ in PAGES],
        "supporting_facts": [{"title": title, "sent_id": idx} for title, idx in FACTS],
        "evidences": [dict(zip(("fact", "relation", "entity"), triple)) for triple in triples],
    }
    return [original], [hub]


def prompt(question, template="Answer the given question. Question: {}\n"):
    return [{"role": "user", "content": template.format(question)}]


def search_r1():
    """Two data sets end to end, each with its own `train_0`."""
    metadata = {
        "type": "bridge", "level": "hard",
        "supporting_facts": {"sent_id": [fact[1] for fact in FACTS], "title": [fact[0] for fact in FACTS]},
        "context": {"sentences": [page[1] for page in PAGES], "title": [page[0] for page in PAGES]},
    }
    rows = []
    for source, question, answers, extra in [
        ("nq", "who built the port of halvik?", ["Ada Vell"], None),
        ("hotpotqa", QUESTION, [ANSWER], metadata),
    ]:
        rows.append({
            "id": "train_0", "question": question, "golden_answers": answers,
            "data_source": source, "prompt": prompt(question), "ability": "fact-reasoning",
            "reward_model": {"style": "rule", "ground_truth": {"target": answers}},
            "extra_info": {"index": 0, "split": "train"}, "metadata": extra,
        })
    return rows


def verl():
    """`preprocess_search_r1_dataset.py`: no `question` and no `id` beside the messages."""
    truth = {"target": [ANSWER, *ALIASES]}
    source = "searchR1_nq"
    create = {"ground_truth": truth, "question": QUESTION, "data_source": source}
    messages = [{"role": "system", "content": "Be helpful."}, *prompt(QUESTION, "Answer. Question: {}")]
    return [{
        "data_source": source, "prompt": messages, "ability": "fact-reasoning",
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {
            "index": 7, "need_tools_kwargs": True, "question": QUESTION, "split": "train",
            "tools_kwargs": {"search": {"create_kwargs": create}},
        },
        "metadata": None,
    }]


def stepsearch():
    """`musi_search.py`: MuSiQue's row with reference queries, and verl's columns."""
    documents = [
        {"idx": idx, "title": title, "paragraph_text": "".join(text)}
        for idx, (title, text, needed) in enumerate(PAGES) if needed
    ]
    return [{
        "id": "musi_test_0", "question": QUESTION, "answer": ANSWER, "final_answer": ANSWER,
        "answer_aliases": ALIASES, "sub_searchs": SEARCHES, "sub_support_docs": documents,
        "data_source": "musi", "prompt": prompt(QUESTION), "ability": "fact-reasoning",
        "reward_model": {
            "style": "rule",
            "ground_truth": {"target": [ANSWER, *ALIASES], "search_keys": SEARCHES},
        },
        "extra_info": {"split": "train", "index": 0, "support_docs": documents},
    }]


def flashrag():
    """MuSiQue as FlashRAG has it: everything but the answer in `metadata`."""
    pages = paragraphs()
    steps = [{**step, "support_paragraph": pages[step["paragraph_support_idx"]]} for step in decomposition()]
    return [{
        "id": "train_3", "question": QUESTION, "golden_answers": [ANSWER, *ALIASES],
        "metadata": {"answerable": True, "question_decomposition": steps},
    }]


def nq():
    """DPR's `biencoder-nq-train.json`."""
    def context(number, title, text):
        return {"title": title, "text": text, "score": 1000, "title_score": 1, "passage_id": number}

    return [{
        "dataset": "nq_train_psgs_w100", "question": "who built the port of halvik",
        "answers": ["Ada Vell", "Vell"],
        "positive_ctxs": [
            context("311", "Ada Vell", "Ada Vell built the port of Halvik."),
            context("312", "Halvik (port)", "The port was built by Ada Vell in 1911."),
        ],
        "negative_ctxs": [context("9", "Osk", "The Osk is a river.")],
        "hard_negative_ctxs": [context("10", "Halvik (port)", "Halvik is a port in Tarnmoor.")],
    }]


def triviaqa():
    """The project's spelling, and the lower case of `mandarjoshi/trivia_qa`."""
    question = "Which river flows by Velmora?"
    names = {
        "Value": ANSWER, "Aliases": ["Osk", *ALIASES], "NormalizedValue": "osk",
        "NormalizedAliases": ["osk", "river osk"], "Type": "WikipediaEntity",
        "MatchedWikiEntityName": ANSWER, "NormalizedMatchedWikiEntityName": "osk",
    }
    original = {
        "Answer": names, "Question": question, "QuestionId": "tc_1", "QuestionSource": "made up",
        "EntityPages": [{"DocSource": "TagMe", "Filename": "Osk.txt", "Title": "Osk"}],
        "SearchResults": [],
    }
    hub = {
        "question": question, "question_id": "tc_1", "question_source": "made up",
        "entity_pages": {"doc_source": ["TagMe"], "filename": ["Osk.txt"], "title": ["Osk"], "wiki_context": [""]},
        "search_results": {"description": [""], "filename": [""], "rank": [0], "title": [""], "url": [""], "search_context": [""]},
        "answer": {
            "aliases": names["Aliases"], "normalized_aliases": names["NormalizedAliases"],
            "matched_wiki_entity_name": "", "normalized_matched_wiki_entity_name": "",
            "normalized_value": "osk", "type": "WikipediaEntity", "value": ANSWER,
        },
    }
    return [original], [hub]


def popqa():
    return [{
        "id": 4222362, "subj": "Ada Vell", "prop": "occupation", "obj": "engineer",
        "subj_id": 1, "prop_id": 22, "obj_id": 2, "s_aliases": '["A. Vell"]', "o_aliases": '["builder"]',
        "s_uri": "http://example.org/Q1", "o_uri": "http://example.org/Q2",
        "s_wiki_title": "Ada Vell", "o_wiki_title": "Engineer", "s_pop": 142, "o_pop": 25692,
        "question": "What is Ada Vell's occupation?",
        "possible_answers": '["engineer", "builder", "engr."]',
    }]


def write(folder, name, rows, table=None):
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(table or rows), folder / f"{name}.parquet", compression="zstd")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    sets = {
        "musique": musique, "search-r1": search_r1, "verl": verl, "stepsearch": stepsearch,
        "flashrag": flashrag, "nq": nq, "popqa": popqa,
    }
    for name, make in sets.items():
        write(folder, name, make())
    for name, make in {"hotpotqa": hotpotqa, "2wikimultihopqa": two_wiki, "triviaqa": triviaqa}.items():
        write(folder, name, *make())


main()
