//! Rows in every shape that people have: what becomes of them, and what is refused.

use forage_dataset::{Format, Ids, ReadOptions, RowReader, read_row};
use forage_trajectory::{Evidence, EvidenceStep, Question};
use serde_json::{Value, json};

fn parse(row: &str) -> Value {
    serde_json::from_str(row).unwrap()
}

/// The row; its id, its answers, its hops. The question is always `who?`.
const READ: &[(&str, &str, &[&str], Option<usize>)] = &[
    (r#"{"id": "a", "text": "who?", "golden_answers": ["x"]}"#, "a", &["x"], None),
    (
        r#"{"id": "test_0", "question": "who?", "golden_answers": ["x", "y"]}"#,
        "test_0",
        &["x", "y"],
        None,
    ),
    (r#"{"question": "who?", "golden_answers": "x"}"#, "", &["x"], None),
    (r#"{"id": 7, "question": "who?", "answers": ["x", "x", " "]}"#, "7", &["x"], None),
    (r#"{"id": null, "question": "who?", "answer": " x "}"#, "", &["x"], None),
    (
        r##"{"id": "2hop", "question": "who?", "answer": "y", "answer_aliases": ["Y."], "decomposition": [{"question": "of?", "answer": "x", "gold_pid": 17}, {"question": "#1 >> follows", "answer": "y", "gold_pid": 8}], "gold_pids": [8, 17]}"##,
        "2hop",
        &["y", "Y."],
        Some(2),
    ),
    (
        r#"{"id": "3hop", "question": "who?", "answer": "y", "question_decomposition": [{"id": 4, "question": "of?", "answer": "x", "paragraph_support_idx": 3}]}"#,
        "3hop",
        &["y"],
        Some(1),
    ),
    // Two columns that name one thing.
    (r#"{"question": "who?", "answer": "x", "answers": ["x", "y"]}"#, "", &["x", "y"], None),
    (
        r#"{"question": "who?", "text": "A passage. Of two sentences.", "answer": "x"}"#,
        "",
        &["x"],
        None,
    ),
    (r#"{"question": "who?", "text": "who?", "answer": "x"}"#, "", &["x"], None),
    (r#"{"question": "", "text": "who?", "answer": "x"}"#, "", &["x"], None),
    // null is absent.
    (
        r#"{"id": "d", "question": "who?", "answer": "x", "answer_aliases": null, "type": null, "evidence": null, "supporting_facts": null, "context": null, "metadata": null}"#,
        "d",
        &["x"],
        None,
    ),
    // Numbers are texts, as they are written.
    (r#"{"question": "who?", "golden_answers": [1911, -5]}"#, "", &["1911", "-5"], None),
    (r#"{"question": "who?", "answer": "1.50"}"#, "", &["1.50"], None),
    // A list in a list.
    (r#"{"question": "who?", "golden_answers": [["x", "y"]]}"#, "", &["x", "y"], None),
    // Objects of TriviaQA, verl and SQuAD.
    (
        r#"{"question": "who?", "answer": {"value": "x", "aliases": ["y"], "normalized_aliases": ["z"]}}"#,
        "",
        &["x", "y"],
        None,
    ),
    (
        r#"{"question": "who?", "answers": {"text": ["x", "y"], "answer_start": [1, 2]}}"#,
        "",
        &["x", "y"],
        None,
    ),
    // Lists as text.
    (
        r#"{"question": "who?", "golden_answers": "['x' 'Port of X']"}"#,
        "",
        &["x", "Port of X"],
        None,
    ),
    (
        r#"{"question": "who?", "golden_answers": "array(['x', 'y'], dtype=object)"}"#,
        "",
        &["x", "y"],
        None,
    ),
    (r#"{"question": "who?", "golden_answers": ["['x', 'y']"]}"#, "", &["x", "y"], None),
    (
        r#"{"question": "who?", "answer": "{'value': 'x', 'aliases': ['y']}"}"#,
        "",
        &["x", "y"],
        None,
    ),
    // Answers with brackets of their own.
    (r#"{"question": "who?", "answer": "[sic]"}"#, "", &["[sic]"], None),
    (r#"{"question": "who?", "answer": ["[1, 2]"]}"#, "", &["[1, 2]"], None),
    (r#"{"question": "who?", "answer": "(The) X"}"#, "", &["(The) X"], None),
    // Evidence of others.
    (r#"{"question": "who?", "answer": "x", "evidence": ["A sentence."]}"#, "", &["x"], None),
    (r#"{"question": "who?", "answer": "x", "evidence": "A sentence."}"#, "", &["x"], None),
    (r#"{"question": "who?", "answer": "x", "evidence": {"page": 4}}"#, "", &["x"], None),
    (r#"{"question": "who?", "answer": "x", "context": "[1] A passage."}"#, "", &["x"], None),
    // verl.
    (
        r#"{"prompt": [{"role": "user", "content": "Answer. Question: who?\n"}], "reward_model": {"ground_truth": "x"}}"#,
        "",
        &["x"],
        None,
    ),
    (
        r#"{"prompt": "[{'role': 'user', 'content': 'who?'}]", "reward_model": {"ground_truth": ["x", "y"]}}"#,
        "",
        &["x", "y"],
        None,
    ),
    (
        r#"{"prompt": [{"role": "user", "content": "long"}], "extra_info": {"question": "who?", "answer": "x"}}"#,
        "",
        &["x"],
        None,
    ),
    // Natural Questions of Google, Bamboogle, BrowseComp-Plus, BEIR with answers.
    (
        r#"{"id": "8", "question": {"text": "who?", "tokens": ["who"]}, "annotations": {"id": ["1"], "short_answers": [{"start_token": [1], "text": ["x"]}], "yes_no_answer": [-1]}}"#,
        "8",
        &["x"],
        None,
    ),
    (
        r#"{"id": "9", "question": {"text": "who?"}, "annotations": {"short_answers": [{"text": []}], "yes_no_answer": [1]}}"#,
        "9",
        &["yes"],
        None,
    ),
    (r#"{"Question": "who?", "Answer": "x"}"#, "", &["x"], None),
    (
        r#"{"query_id": "769", "query": "who?", "answer": "x", "gold_docs": [{"docid": "54", "text": "t", "url": "u"}]}"#,
        "769",
        &["x"],
        None,
    ),
    (
        r#"{"_id": "q1", "text": "who?", "metadata": {"answer": "x", "supporting_facts": [["A", 0]]}}"#,
        "q1",
        &["x"],
        None,
    ),
];

#[test]
fn questions_and_answers() {
    for (line, id, answers, hops) in READ {
        let found =
            read_row(&parse(line)).unwrap_or_else(|error| panic!("{line}: {error}")).question;
        assert_eq!((found.text.as_str(), found.id.as_str()), ("who?", *id), "{line}");
        assert_eq!(found.golden_answers, *answers, "{line}");
        assert_eq!(found.hops(), *hops, "{line}");
    }
}

#[test]
fn search_keys_alone_are_reference_queries() {
    let row = r#"{"question": "who?", "final_answer": "x", "sub_searchs": [], "search_keys": ["of a", "of b"], "sub_support_docs": [{"title": "A", "paragraph_text": "a"}, {"title": "B", "paragraph_text": "b"}]}"#;
    let steps = read_row(&parse(row)).unwrap().question.evidence.steps;
    let queries: Vec<&[String]> = steps.iter().map(|step| step.queries.as_slice()).collect();
    assert_eq!(queries, [["of a"], ["of b"]]);
    let row = r#"{"question": "who?", "final_answer": "x", "sub_searchs": [{"query": "of a"}]}"#;
    let error = read_row(&parse(row)).unwrap_err().to_string();
    assert!(error.contains("reference queries are a list of lists of texts"), "{error}");
}

#[test]
fn rows_that_contradict_themselves_are_refused() {
    for (row, expected) in [
        (
            r#"{"id": "a", "_id": "b", "question": "who?", "answer": "x"}"#,
            "two keys of the id agree",
        ),
        (
            r#"{"question": "who?", "query": "what?", "answer": "x"}"#,
            "`question` and `query` are two different questions",
        ),
        (
            r#"{"question": "who?", "answer": "x", "supporting_facts": {"title": ["A", "B"], "sent_id": [0]}}"#,
            "columns of a table have one length",
        ),
        (r#"{"question": "who?", "answer": {"Value": "<unk>"}}"#, "withheld"),
        (r#"{"question": "who?", "answer_aliases": ["y"]}"#, "no answer"),
        (
            r#"{"query": "who?", "answer": "x", "gold_docs": [{"docid": "5", "text": "a"}], "evidence_docs": [{"docid": "5", "text": "b"}]}"#,
            "two of that id with different texts in the row",
        ),
        (
            r#"{"question": "who?", "answer": "x", "evidences": [["A", "director"]]}"#,
            "evidences are triples",
        ),
        (
            r#"{"question": "who?", "answer": "x", "supporting_facts": [["A", 0]], "context": ["A page."]}"#,
            "there are pages with `title` and `sentences`",
        ),
        (
            r#"{"question": "who?", "answer": "x", "supporting_facts": [["A", 0]], "context": [{"title": "A", "paragraphs": ["t"]}]}"#,
            "there are pages with `title` and `sentences`",
        ),
        (
            r#"{"question": "who?", "answer": "x", "paragraphs": [{"title": "A", "paragraph_text": "t", "is_supporting": "yes"}]}"#,
            "it is true or false",
        ),
        (
            r#"{"question": "who?", "answer": "x", "evidence": {"entities": ["A"], "stpes": []}}"#,
            "an object with the key `stpes`",
        ),
        (
            r#"{"question": "who?", "answer": "x", "evidence": {"steps": [{"question": "a", "answers": "b"}]}}"#,
            "an object with the key `answers`",
        ),
        (r#"{"question": "who?", "answer": [{"5 bytes that are not UTF-8": null}]}"#, "not UTF-8"),
    ] {
        let error = read_row(&parse(row)).unwrap_err().to_string();
        assert!(error.contains(expected), "{row}: {error}");
    }
}

#[test]
fn rows_that_are_refused() {
    // The row; a part of the message.
    let table = [
        ("[1]", "the row is a list of 1, not an object"),
        (r#"{"id": [1], "question": "who?"}"#, "an id is a text or a whole number"),
        (r#"{"id": 1.0, "question": "who?", "answer": "x"}"#, "without a point"),
        (r#"{"id": 1e300, "question": "who?", "answer": "x"}"#, "without a point"),
        (
            r#"{"id": "2", "answer": "x"}"#,
            "the question has no text: the row has the keys `id`, `answer`",
        ),
        (
            r#"{"id": "2", "question": " ", "answer": "x"}"#,
            "the question has no text: `question` is blank",
        ),
        (
            r#"{"id": "2", "question": "who?", "golden_answers": [""]}"#,
            "the question has no answer",
        ),
        (
            r#"{"question": "who?", "golden_answers": []}"#,
            "no answer: `golden_answers` is an empty list",
        ),
        (r#"{"question": "who?", "golden_answers": "[]"}"#, "the question has no answer"),
        (r#"{"question": "who?", "answer": null}"#, "the question has no answer: `answer` is null"),
        (r#"{"question": "who?"}"#, "the question has no answer: the row has the key `question`"),
        (
            r#"{"question": "who?", "answer": true}"#,
            "answers are a text or a list of texts, but `answer` is `true`",
        ),
        (r#"{"question": "who?", "answer": 3.5}"#, "`answer` is the number `3.5`"),
        (r#"{"question": "who?", "answer": [["x"], ["y"]]}"#, "a list of lists"),
        (
            r#"{"question": "who?", "answer": {"spans": ["x"]}}"#,
            "`answer` is an object with the key `spans`",
        ),
        (
            r#"{"question": "who?", "answer": "['a' 'b' ... 'z']"}"#,
            "`answer` is a text that looks like a list",
        ),
        (r#"{"question": "who?", "answer": "[1, 2]"}"#, "looks like a list"),
        (
            r#"{"question": "who?", "answer": ["['a', 'b' ...]"]}"#,
            "`answer[0]` is a text that looks like a list",
        ),
        (
            r#"{"question": "who?", "text": "when?", "answer": "x"}"#,
            "`question` and `text` are two different questions",
        ),
        (r#"{"question": ["who?"], "answer": "x"}"#, "a question is a text"),
        (
            r#"{"question": "who?", "golden_answers": [0], "choices": ["x", "y"]}"#,
            "a question with `choices`",
        ),
        (
            r#"{"id": "2hop", "question": "who?", "answer": "x", "answerable": false, "paragraphs": []}"#,
            "cannot be answered",
        ),
        (
            r#"{"question": "who?", "answer": "B", "options": ["x", "y"]}"#,
            "a question with `options` whose answer is a letter, the place of a choice",
        ),
        (
            r#"{"question": "who?", "answer": "(b)", "A": "x", "B": "y"}"#,
            "a question with `A` whose answer is a letter",
        ),
        (
            r#"{"id": "2hop", "question": "who?", "answer": "x", "answerable": 0, "paragraphs": []}"#,
            "cannot be answered",
        ),
        (r#"{"_id": "q1", "text": "who?", "metadata": {}}"#, "a query without an answer"),
        (r#"{"query_id": "q1", "query": "who?"}"#, "a query without an answer"),
        (
            r#"{"query_id": "769", "query": "dGhpcyBpcyBhIHRlc3QgcXVlcnku", "answer": "YW5zd2Vy", "gold_docs": []}"#,
            "an encrypted row of BrowseComp-Plus",
        ),
        // What this program writes.
        (
            r#"{"step": 3, "split": "train", "group": {"question": {}}, "grades": []}"#,
            "a group of trajectories",
        ),
        (r#"{"step": 3, "reward/mean": 0.5}"#, "a row of metrics"),
        (r#"{"step": 3, "seconds/step": 0.5}"#, "a row of metrics"),
        (r#"{"done": {"item": {}, "record": {}}}"#, "a row of the journal"),
        (
            r#"{"split": "train", "question": {"id": "1", "golden_answers": ["x"]}, "index": 0}"#,
            "a row of the journal or of the traces",
        ),
        (r#"{"id": "1", "contents": "\"Halvik\"\nHalvik is a port."}"#, "a passage of a corpus"),
        (
            r#"{"_id": "d1", "title": "Halvik", "text": "Halvik is a port."}"#,
            "a passage of a corpus",
        ),
        (
            r#"{"input": "Question: who?", "output": "<answer> x </answer>", "gts": ["x"]}"#,
            "a trajectory that verl dumped",
        ),
    ];
    assert_refused(&table);
}

#[test]
fn evidence_that_is_refused() {
    assert_refused(&[
        (
            r#"{"question": "who?", "answer": "x", "supporting_facts": "A"}"#,
            "supporting facts are [[title, sentence], …]",
        ),
        (
            r#"{"question": "who?", "answer": "x", "supporting_facts": "[['A', 0], ..."}"#,
            "`supporting_facts` is a text that looks like a list",
        ),
        (
            r#"{"question": "who?", "answer": "x", "evidence": {"steps": [{"queries": "q"}]}}"#,
            "`evidence.steps[0].queries` is the text `q`",
        ),
        (
            r#"{"question": "who?", "answer": "x", "question_decomposition": [{"question": "a?", "answer": "A"}, {"question": "of #5?", "answer": "x"}]}"#,
            "stand for the answer of an earlier step, but `question_decomposition` is `#5` in step 2",
        ),
        (
            r#"{"question": "who?", "answer": "x", "paragraphs": [{"idx": 0, "title": "T", "paragraph_text": "t"}], "question_decomposition": [{"question": "a?", "answer": "A", "paragraph_support_idx": 7}]}"#,
            "`paragraph_support_idx` is the number `7`",
        ),
        (
            r#"{"question": "who?", "answer": "x", "paragraphs": ["paragraph_text"]}"#,
            "`paragraphs` is a list whose entry 0 is the text `paragraph_text`",
        ),
        (
            r#"{"question": "who?", "answer": "x", "paragraphs": [{"title": "T", "paragraph_text": ""}]}"#,
            "`paragraphs[0]` is an object with the keys `title`, `paragraph_text`",
        ),
        (
            r#"{"question": "who?", "answer": "x", "sub_searchs": [["q"], ["r"]], "sub_support_docs": [{"title": "A", "paragraph_text": "a"}]}"#,
            "a list of 1 beside 2 steps",
        ),
        (
            r#"{"question": "who?", "answer": "x", "sub_searchs": [["q"]], "sub_support_docs": [["A", "a text"]]}"#,
            "documents are objects with `title` and `text`, texts or ids",
        ),
        (
            r#"{"query_id": "1", "query": "who?", "answer": "x", "gold_docs": true}"#,
            "`gold_docs` is `true`",
        ),
    ]);
}

/// Checks that rows are refused with a message that contains a text.
fn assert_refused(table: &[(&str, &str)]) {
    for (line, expected) in table {
        let error = read_row(&parse(line)).expect_err(line);
        assert!(error.to_string().contains(expected), "{line}: {error}");
        assert!(!error.hint().is_empty(), "{line}");
    }
}

#[test]
fn evidence_in_the_keys_of_many_sets() {
    let hotpot = r#"{"id": "5a", "question": "who?", "answer": "x", "type": "bridge", "supporting_facts": [["A1", 0], ["A1", 2], ["B", 1]], "gold_pids": [5, 7]}"#;
    let evidence = read_row(&parse(hotpot)).unwrap().question.evidence;
    assert_eq!(
        (evidence.shape.as_str(), evidence.entities),
        ("bridge", vec!["A1".into(), "B".into()])
    );
    let ids: Vec<&str> = evidence.passages.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["5", "7"]);

    let musique = r##"{"id": "2hop", "question": "who?", "answer": "y", "decomposition": [{"question": "of?", "answer": "x", "gold_pid": 17}, {"question": "#1 >> follows # 2, #1", "answer": "y", "gold_pid": 8}]}"##;
    let evidence = read_row(&parse(musique)).unwrap().question.evidence;
    assert_eq!(evidence.steps[1].question, "x >> follows # 2, x");
    assert_eq!(evidence.steps[1].passage_ids, ["8"]);
    assert_eq!(evidence.entities, ["x"]);
}

#[test]
fn tables_that_arrive_as_text() {
    let row = json!({
        "id": "5a", "question": "who?", "answer": "x",
        "supporting_facts": "{'title': array(['A1', 'B'], dtype=object), 'sent_id': array([0, 1], dtype=int32)}",
        "context": "{'title': array(['A1', 'B', 'C'], dtype=object), 'sentences': array([array(['One.', ' Two.'], dtype=object), array(['Three.'], dtype=object), array(['Four.'], dtype=object)], dtype=object)}",
    });
    let read = read_row(&row).unwrap();
    let gold: Vec<&str> =
        read.question.evidence.passages.iter().map(|it| it.text.as_str()).collect();
    assert_eq!((gold, read.passages.len()), (vec!["One. Two.", "Three."], 3));
}

#[test]
fn half_of_the_evidence_is_none() {
    // As in HotpotQA's full-wiki setting: `B` was not retrieved.
    let row = json!({
        "_id": "5a", "question": "who?", "answer": "x",
        "supporting_facts": [["A1", 0], ["B", 1]],
        "context": [["A1", ["One."]], ["C", ["Three."]]],
    });
    let read = read_row(&row).unwrap();
    assert_eq!(read.question.evidence.passages, []);
    assert_eq!((read.question.evidence.entities.len(), read.passages.len()), (2, 2));
}

#[test]
fn our_own_questions_are_read_back() {
    let step = EvidenceStep { question: "of?".into(), answer: "x".into(), ..Default::default() };
    let question = Question {
        id: "q-1".into(),
        text: "who?".into(),
        golden_answers: vec!["y".into()],
        evidence: Evidence {
            shape: "bridge".into(),
            // Ours is kept as it is, also what the question names.
            entities: vec!["who".into()],
            aliases: [("who".to_owned(), vec!["W.".to_owned()])].into(),
            steps: vec![step],
            ..Default::default()
        },
        source: "made-up".into(),
    };
    assert_eq!(read_row(&serde_json::to_value(&question).unwrap()).unwrap().question, question);
    let bare = Question { id: "1".into(), ..Question::default() };
    let text = serde_json::to_string(&bare).unwrap();
    assert!(!text.contains("source") && !text.contains("aliases"), "{text}");
}

#[test]
fn answers_with_other_names_in_another_key() {
    for row in [
        json!({ "question": "who?", "final_answer": "x", "answer_aliases": ["y"], "sub_searchs": [["a"]] }),
        json!({ "question": "who?", "final_answer": "x", "answer_aliases": ["y"], "search_keys": [["a"]] }),
        json!({ "Question": "who?", "QuestionId": "1", "Answer": { "Value": "x", "Aliases": [], "HumanAnswers": ["y"] } }),
    ] {
        assert_eq!(read_row(&row).unwrap().question.golden_answers, ["x", "y"], "{row}");
    }
}

#[test]
fn evidence_of_ours_may_be_the_text_of_an_object() {
    for text in [r#"{"entities": ["E"]}"#, "{'entities': ['E']}"] {
        let row = json!({ "question": "who?", "answer": "x", "evidence": text });
        assert_eq!(read_row(&row).unwrap().question.evidence.entities, ["E"], "{text}");
    }
    // Another data set's.
    for other in [json!("A sentence about steps."), json!(["a"]), json!({ "doc": 1 })] {
        let row = json!({ "question": "who?", "answer": "x", "evidence": other });
        assert_eq!(read_row(&row).unwrap().question.evidence, Evidence::default(), "{row}");
    }
    let row = json!({ "question": "who?", "answer": "x", "evidence": { "passages": [{ "title": "A", "text": "one" }] } });
    let read = read_row(&row).unwrap();
    assert!(read.passages[0].id.starts_with("A#"), "{:?}", read.passages);
    assert_eq!(read.question.evidence.passages, read.passages);
}

#[test]
fn documents_of_the_training_files_of_step_search() {
    let row = json!({
        "prompt": [{ "role": "user", "content": "Question: who?" }],
        "reward_model": { "ground_truth": { "target": ["x"], "search_keys": [["a"], ["b"]] } },
        "extra_info": {
            "split": "train", "index": 7,
            "support_docs": [{ "title": "A", "paragraph_text": "one" }, { "title": "B", "paragraph_text": "two" }],
        },
    });
    let read = read_row(&row).unwrap();
    assert_eq!(read.question.id, "train_7");
    let steps = &read.question.evidence.steps;
    let of_steps: Vec<&String> = steps.iter().flat_map(|step| &step.passage_ids).collect();
    let golds: Vec<&String> = read.question.evidence.passages.iter().map(|it| &it.id).collect();
    assert_eq!((of_steps.len(), &of_steps), (2, &golds));
}

#[test]
fn golds_that_steps_name_and_documents_as_lines_of_a_corpus() {
    let row = json!({
        "question": "who?", "answer": "x",
        "paragraphs": [{ "idx": 0, "title": "A", "paragraph_text": "one" }, { "idx": 1, "title": "B", "paragraph_text": "two" }],
        "question_decomposition": [{ "question": "of?", "answer": "y", "paragraph_support_idx": 1 }],
    });
    let golds = read_row(&row).unwrap().question.evidence.passages;
    assert_eq!(golds.iter().map(|it| it.title.as_str()).collect::<Vec<_>>(), ["B"]);
    let line = json!({ "id": "2", "contents": "\"Mirko\"\nMirko was born in Tarun." });
    let row = json!({ "question": "who?", "answer": "x", "sub_searchs": [["a"]], "sub_support_docs": [line] });
    let gold = read_row(&row).unwrap().question.evidence.passages.remove(0);
    let found = [gold.id.as_str(), gold.title.as_str(), gold.text.as_str()];
    assert_eq!(found, ["2", "Mirko", "Mirko was born in Tarun."]);
}

#[test]
fn entities_are_the_same_in_any_composition() {
    let row = json!({
        "question": "who?", "answer": "x",
        "supporting_facts": [["Cafe\u{301} Noir", 0], ["Jo Doe", 0]],
        "context": [["Caf\u{e9} Noir", ["A caf\u{e9}."]], ["Jo Doe", ["An actor."]]],
    });
    assert_eq!(read_row(&row).unwrap().question.evidence.entities.len(), 2);
}

#[test]
fn documents_of_browsecomp_plus() {
    let row = json!({
        "query_id": "769", "query": "who?", "answer": "x",
        "gold_docs": [{"docid": "54", "text": "gold", "url": "u"}],
        "evidence_docs": [{"docid": "54", "text": "gold", "url": "u"}, {"docid": "55", "text": "more", "url": "u"}],
        "negative_docs": [{"docid": "9", "text": "far", "url": "u"}],
    });
    let read = read_row(&row).unwrap();
    let ids =
        |all: &[forage_trajectory::Passage]| all.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
    assert_eq!(read.format, Format::BrowseCompPlus);
    assert_eq!(ids(&read.question.evidence.passages), ["54", "55"]);
    assert_eq!(ids(&read.passages), ["54", "55", "9"]);
}

#[test]
fn documents_are_passages_texts_or_ids() {
    let row = json!({
        "question": "who?", "answer": "x",
        "sub_searchs": [["of a"], ["of b"], ["of c"], ["of d"]],
        "sub_support_docs": ["A is a port.", "4711", {"docid": "7", "text": "c"}, null],
    });
    let read = read_row(&row).unwrap();
    let by_step: Vec<&[String]> =
        read.question.evidence.steps.iter().map(|step| step.passage_ids.as_slice()).collect();
    let golds = &read.question.evidence.passages;
    assert_eq!(golds.len(), 3);
    assert_eq!(golds[0].text, "A is a port.");
    assert_eq!((golds[1].id.as_str(), golds[1].text.as_str()), ("4711", ""));
    assert_eq!(by_step[0], [golds[0].id.clone()]);
    assert_eq!(
        (by_step[1], by_step[2], by_step[3].len()),
        (&["4711".into()][..], &["7".into()][..], 0)
    );
    // What has no text is no passage of a corpus.
    assert_eq!(read.passages.len(), 2);

    let row = json!({
        "query_id": "1", "query": "who?", "answer": "x", "gold_docs": ["54", 55],
        "evidence_docs": [{"docid": "54", "text": "Halvik is a port."}], "negative_docs": ["9"],
    });
    let golds = read_row(&row).unwrap().question.evidence.passages;
    let golds: Vec<[&str; 2]> =
        golds.iter().map(|gold| [gold.id.as_str(), gold.text.as_str()]).collect();
    // What one list has by its id alone has its text from another.
    assert_eq!(golds, [["54", "Halvik is a port."], ["55", ""]]);
}

#[test]
fn a_number_in_the_first_step_is_text() {
    let row = json!({"question": "who?", "answer": "x", "question_decomposition": [
        {"question": "who reached #1?", "answer": "A"}, {"question": "wife of #1?", "answer": "x"},
    ]});
    let steps = read_row(&row).unwrap().question.evidence.steps;
    assert_eq!([&steps[0].question, &steps[1].question], ["who reached #1?", "wife of A?"]);
}

#[test]
fn what_nobody_sees_is_removed() {
    let row = json!({"question": "\u{feff}who\u{200b} is it?", "answer": ["Pa\u{ad}ris", "Paris"]});
    let question = read_row(&row).unwrap().question;
    assert_eq!((question.text.as_str(), question.golden_answers.len()), ("who is it?", 1));
    assert_eq!(question.golden_answers, ["Paris"]);
}

#[test]
fn ids_are_unique() {
    let row = |id: &str, source: &str, question: &str| json!({"id": id, "data_source": source, "question": question, "answer": "A"});
    let rows = [
        row("train_0", "nq", "a?"),
        row("train_0", "hotpotqa", "b?"),
        row("train_0", "hotpotqa", "c?"),
        row("train_0", "", "d?"),
        row("train_0#2", "", "e?"),
        row("train_0", "nq", "a?"),
        row("", "", "f?"),
    ];
    let table = [
        (
            Ids::AsWritten,
            [
                "train_0",
                "hotpotqa/train_0",
                "hotpotqa/train_0#2",
                "train_0#2",
                "train_0#2#2",
                "nq/train_0",
                "7",
            ],
            5,
        ),
        (
            Ids::WithSource,
            [
                "nq/train_0",
                "hotpotqa/train_0",
                "hotpotqa/train_0#2",
                "train_0",
                "train_0#2",
                "nq/train_0#2",
                "7",
            ],
            2,
        ),
    ];
    for (ids, expected, repeated) in table {
        let mut reader = RowReader::new(ReadOptions { ids, ..ReadOptions::default() });
        let read = rows
            .iter()
            .enumerate()
            .map(|(idx, row)| reader.read(row, &(idx + 1).to_string()).unwrap().question.id);
        assert_eq!(read.collect::<Vec<_>>(), expected, "{ids:?}");
        let report = reader.report();
        assert_eq!(
            (report.repeated_ids, report.repeated_rows, report.answers_of_nothing),
            (repeated, 1, 7)
        );
    }
    // What was written with its source is read back as it is.
    let mut reader = RowReader::new(ReadOptions { ids: Ids::WithSource, ..ReadOptions::default() });
    assert_eq!(reader.read(&row("nq/1", "nq", "a?"), "1").unwrap().question.id, "nq/1");
}
