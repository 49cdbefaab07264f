//! JSON protocol: requests and replies as lines of JSON, for rewards in another process.
//!
//! A request is a [`Group`] with the field names of [`crate::wire`]. The reply is a list with one
//! element for each trajectory, in their order:
//!
//! | element | grade |
//! |---|---|
//! | `0.5` | a reward |
//! | `{"reward": 0.5, "parts": {"em": 1}, "steps": [0.1, 0.4]}` | a reward with parts and step rewards, both optional |
//! | `null` | not applicable |
//! | `{"failed": "the judge is away"}` | could not be computed |

use serde_json::Value;

use crate::RewardError;
use crate::wire::{Grade, Group, Score};

/// Request: a group as one line of JSON, without the line end.
pub fn request(group: &Group) -> String {
    serde_json::to_string(group).expect("plain data serializes into memory")
}

/// Grades of a reply to a group: one for each of its trajectories.
///
/// # Errors
///
/// [`RewardError::broken`] for a text that is no such reply, because a repeated request would not
/// change it. The message says what was written.
pub fn reply_to(group: &Group, text: &str) -> Result<Vec<Grade>, RewardError> {
    let grades = reply(text)?;
    let (n_grades, n) = (grades.len(), group.trajectories.len());
    if n_grades == n {
        return Ok(grades);
    }
    let message =
        format!("the reply is a list of {n_grades} for {n} trajectories: `{}`", shortened(text));
    Err(RewardError::broken(message))
}

/// Grades of a reply, whatever their number.
///
/// # Errors
///
/// [`RewardError::broken`] for a text that is no valid reply, because a repeated request would not
/// change it.
///
/// ```
/// use forage_reward_sdk::{Grade, json};
///
/// let grades = json::reply(r#"[1, null, {"failed": "no judge"}]"#).unwrap();
/// assert_eq!(grades[0].reward(), Some(1.0));
/// assert_eq!(grades[1..], [Grade::NotApplicable, Grade::Failed("no judge".to_owned())]);
/// assert!(json::reply("[NaN]").is_err());
/// ```
pub fn reply(text: &str) -> Result<Vec<Grade>, RewardError> {
    let broken = |what: String| RewardError::broken(format!("{what}: `{}`", shortened(text)));
    // A byte-order mark, which programs on Windows write.
    let text = text.trim_start_matches('\u{feff}');
    let elements: Vec<Value> = serde_json::from_str(text).map_err(|_| broken(not_a_list(text)))?;
    elements
        .into_iter()
        .enumerate()
        .map(|(idx, element)| {
            grade(element).map_err(|what| broken(format!("element {idx} of the reply {what}")))
        })
        .collect()
}

/// Why a text is no list in JSON.
fn not_a_list(text: &str) -> String {
    if serde_json::from_str::<Value>(text).is_ok() {
        return "the reply is JSON, but no list of grades".to_owned();
    }
    let starts_list = text.trim_start().starts_with('[');
    let mut words = text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '+' | '-')));
    let is_infinite = |word: &&str| word.parse::<f64>().is_ok_and(|number| !number.is_finite());
    match words.find(is_infinite).filter(|_| starts_list) {
        Some(word) => format!(
            "the reply has `{word}`, which is no finite number; `null` is a reward that does not \
             apply, and {{\"failed\": \"reason\"}} one that could not be computed"
        ),
        None => "the reply is no list in JSON; only replies are written there, and messages to \
                 standard error"
            .to_owned(),
    }
}

