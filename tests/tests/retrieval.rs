//! `forage index` and `forage eval-retrieval`, as a person uses them.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use forage_tests::Scratch;
use serde_json::Value;

const CORPUS: &str = "{\"id\": \"a\", \"text\": \"red green\"}\n{\"id\": \"b\", \"text\": \"red\"}\n\
                      {\"id\": \"c\", \"text\": \"blue\"}\n";

fn indexed() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("corpus/part-0.jsonl", CORPUS);
    scratch.forage(["index", "--corpus", "corpus", "--out", "index"]).done();
    scratch
}

#[test]
fn a_search_engine_is_measured() {
    let scratch = indexed();
    scratch.write("topics.tsv", "1\tgreen\n2\tred\n3\tyellow\n");
    scratch.write("qrels.txt", "1 0 a 1\n2 0 a 1\n2 0 c 2\n3 0 c 1\n");
    let judged =
        ["eval-retrieval", "--qrels", "qrels.txt", "--measures", "map,mrr,recall@1,ndcg_cut_10"];
    let searched = ["--index", "index", "--topics", "topics.tsv", "--save-run", "run.txt"];
    let output = scratch.forage([&judged[..], &searched].concat()).done();
    assert_eq!(
        output.stdout,
        "map          all          0.6250\nmrr          all          0.7500\n\
         recall@1     all          0.5000\nndcg@10      all          0.6199\n\
         topics       all          2\n"
    );
    assert!(output.stderr.contains("judged topics without a result: 1; "), "{}", output.stderr);
    assert!(scratch.read("run.txt").starts_with("1 Q0 a 1 "));

    let of_run = |more: &[&str]| {
        scratch.forage([&judged[..], &["--run", "run.txt"], more].concat()).done().stdout
    };
    assert_eq!(of_run(&[]), output.stdout);
    assert!(of_run(&["--complete"]).starts_with("map          all          0.4167\n"));
    assert!(of_run(&["--per-topic"]).starts_with("map          1            1.0000\n"));
    let json: Value = serde_json::from_str(&of_run(&["--json", "--per-topic"])).unwrap();
    assert_eq!(json["per_topic"]["2"]["map"], 0.25);

    scratch.write("questions.jsonl", "{\"id\": \"q\", \"question\": \"blue?\", \"answer\": \"x\", \"gold_pids\": [\"c\", \"b\"]}\n");
    let asked = ["eval-retrieval", "--index", "index", "--questions", "questions.jsonl"];
    let output = scratch.forage([&asked[..], &["--measures", "recall@3,all@3"]].concat()).done();
    assert!(
        output
            .stdout
            .starts_with("recall@3     all          0.5000\nall@3        all          0.0000\n")
    );
}

#[test]
fn what_cannot_be_measured() {
    let scratch = indexed();
    scratch.write("qrels.txt", "1 0 a 1\n");
    scratch.write("bad.txt", "1 0 a 1\n1 0 b\n");
    scratch.write("twice.txt", "1 Q0 a 1 2.0 x\n1 Q0 a 2 1.0 x\n");
    scratch.write("other.txt", "9 Q0 a 1 2.0 x\n");
    scratch.write("topics.tsv", "no tab\n");
    scratch.write("plain.jsonl", "{\"question\": \"blue?\", \"answer\": \"x\"}\n");
    for (arguments, code, expected) in [
        ("--run other.txt --qrels bad.txt", 3, "bad.txt:2: the line has 3 columns and not 4"),
        ("--run twice.txt --qrels qrels.txt", 3, "twice.txt:2: topic `1` has `a` twice"),
        ("--run nowhere --qrels qrels.txt", 3, "cannot open `nowhere`"),
        ("--run other.txt --qrels qrels.txt", 3, "no topic is both searched for and judged"),
        ("--index index --qrels qrels.txt", 2, "there is nothing to search for"),
        (
            "--index index --qrels qrels.txt --topics topics.tsv",
            3,
            "topics.tsv:1: a topic is `id<tab>query`",
        ),
        (
            "--index index --questions plain.jsonl",
            3,
            "questions of `plain.jsonl` without gold passages: 1",
        ),
        ("--run other.txt --qrels qrels.txt --measures dcg", 2, "no measure is called `dcg`"),
        ("--run other.txt", 2, "--qrels"),
    ] {
        let arguments = ["eval-retrieval"].into_iter().chain(arguments.split(' '));
        let output = scratch.forage(arguments).ended(code);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
}

/// Judgements of another corpus, or with ids that are written in another way.
#[test]
fn judgements_that_name_no_passage() {
    let scratch = indexed();
    scratch.write("topics.tsv", "1\tgreen\n2\tred\n");
    let searched = ["eval-retrieval", "--index", "index", "--topics", "topics.tsv", "--qrels"];
    scratch.write("some.txt", "1 0 a 1\n1 0 A 1\n2 0 B 1\n2 0 C 0\n");
    let output = scratch.forage([&searched[..], &["some.txt", "--save-run", "run.txt"]].concat());
    let stderr = output.done().stderr;
    assert!(
        stderr.contains(
            "warning: 2 of 3 relevant passages are not in this index, the first of them `A`"
        ),
        "{stderr}"
    );
    scratch.write("none.txt", "1 0 A 1\n2 0 a 0\n");
    let stderr = scratch.forage([&searched[..], &["none.txt"]].concat()).ended(3).stderr;
    assert!(
        stderr.contains("the judgements name no passage of this index: all 1 relevant ids differ"),
        "{stderr}"
    );
    scratch.write("one.txt", "1 0 a 1\n");
    let run = ["eval-retrieval", "--run", "run.txt", "--qrels", "one.txt"];
    let stderr = scratch.forage(run).done().stderr;
    assert!(
        stderr.contains("warning: topics of the run without judgements: 1, the first of them `2`"),
        "{stderr}"
    );
}

#[test]
fn nothing_is_found_with_a_reason() {
    let scratch = indexed();
    scratch.write("thai.jsonl", "{\"id\": \"t\", \"text\": \"กรุงเทพเป็นเมืองหลวง\"}\n");
    let index = ["index", "--corpus", "thai.jsonl", "--out"];
    let stderr = scratch.forage([&index[..], &["thai"]].concat()).done().stderr;
    let expected = "warning: 100 % of the letters are Thai, and `english` does not find the words \
                    in Thai; `--analyzer unicode`";
    assert!(stderr.contains(expected), "{stderr}");
    let unicode = scratch.forage([&index[..], &["unicode", "--analyzer", "unicode"]].concat());
    assert!(!unicode.done().stderr.contains("warning"));
    let long = "x".repeat(100_000);
    for (arguments, expected) in [
        (vec!["index", "the of and"], "the query has no word that is searched for"),
        (vec!["index", ""], "the query is empty"),
        (vec!["index", &long], "the query has no word that is searched for"),
        (vec!["index", "-k", "0", "red"], "0 passages were asked for"),
        (vec!["index", "yellow"], "no passage has a word of the query"),
        (
            vec!["index", "กรุงเทพ"],
            "no passage has a word of the query; `english` does not find the words in Thai: `forage \
             index --analyzer unicode` makes an index that does",
        ),
    ] {
        let output = scratch.forage([&["search", "--index"], &arguments[..]].concat()).done();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.trim()),
            ("", format!("nothing found: {expected}").as_str())
        );
    }
    for k in ["50", "18446744073709551615"] {
        let output =
            scratch.forage(["search", "--index", "index", "--json", "-k", k, "red"]).done();
        assert_eq!(output.stdout.lines().count(), 2, "{k}");
    }
    let output = scratch.forage(["search", "--index", "unicode", "--json", "กรุงเทพ"]).done();
    assert_eq!(output.stdout.lines().count(), 1);
}

