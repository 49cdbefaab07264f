"""Forage, tantivy's own top-k, Lucene and bm25s on the same passages and questions, in one run; and servers over HTTP.

    python compare.py --data DATA --out OUT --jar ANSERINI_JAR [--generated 1000000] [--limit N] [--rounds N] [--seconds S]

Rounds alternate between the engines, so that whatever else the machine does meets all of them. Prints medians over the rounds, and
Forage's ratio to each engine. README.md says what must be built and installed first.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import work

HERE = Path(__file__).resolve().parent
PORTS = {"forage": 8712, "pyserini": 8713}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with musique/, hotpotqa/ and wiki_passage_pool/")
    parser.add_argument("--out", type=Path, required=True, help="folder for corpora and indexes")
    parser.add_argument("--jar", type=Path, required=True, help="anserini-*-fatjar.jar out of the pyserini package")
    parser.add_argument("--target", type=Path, default=HERE.parents[2] / "target/release", help="where cargo puts release builds")
    parser.add_argument("--generated", type=int, default=0, help="passages of a generated corpus, measured as well")
    parser.add_argument("--limit", type=int, help="fewer of the real passages, to try this script")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of one measurement")
    parser.add_argument("--skip", nargs="*", default=[], choices=("real", "lucene", "bm25s", "http"))
    return parser.parse_args()


def run(command, **options):
    """Runs a program to its end, and returns what it printed and how long it took."""
    start = time.perf_counter()
    ended = subprocess.run([str(it) for it in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    seconds = time.perf_counter() - start
    if ended.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout, seconds


class Rows:
    """Measurements: values of the rounds by engine and by what was measured."""

    def __init__(self):
        self.values = {}

    def add(self, what, engine, value):
        self.values.setdefault(what, {}).setdefault(engine, []).append(value)

    def add_printed(self, text, corpus):
        for row in map(json.loads, text.splitlines()):
            if "passages_per_second" in row:
                self.add(f"{corpus}, indexing, passages/s", row["engine"], row["passages_per_second"])
                continue
            what = f"{corpus}, {row['questions']}, {row['threads']} thread{'s' * (row['threads'] > 1)}"
            self.add(f"{what}, q/s", row["engine"], row["queries_per_second"])
            self.add(f"{what}, p50 us", row["engine"], row["p50_us"])
            self.add(f"{what}, p99 us", row["engine"], row["p99_us"])

    def print(self):
        print(f"\n{'':<44}{'engine':<16}{'median':>12}{'least':>12}{'most':>12}   forage is")
        for what, engines in self.values.items():
            ours = statistics.median(engines["forage"]) if "forage" in engines else None
            for engine, values in engines.items():
                median = statistics.median(values)
                ratio = ""
                if ours and median and engine != "forage":
                    times = ours / median if what.endswith("/s") else median / ours
                    ratio = f"{times:>8.2f} times as fast"
                print(f"{what:<44}{engine:<16}{median:>12.1f}{min(values):>12.1f}{max(values):>12.1f}   {ratio}")


def measure(args, rows, corpus, n_passages):
    """One round of everything in process."""
    folder = args.out / corpus
    questions = args.out / "q.json"
    forage, throughput = args.target / "forage", args.target / "examples/throughput"
    index = [forage, "index", "--corpus", folder / "c.jsonl", "--out", folder / "forage", "--analyzer", "lucene-english"]
    rows.add(f"{corpus}, indexing, passages/s", "forage", n_passages / run(index)[1])
    rows.add_printed(run([throughput, folder / "forage", questions, args.seconds])[0], corpus)
    if "lucene" not in args.skip:
        shutil.rmtree(folder / "lucene", ignore_errors=True)
        (folder / "collection").mkdir(exist_ok=True)
        link = folder / "collection/c.jsonl"
        link.unlink(missing_ok=True)
        os.link(folder / "c.jsonl", link)
        java = ["java", "-cp", args.jar]
        index = java + ["io.anserini.index.IndexCollection", "-collection", "JsonCollection"]
        index += ["-generator", "DefaultLuceneDocumentGenerator", "-threads", "2", "-input", folder / "collection"]
        index += ["-index", folder / "lucene", "-storeRaw", "-optimize"]
        rows.add(f"{corpus}, indexing, passages/s", "lucene", n_passages / run(index)[1])
        search = java + [HERE / "LuceneBench.java", folder / "lucene", questions, args.seconds]
        rows.add_printed(run(search)[0], corpus)
    if "bm25s" not in args.skip:
        search = [sys.executable, HERE / "bm25s_bench.py", folder / "c.jsonl", questions, args.seconds]
        # Its other backends take minutes for all questions.
        search += ["numba"] if corpus == "generated" else []
        rows.add_printed(run(search)[0], corpus)


def serve(args, rows, corpus):
    """Servers over HTTP, one after the other: 8 connections with 64 queries a request, and 64 connections with one."""
    folder = args.out / corpus
    servers = {"forage": [args.target / "forage", "serve", "--index", folder / "forage", "--k1", "0.9", "--b", "0.4"]}
    servers["forage"] += ["--port", PORTS["forage"]]
    if "lucene" not in args.skip:
        servers["pyserini"] = [sys.executable, HERE / "pyserini_server.py", args.jar, folder / "lucene", PORTS["pyserini"]]
    for engine, command in servers.items():
        log = open(args.out / f"{engine}-server.log", "w")
        server = subprocess.Popen([str(it) for it in command], stdout=log, stderr=log)
        try:
            wait_for(server, f"http://127.0.0.1:{PORTS[engine]}/health", log.name)
            for connections, n_queries in ((8, 64), (64, 1)):
                load = [args.target / "examples/load", f"http://127.0.0.1:{PORTS[engine]}/retrieve", args.out / "q.json"]
                load += [connections, n_queries, max(1, round(args.seconds))]
                row = json.loads(run(load)[0])
                what = f"{corpus}, HTTP, {connections} x {n_queries}"
                rows.add(f"{what}, q/s", engine, row["queries_per_second"])
                rows.add(f"{what}, p50 ms", engine, row["p50_ms"])
                rows.add(f"{what}, p99 ms", engine, row["p99_ms"])
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)


def wait_for(server, url, log):
    for _ in range(240):
        if server.poll() is not None:
            break
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.25)
    sys.exit(f"the server does not answer at {url}; see {log}")


def main():
    args = arguments()
    for needed in (args.jar, args.target / "forage", args.target / "examples/throughput", args.target / "examples/load"):
        if not needed.exists():
            sys.exit(f"there is no {needed}; README.md says where it comes from")
    corpora = {"real": work.real(args.data, args.out, args.limit)}
    if "real" in args.skip:
        del corpora["real"]
    if args.generated:
        corpora["generated"] = work.generated(args.out, args.generated)
    rows = Rows()
    for number in range(args.rounds):
        for corpus, n_passages in corpora.items():
            print(f"round {number + 1} of {args.rounds}: {n_passages} {corpus} passages", file=sys.stderr)
            measure(args, rows, corpus, n_passages)
            if "http" not in args.skip:
                serve(args, rows, corpus)
    rows.print()


main()
