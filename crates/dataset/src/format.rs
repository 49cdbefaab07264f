//! Recognition of a row's format by its keys.
//!
//! [`Format::of`] looks at the keys that only one data set has, the rarest first. Rows that are no
//! questions, our own output among them, are refused with what they are.

use std::borrow::Cow;

use serde_json::Value;

use crate::error::{RowError, keys};
use crate::fields::{Object, field, object, text};

/// Format of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A question and its answers, as `forage` writes them and as most lists of questions have them.
    Plain,
    /// `FlashRAG`: answers in `golden_answers`, the rest in `metadata`.
    FlashRag,
    /// Search-R1: a row of `FlashRAG` with verl's columns.
    SearchR1,
    /// verl: messages in `prompt`, answers in `reward_model`.
    Verl,
    /// `StepSearch`: verl with reference queries and gold documents.
    StepSearch,
    /// HotpotQA, with `supporting_facts` and `context`.
    HotpotQa,
    /// `2WikiMultihopQA`: HotpotQA's keys and triples in `evidences`.
    TwoWiki,
    /// `MuSiQue`, with `paragraphs` and `question_decomposition`.
    MuSiQue,
    /// Bamboogle: `Question` and `Answer`.
    Bamboogle,
    /// Natural Questions, as DPR or as Google publishes it.
    NaturalQuestions,
    /// `TriviaQA`, in its own spelling of the keys or in lower case.
    TriviaQa,
    /// `PopQA`: answers in `possible_answers`.
    PopQa,
    /// Queries of BEIR whose `metadata` has the answer.
    Beir,
    /// BrowseComp-Plus, decrypted.
    BrowseCompPlus,
}

impl Format {
    /// Name of the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "question and answers",
            Self::FlashRag => "FlashRAG",
            Self::SearchR1 => "Search-R1",
            Self::Verl => "verl",
            Self::StepSearch => "StepSearch",
            Self::HotpotQa => "HotpotQA",
            Self::TwoWiki => "2WikiMultihopQA",
            Self::MuSiQue => "MuSiQue",
            Self::Bamboogle => "Bamboogle",
            Self::NaturalQuestions => "Natural Questions",
            Self::TriviaQa => "TriviaQA",
            Self::PopQa => "PopQA",
            Self::Beir => "BEIR",
            Self::BrowseCompPlus => "BrowseComp-Plus",
        }
    }

    /// Source of rows that name none, where the format is that of one data set.
    pub fn data_set(self) -> Option<&'static str> {
        match self {
            Self::Plain | Self::FlashRag | Self::SearchR1 | Self::Verl | Self::Beir => None,
            Self::StepSearch | Self::MuSiQue => Some("musique"),
            Self::HotpotQa => Some("hotpotqa"),
            Self::TwoWiki => Some("2wikimultihopqa"),
            Self::Bamboogle => Some("bamboogle"),
            Self::NaturalQuestions => Some("nq"),
            Self::TriviaQa => Some("triviaqa"),
            Self::PopQa => Some("popqa"),
            Self::BrowseCompPlus => Some("browsecomp-plus"),
        }
    }

    /// Format of a row; an error for a row that is known to be no question.
    pub fn of(row: &Object) -> Result<Self, RowError> {
        if let Some(refusal) = not_a_question(row) {
            return Err(refusal);
        }
        let has = |key: &str| field(row, key).is_some();
        let has_any = |keys: &[&str]| keys.iter().any(|key| has(key));
        let ground_truth = ground_truth(row);
        Ok(if has("query_id") && has("query") {
            Self::BrowseCompPlus
        } else if is_step_search(row) {
            Self::StepSearch
        } else if ground_truth.is_some() && has_any(&["golden_answers", "question"]) {
            Self::SearchR1
        } else if ground_truth.is_some() {
            Self::Verl
        } else if field(row, "paragraphs").is_some_and(|it| mentions(it, "paragraph_text")) {
            Self::MuSiQue
        } else if has_any(&["evidences", "evidences_id", "entity_ids"]) {
            Self::TwoWiki
        } else if has("supporting_facts") {
            Self::HotpotQa
        } else if has("golden_answers") && object(row, "metadata").is_some() {
            Self::FlashRag
        } else if has_any(&["positive_ctxs", "hard_negative_ctxs"]) || is_google_nq(row) {
            Self::NaturalQuestions
        } else if has("possible_answers") {
            Self::PopQa
        } else if is_trivia_qa(row) {
            Self::TriviaQa
        } else if has("Question") {
            Self::Bamboogle
        } else if is_beir(row) {
            Self::Beir
        } else {
            Self::Plain
        })
    }
}

/// `reward_model.ground_truth`.
pub(crate) fn ground_truth(row: &Object) -> Option<Cow<'_, Value>> {
    match object(row, "reward_model")? {
        Cow::Borrowed(it) => field(it, "ground_truth").map(Cow::Borrowed),
        Cow::Owned(it) => field(&it, "ground_truth").cloned().map(Cow::Owned),
    }
}

fn is_step_search(row: &Object) -> bool {
    let has = |object: &Object, key: &str| field(object, key).is_some();
    let truth = ground_truth(row);
    has(row, "sub_searchs")
        || has(row, "sub_support_docs")
        || truth.is_some_and(|truth| truth.as_object().is_some_and(|it| has(it, "search_keys")))
        || holds(row, "extra_info", "support_docs")
}