#[test]
fn vectors_want_an_embedder() {
    let scratch = indexed();
    let vectors = ["index", "--out", "index", "--vectors", "vectors"];
    scratch.forage(vectors).ended(2);
    let server =
        ["--embeddings-url", "http://127.0.0.1:1/v1/embeddings", "--embeddings-model", "e5"];
    let unreachable = scratch.forage([&vectors[..], &server].concat()).ended(3).stderr;
    assert!(
        unreachable.contains("`http://127.0.0.1:1/v1/embeddings` does not embed"),
        "{unreachable}"
    );
    let useless =
        scratch.forage([&["index", "--out", "i", "--corpus", "corpus"], &server[..]].concat());
    assert!(useless.ended(2).stderr.contains("are used by `--vectors` only"));
    let no_model = scratch.forage([&vectors[..], &["--encoder", "nowhere"]].concat());
    assert!(no_model.ended(3).stderr.contains("the encoder `nowhere` cannot be used"));
    let no_vectors = scratch.forage([&vectors[..], &["--graph"]].concat()).ended(3).stderr;
    assert!(no_vectors.contains("the graph cannot be built"), "{no_vectors}");
    let little = ["index", "--out", "i", "--corpus", "corpus", "--memory", "1"];
    assert!(scratch.forage(little).ended(2).stderr.contains("1000000 bytes are too little"));
}

/// A build that is killed, at whatever moment, leaves the old index to be searched.
#[test]
fn a_killed_build_leaves_the_old_index() {
    let scratch = indexed();
    let line =
        |idx: usize| format!("{{\"id\": {idx}, \"text\": \"new w{} w{}\"}}\n", idx % 97, idx);
    scratch.write("new.jsonl", (0..40_000).map(line).collect::<String>());
    for milliseconds in [0, 30, 100, 200, 400, 800] {
        let mut build = scratch
            .command(["index", "--corpus", "new.jsonl", "--out", "index"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(milliseconds));
        // It may have ended already.
        let _ = build.kill();
        let killed = !build.wait().unwrap().success();
        let found = scratch.forage(["search", "--index", "index", "--json", "red", "new"]).done();
        // The old one, or, where the kill came after the last rename, the new one.
        let is_old = found.stdout.contains("red green");
        let is_new = found.stdout.contains("\"text\":\"new w");
        assert!(is_old != is_new && (killed || is_new), "{milliseconds}: {}", found.stdout);
        if !killed {
            break;
        }
    }
    scratch.forage(["index", "--corpus", "corpus", "--out", "index"]).done();
    let names: Vec<_> = fs::read_dir(scratch.path("")).unwrap().map(|it| it.unwrap()).collect();
    assert!(names.iter().all(|it| !it.file_name().to_string_lossy().ends_with(".building")));
}
