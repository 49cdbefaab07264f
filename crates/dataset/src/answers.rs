//! Golden answers of a row: every key that holds some, without repetitions.

use std::collections::HashSet;

use serde_json::Value;

use crate::error::{ANSWERS, RowError, beginning, describe, keys};
use crate::fields::{Object, field, object, records};
use crate::format::{Format, ground_truth};
use crate::literal::{self, Reading};
use crate::visible::visible;

/// Answer of test splits that have none, such as `TriviaQA`'s.
const WITHHELD: &str = "<unk>";

/// Keys of answers beside each other: all of them count.
const KEYS: &[&str] = &["golden_answers", "answer", "answers", "Answer"];

/// Key of other names of an answer, which another key has.
const ALIASES: &str = "answer_aliases";

/// Golden answers of a key: a text, a number or a list of them, which may be the text of one, as
/// Python, `NumPy` and JSON print it.
pub fn answer_texts(key: &str, value: &Value) -> Result<Vec<String>, RowError> {
    let mut found = Answers::default();
    found.add(key, value)?;
    Ok(found.texts)
}

/// Golden answers of a row, those of all its keys.
pub(crate) fn golden_answers(row: &Object, format: Format) -> Result<Vec<String>, RowError> {
    let mut found = Answers::default();
    if let Some(truth) = ground_truth(row) {
        found.add("reward_model.ground_truth", &truth)?;
    }
    // What StepSearch trains with is `target`; `answer` beside it is that of the original row.
    let has_target = format == Format::StepSearch && !found.texts.is_empty();
    let keys: &[&str] = if has_target { &["golden_answers"] } else { KEYS };
    for key in keys {
        found.add_key(row, key)?;
    }
    if found.texts.is_empty() {
        add_of_format(&mut found, row, format)?;
    }
    if found.texts.is_empty() {
        // StepSearch's, which may be beside keys of any other set.
        found.add_key(row, "final_answer")?;
    }
    if !has_target && !found.texts.is_empty() {
        found.add_key(row, ALIASES)?;
    }
    refuse_places_of_choices(row, &found)?;
    if found.texts.is_empty() {
        return Err(RowError::NoAnswer { found: where_looked(row) });
    }
    if found.texts.iter().all(|text| text == WITHHELD) {
        return Err(RowError::NotAQuestion {
            what: format!("a question whose answer is withheld (`{WITHHELD}`)"),
            hint: "use a split of the data set that has answers",
        });
    }
    Ok(found.texts)
}

/// Refuses a question of several choices whose answer is the place of one: its number or letter.
fn refuse_places_of_choices(row: &Object, found: &Answers) -> Result<(), RowError> {
    const KEYS: [&str; 3] = ["choices", "options", "candidates"];
    let has = |key: &&str| field(row, key).is_some();
    let choices = KEYS.into_iter().find(has).or_else(|| {
        // A key for each choice.
        ["A", "B"].iter().all(has).then_some("A")
    });
    let Some(key) = choices else { return Ok(()) };
    let letter = found.texts.iter().find(|text| is_letter_of_choice(text));
    let place = if found.n_numbers > 0 {
        "a number"
    } else if letter.is_some() {
        "a letter"
    } else {
        return Ok(());
    };
    Err(RowError::NotAQuestion {
        what: format!("a question with `{key}` whose answer is {place}, the place of a choice"),
        hint: "write the text of the choice as the answer",
    })
}

