"""Writes the parquet files of these tests: python write.py, with pyarrow 22 or later."""

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = [
    {
        "id": 9007199254740993,
        "question": "Where is Halvik?",
        "golden_answers": ["Halvik", "Port of Halvik"],
        "raw": b"text \xc3\xa9",
        "score": float("nan"),
        "half": 0.1,
        "reward_model": {"ground_truth": {"target": ["Halvik"]}, "style": "rule"},
        "prompt": [{"role": "user", "content": "Where?"}, {"role": "user", "content": None}],
        "sub": [[1, 2], [], None],
    },
    {
        "id": -1,
        "question": None,
        "golden_answers": [],
        "raw": b"\xff\x00",
        "score": 2.5,
        "half": None,
        "reward_model": None,
        "prompt": [],
        "sub": None,
    },
    {
        "id": 3,
        "question": "",
        "golden_answers": None,
        "raw": None,
        "score": None,
        "half": 3.0,
        "reward_model": {"ground_truth": None, "style": None},
        "prompt": None,
        "sub": [],
    },
]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("question", pa.string()),
        ("golden_answers", pa.list_(pa.string())),
        ("raw", pa.binary()),
        ("score", pa.float64()),
        ("half", pa.float32()),
        (
            "reward_model",
            pa.struct(
                [
                    ("ground_truth", pa.struct([("target", pa.list_(pa.string()))])),
                    ("style", pa.string()),
                ]
            ),
        ),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("sub", pa.list_(pa.list_(pa.int32()))),
    ]
)

table = pa.Table.from_pylist(ROWS, SCHEMA)
for codec in ["none", "snappy", "gzip", "zstd", "brotli", "lz4"]:
    pq.write_table(table, f"{codec}.parquet", compression=codec, row_group_size=2)
pq.write_table(table, "old.parquet", version="1.0", use_compliant_nested_type=False)
pq.write_table(table, "pages.parquet", data_page_version="2.0", use_dictionary=False)
