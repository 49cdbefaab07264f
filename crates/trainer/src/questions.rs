//! Question files: JSONL with `id`, `text` (or `question`), `golden_answers`, `evidence`.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use forage_trajectory::Question;

use crate::failure::{Code, Failure};

/// Reads a question file. Every question must have a text and an answer, and an id of its own
/// (the line number where there is none).
pub fn read_questions(path: &Path) -> Result<Vec<Question>> {
    let shown = path.display();
    let failure = || {
        Failure::new(Code::Input, format!("cannot use the question file `{shown}`"))
            .hint("a line is {\"id\": \"1\", \"question\": \"…\", \"golden_answers\": [\"…\"]}")
    };
    let text = std::fs::read_to_string(path).with_context(failure)?;
    let mut questions: Vec<Question> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for (idx, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let at = || format!("{shown}:{}", idx + 1);
        let mut question: Question =
            serde_json::from_str(line).with_context(at).with_context(failure)?;
        if question.text.trim().is_empty() {
            return Err(anyhow!("{}: the question has no text", at())).with_context(failure);
        }
        if question.golden_answers.iter().all(|it| it.trim().is_empty()) {
            return Err(anyhow!("{}: the question has no answer", at())).with_context(failure);
        }
        if question.id.is_empty() {
            question.id = (idx + 1).to_string();
        }
        if !ids.insert(question.id.clone()) {
            return Err(anyhow!("{}: the id `{}` is taken", at(), question.id))
                .with_context(failure);
        }
        questions.push(question);
    }
    if questions.is_empty() {
        return Err(anyhow!("it holds no question")).with_context(failure);
    }
    Ok(questions)
}