fn grade(element: Value) -> Result<Grade, String> {
    match element {
        Value::Null => Ok(Grade::NotApplicable),
        Value::Number(number) => {
            let reward = number.as_f64().ok_or("is no number that fits 64 bits")?;
            Ok(Score::new(reward).into())
        }
        Value::Object(mut fields) => match fields.remove("failed") {
            Some(Value::String(reason)) if fields.is_empty() => Ok(Grade::Failed(reason)),
            Some(_) => Err("has a `failed` that is no text, or not alone".to_owned()),
            None if fields.contains_key("reward") => {
                let known = |name: &&String| !["reward", "parts", "steps"].contains(&name.as_str());
                if let Some(name) = fields.keys().find(known) {
                    return Err(format!("has an unknown field `{name}`"));
                }
                let score = serde_json::from_value::<Score>(Value::Object(fields));
                score.map(Grade::Scored).map_err(|_| {
                    "is no score: `reward` is a number, `parts` a table of numbers, and `steps` a \
                     list of numbers"
                        .to_owned()
                })
            }
            None => Err("has neither `reward` nor `failed`".to_owned()),
        },
        Value::Bool(_) => Err("is neither a number nor `null`, but a truth value".to_owned()),
        Value::String(_) => Err("is neither a number nor `null`, but a text".to_owned()),
        Value::Array(_) => Err("is neither a number nor `null`, but a list".to_owned()),
    }
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Question, Trajectory};

    #[test]
    fn replies() {
        let text =
            r#"[0.5, {"reward": 1, "parts": {"em": 1}, "steps": [0.25]}, null, {"failed": "x"}]"#;
        let scored = Score::new(1.0).part("em", 1.0).steps([0.25]);
        let expected = [
            Score::new(0.5).into(),
            scored.into(),
            Grade::NotApplicable,
            Grade::Failed("x".to_owned()),
        ];
        assert_eq!(reply(text).unwrap(), expected);
        for (text, what) in [
            ("", "the reply is no list in JSON; "),
            ("\u{feff}[true]", "element 0 of the reply is neither a number nor `null`"),
            ("loading model", "the reply is no list in JSON; "),
            ("{}", "the reply is JSON, but no list of grades: `{}`"),
            ("0.5", "the reply is JSON, but no list of grades: `0.5`"),
            ("[NaN]", "the reply has `NaN`, which is no finite number; "),
            ("[1, -Infinity]", "the reply has `-Infinity`, which is no finite number; "),
            ("[1e999, 1]", "the reply has `1e999`, which is no finite number; "),
            (r#"[{"reward": NaN}]"#, "the reply has `NaN`, which is no finite number; "),
            ("[1] [2]", "the reply is no list in JSON; "),
            (
                "[true]",
                "element 0 of the reply is neither a number nor `null`, but a truth value: `[true]`",
            ),
            (
                r#"[1, "1.0"]"#,
                "element 1 of the reply is neither a number nor `null`, but a text: `[1, \"1.0\"]`",
            ),
            ("[[1]]", "element 0 of the reply is neither a number nor `null`, but a list"),
            ("[{}]", "element 0 of the reply has neither `reward` nor `failed`"),
            (r#"[1, {"reward": "x"}]"#, "element 1 of the reply is no score: `reward` is a number"),
            (r#"[{"reward": null}]"#, "element 0 of the reply is no score: `reward` is a number"),
            (
                r#"[{"reward": 1, "part": {}}]"#,
                "element 0 of the reply has an unknown field `part`",
            ),
            (
                r#"[{"reward": 1, "failed": "x"}]"#,
                "element 0 of the reply has a `failed` that is no",
            ),
        ] {
            let err = reply(text).unwrap_err();
            assert!(err.to_string().starts_with(what), "{err}");
            assert_eq!(err, RewardError::broken(err.to_string()));
        }
    }

    #[test]
    fn a_reply_has_an_element_for_each_trajectory() {
        let trajectories = vec![Trajectory::default(); 2];
        let group = Group { trajectories, ..Group::default() };
        assert_eq!(reply_to(&group, "[1, null]").unwrap().len(), 2);
        for text in ["[]", "[1]", "[1, 2, 3]"] {
            let err = reply_to(&group, text).unwrap_err();
            let n = reply(text).unwrap().len();
            let message = format!("the reply is a list of {n} for 2 trajectories: `{text}`");
            assert_eq!(err, RewardError::broken(message));
        }
    }

    #[test]
    fn a_request_is_one_line_that_can_be_read_back() {
        let group = Group {
            question: Question::new("two\nlines?", ["\u{2028}"]),
            trajectories: vec![Trajectory::default().think("a\r\nb").answer("c")],
            step: Some(3),
        };
        let line = request(&group);
        assert!(!line.contains(['\n', '\r']));
        assert_eq!(serde_json::from_str::<Group>(&line).unwrap(), group);
    }
}
