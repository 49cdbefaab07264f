"""64 connections for a minute on an index of 30,000 passages, without an error.

    python load_test.py --data DATA --out OUT [--seconds 60] [--target DIR]

Real passages, filled up with generated ones. Ends with 1 if a request failed, or the server did not end well.
"""
import argparse
import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import work

PASSAGES = 30_000
PORT = 8714


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with musique/, hotpotqa/ and wiki_passage_pool/")
    parser.add_argument("--out", type=Path, required=True, help="folder for corpus and index")
    parser.add_argument("--seconds", type=int, default=60)
    target = Path(__file__).resolve().parents[3] / "target/release"
    parser.add_argument("--target", type=Path, default=target, help="where cargo puts release builds")
    args = parser.parse_args()
    n_real = work.real(args.data, args.out)
    work.generated(args.out, max(0, PASSAGES - n_real))
    corpus = [args.out / "real/c.jsonl", args.out / "generated/c.jsonl"]
    # Ids of the two are the same numbers.
    with open(args.out / "c.jsonl", "w") as file:
        rows = (json.loads(line) for path in corpus for line in open(path))
        for idx, row in enumerate(rows):
            file.write(json.dumps(row | {"id": str(idx)}) + "\n")
    forage = args.target / "forage"
    subprocess.run([forage, "index", "--corpus", args.out / "c.jsonl", "--out", args.out / "index"], check=True)
    server = subprocess.Popen([forage, "serve", "--index", args.out / "index", "--port", str(PORT)])
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5).read()
                break
            except OSError:
                time.sleep(0.25)
        load = [args.target / "examples/load", f"http://127.0.0.1:{PORT}/retrieve", args.out / "q.json", "64", "1", str(args.seconds)]
        failed = subprocess.run(load).returncode
        print(urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics").read().decode().split("# HELP forage_queries_total")[0])
    finally:
        server.send_signal(signal.SIGTERM)
        ended = server.wait(timeout=60)
    sys.exit(failed or ended)


main()
