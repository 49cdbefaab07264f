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

/// Grades of a reply.
///
/// Their number is not checked here: the host checks that there is one for each trajectory.
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
    let elements: Vec<Value> = serde_json::from_str(text)
        .map_err(|err| broken(format!("the reply is no list in JSON, {err}")))?;
    elements
        .into_iter()
        .enumerate()
        .map(|(idx, element)| {
            grade(element).map_err(|what| broken(format!("element {idx} of the reply {what}")))
        })
        .collect()
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
                score.map(Grade::Scored).map_err(|err| format!("is no score, {err}"))
            }
            None => Err("has neither `reward` nor `failed`".to_owned()),
        },
        _ => Err("is neither a number, an object nor null".to_owned()),
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
            ("", "the reply is no list in JSON, "),
            ("{}", "the reply is no list in JSON, "),
            ("[NaN]", "the reply is no list in JSON, "),
            ("[1] [2]", "the reply is no list in JSON, "),
            ("[true]", "element 0 of the reply is neither a number, an object nor null: `[true]`"),
            ("[{}]", "element 0 of the reply has neither `reward` nor `failed`"),
            (r#"[1, {"reward": "x"}]"#, "element 1 of the reply is no score, "),
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