fn is_trivia_qa(row: &Object) -> bool {
    let is_object = |key: &str| object(row, key).is_some();
    field(row, "QuestionId").is_some()
        || is_object("Answer")
        || (field(row, "question_id").is_some() && is_object("answer"))
}

/// Natural Questions as Google publishes it: the question with its tokens, and annotations.
fn is_google_nq(row: &Object) -> bool {
    field(row, "annotations").is_some()
        && (object(row, "question").is_some() || text(row, "question_text").is_some())
}

fn is_beir(row: &Object) -> bool {
    text(row, "text").is_some() && holds(row, "metadata", "answer")
}

/// What a row is that is known to be no question to train on.
fn not_a_question(row: &Object) -> Option<RowError> {
    let has = |key: &str| field(row, key).is_some();
    let (what, hint) = if object(row, "group").is_some() && has("split") {
        (
            "a group of trajectories that `forage` wrote",
            "`forage reward replay` reads it; the questions are in the files that `[data]` names",
        )
    } else if has("step") && row.keys().any(|key| key.contains('/')) {
        ("a row of metrics that a run wrote", "give the file of questions, not that of a run")
    } else if is_journal(row) {
        (
            "a row of the journal or of the traces of `forage synthesize`",
            "the questions are in `train.jsonl` and its like, beside it",
        )
    } else if has("output") && (has("gts") || has("score")) {
        (
            "a trajectory that verl dumped",
            "`forage reward replay` reads it; give the file of questions",
        )
    } else if is_unanswerable(row) {
        (
            "a question that cannot be answered (`answerable` is false)",
            "take the answerable half of MuSiQue, or leave such rows out",
        )
    } else if is_encrypted(row) {
        (
            "an encrypted row of BrowseComp-Plus",
            "decrypt the file with the project's `scripts_build_index/decrypt_dataset.py`",
        )
    } else if is_passage(row) {
        ("a passage of a corpus, not a question", "`forage index` reads passages")
    } else if is_query_alone(row) {
        (
            "a query without an answer, as BEIR has them",
            "give a file with answers; to measure search alone there are `forage eval-retrieval` and qrels",
        )
    } else {
        return None;
    };
    Some(RowError::NotAQuestion { what: format!("{what} ({})", keys(row)), hint })
}

const ANSWERS: &[&str] = &[
    "golden_answers",
    "answer",
    "answers",
    "answer_aliases",
    "Answer",
    "possible_answers",
    "reward_model",
    "annotations",
    "final_answer",
];
const QUESTIONS: &[&str] = &["question", "Question", "query", "prompt", "question_text"];

/// `MuSiQue` marks them; `FlashRAG` keeps the mark in `metadata`.
fn is_unanswerable(row: &Object) -> bool {
    let is_false = |object: &Object| {
        field(object, "answerable").is_some_and(|value| match value {
            Value::Bool(it) => !it,
            Value::Number(it) => it.as_f64() == Some(0.0),
            Value::String(it) => it.eq_ignore_ascii_case("false") || it == "0",
            _ => false,
        })
    };
    is_false(row) || object(row, "metadata").is_some_and(|metadata| is_false(&metadata))
}

fn has_any(row: &Object, keys: &[&str]) -> bool {
    keys.iter().any(|key| field(row, key).is_some())
}

/// A line of the journal is one event; a line of the traces holds a whole question.
fn is_journal(row: &Object) -> bool {
    const EVENTS: [&str; 5] = ["run", "proposed", "tried", "guessed", "done"];
    let is_event = row.len() == 1 && EVENTS.iter().any(|key| object(row, key).is_some());
    is_event || holds(row, "question", "golden_answers")
}

/// Whether the object of a key has a key of its own.
fn holds(row: &Object, outer: &str, inner: &str) -> bool {
    object(row, outer).is_some_and(|object| field(&object, inner).is_some())
}

fn is_passage(row: &Object) -> bool {
    let has_text = text(row, "text").is_some();
    let is_text = field(row, "contents").is_some()
        || (has_text && (text(row, "title").is_some() || field(row, "docid").is_some()));
    is_text && !has_any(row, QUESTIONS) && !has_any(row, ANSWERS)
}

/// An id and a `text` or a `query`, and nothing that could be an answer.
fn is_query_alone(row: &Object) -> bool {
    let beir = field(row, "_id").is_some() && text(row, "text").is_some();
    let other = has_any(row, &["query_id", "_id", "qid"]) && text(row, "query").is_some();
    (beir || other) && !holds(row, "metadata", "answer") && !has_any(row, ANSWERS)
}

/// Base64 of what was encrypted: long, without a blank, and of its alphabet.
fn is_encrypted(row: &Object) -> bool {
    const SHORTEST: usize = 16;
    let is_base64 = |text: &str| {
        text.len().is_multiple_of(4)
            && text
                .trim_end_matches('=')
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
    };
    let query = text(row, "query").or_else(|| text(row, "question"));
    let is_set = has_any(row, &["query_id", "canary"]);
    is_set
        && query.is_some_and(|query| query.len() >= SHORTEST && is_base64(query))
        && text(row, "answer").is_none_or(is_base64)
}

/// Whether a list of objects, a table of columns or the text of either has a key.
fn mentions(value: &Value, key: &str) -> bool {
    match value {
        Value::String(it) => it.contains(key),
        Value::Array(items) => items.first().is_some_and(|first| mentions(first, key)),
        Value::Object(it) => it.contains_key(key),
        _ => false,
    }
}