/// `B`, `b`, `(B)`, `B.` and `B)`.
fn is_letter_of_choice(text: &str) -> bool {
    let inside = text.trim_matches(|c: char| "().: ".contains(c));
    inside.len() == 1 && inside.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn where_looked(row: &Object) -> String {
    let empty = KEYS.iter().find(|key| row.contains_key(**key));
    empty.map_or_else(
        || format!("the row has {}", keys(row)),
        |key| match &row[*key] {
            Value::Array(items) if !items.is_empty() => {
                format!("nothing in the list `{key}` is one")
            }
            value => format!("`{key}` is {}", describe(value)),
        },
    )
}

/// Keys that only one format has.
fn add_of_format(found: &mut Answers, row: &Object, format: Format) -> Result<(), RowError> {
    match format {
        Format::PopQa => {
            found.add_key(row, "possible_answers")?;
            if found.texts.is_empty() {
                found.add_key(row, "obj")?;
                found.add_key(row, "o_aliases")?;
            }
            Ok(())
        }
        Format::SearchR1 | Format::Verl | Format::Plain => {
            let extra = object(row, "extra_info").unwrap_or_default();
            found.add_key(&extra, "answer")
        }
        Format::Beir => found.add_key(&object(row, "metadata").unwrap_or_default(), "answer"),
        Format::NaturalQuestions => add_annotations(found, row),
        _ => Ok(()),
    }
}

/// Short answers of Google's Natural Questions, any annotator's, or yes and no.
fn add_annotations(found: &mut Answers, row: &Object) -> Result<(), RowError> {
    let Some(annotations) = field(row, "annotations") else { return Ok(()) };
    for annotation in records("annotations", annotations, &[])?.unwrap_or_default() {
        if let Some(answers) = field(&annotation, "short_answers") {
            for answer in records("annotations.short_answers", answers, &[])?.unwrap_or_default() {
                if let Some(it) = field(&answer, "text") {
                    found.add("annotations.short_answers.text", it)?;
                }
            }
        }
        match field(&annotation, "yes_no_answer") {
            Some(Value::String(it)) if !it.eq_ignore_ascii_case("none") => {
                found.push(&it.to_lowercase());
            }
            Some(Value::Number(it)) if it.as_i64() == Some(1) => found.push("yes"),
            Some(Value::Number(it)) if it.as_i64() == Some(0) => found.push("no"),
            _ => {}
        }
    }
    Ok(())
}

/// Answers that were found so far.
#[derive(Debug, Default)]
struct Answers {
    texts: Vec<String>,
    seen: HashSet<String>,
    n_numbers: usize,
}

impl Answers {
    fn push(&mut self, answer: &str) {
        let answer = visible(answer);
        let answer = answer.trim();
        if !answer.is_empty() && self.seen.insert(answer.to_owned()) {
            self.texts.push(answer.to_owned());
        }
    }

    fn add_key(&mut self, object: &Object, key: &str) -> Result<(), RowError> {
        field(object, key).map_or(Ok(()), |it| self.add(key, it))
    }

    fn add(&mut self, key: &str, value: &Value) -> Result<(), RowError> {
        match value {
            Value::String(it) => match literal::read(it) {
                Reading::Literal(value) => self.add(key, &value),
                Reading::Text => {
                    self.push(it);
                    Ok(())
                }
                Reading::Unclear => {
                    Err(RowError::ListAsText { key: key.to_owned(), found: beginning(it) })
                }
            },
            Value::Array(items) => self.add_list(key, items),
            Value::Object(it) => self.add_object(key, it),
            Value::Null => Ok(()),
            Value::Number(it) if !it.is_f64() => {
                self.n_numbers += 1;
                self.push(&it.to_string());
                Ok(())
            }
            Value::Number(_) | Value::Bool(_) => Err(shape(key, value)),
        }
    }

    /// A list in a list is one list of other names; several would be several answers, of which
    /// nothing says whether any or all are wanted.
    fn add_list(&mut self, key: &str, items: &[Value]) -> Result<(), RowError> {
        let n_lists = items.iter().filter(|item| item.is_array()).count();
        if n_lists > 1 || (n_lists == 1 && items.len() > 1) {
            return Err(RowError::Shape {
                key: key.to_owned(),
                expected: ANSWERS,
                found: "a list of lists, which may be several answers that are all wanted".into(),
            });
        }
        for (idx, item) in items.iter().enumerate() {
            let path = format!("{key}[{idx}]");
            match item {
                // An answer with brackets of its own is written as a list of one.
                Value::String(it) if is_bracketed_answer(it) => self.push(it),
                _ => self.add(&path, item)?,
            }
        }
        Ok(())
    }

    /// `TriviaQA`'s `value`, `aliases` and answers of people, verl's `target`, SQuAD's `text`.
    fn add_object(&mut self, key: &str, object: &Object) -> Result<(), RowError> {
        let before = self.texts.len();
        let mut known = false;
        for name in ["target", "value", "Value", "aliases", "Aliases", "HumanAnswers", "text"] {
            known |= object.contains_key(name);
            if let Some(it) = field(object, name) {
                self.add(&format!("{key}.{name}"), it)?;
            }
        }
        for name in ["normalized_aliases", "NormalizedAliases"] {
            known |= object.contains_key(name);
            if self.texts.len() == before {
                self.add_key(object, name)?;
            }
        }
        if known || object.is_empty() {
            return Ok(());
        }
        Err(shape(key, &Value::Object(object.clone())))
    }
}

/// Text in a list that would not be clear outside of one, and is not a list that was cut.
fn is_bracketed_answer(it: &str) -> bool {
    let looks_whole =
        it.trim_start().starts_with(['[', '{']) && it.trim_end().ends_with([']', '}']);
    let has_quotes = it.contains(['\'', '"']);
    literal::read(it) == Reading::Unclear && !(looks_whole && has_quotes)
}

fn shape(key: &str, value: &Value) -> RowError {
    RowError::Shape { key: key.to_owned(), expected: ANSWERS, found: describe(value) }
}

/// Whether SQuAD's normalization leaves nothing of an answer: only articles and ASCII punctuation.
pub(crate) fn normalizes_to_nothing(answer: &str) -> bool {
    let kept: String =
        answer.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    kept.split_whitespace().all(|word| matches!(word, "a" | "an" | "the"))
}

/// Name of the source, if the row has one. A longer text under these keys is no name.
pub(crate) fn source(row: &Object) -> Option<String> {
    const LONGEST: usize = 100;
    let mut names = ["source", "data_source", "dataset"].iter().filter_map(|key| {
        Some(match field(row, key)? {
            Value::String(name) => name.trim().to_owned(),
            Value::Number(number) if !number.is_f64() => number.to_string(),
            _ => return None,
        })
    });
    names.find(|name| !name.is_empty() && name.len() <= LONGEST && !name.contains('\n'))
}
