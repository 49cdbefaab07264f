//! Page of a synthesis: the pairs that passed, by round and by target steps.

use std::path::Path;

use forage_synthesis::feedback_loop::{SynthesisReport, UpdateRule};
use forage_trajectory::Question;
use forage_world::Split;
use serde::Serialize;

use super::{input, name_of, parse, parse_line, read as read_file};
use crate::synthesize::{AgentSection, GeneratorSection, JudgeSection, SynthesisConfig};

/// Maximum number of questions.
const MOST_QUESTIONS: usize = 60;

/// Data of the page of a synthesis.
#[derive(Serialize)]
pub(super) struct SynthesisData {
    /// Name of the run's folder.
    pub(super) run: String,
    /// Names and values of the configuration.
    facts: Vec<(&'static str, String)>,
    config: Option<String>,
    report: SynthesisReport,
    questions: Vec<ShownQuestion>,
    n_questions: usize,
}

/// Question of the folder.
#[derive(Debug, Serialize)]
struct ShownQuestion {
    split: String,
    id: String,
    text: String,
    answers: Vec<String>,
    /// Questions of the steps with their answers.
    steps: Vec<(String, String)>,
}

/// Whether a run is a synthesis.
pub(super) fn is_one(run: &Path) -> bool {
    run.join("journal.jsonl").exists()
}

pub(super) fn data(run: &Path) -> anyhow::Result<SynthesisData> {
    let path = run.join("report.json");
    let Some(text) = read_file(&path)? else {
        return Err(input(format!("`{}` has no `report.json` yet", run.display()))
            .hint("it is written when all items are done: go on with `forage synthesize --resume`")
            .into());
    };
    let config = read_file(&run.join("config.toml"))?;
    let parsed = config.as_deref().and_then(|text| SynthesisConfig::parse(text).ok());
    let mut questions = Vec::new();
    let mut n_questions = 0;
    for split in Split::ALL {
        let path = run.join(format!("{split}.jsonl"));
        let text = read_file(&path)?.unwrap_or_default();
        for (idx, line) in text.lines().enumerate() {
            n_questions += 1;
            if questions.len() < MOST_QUESTIONS {
                let Question { id, text, golden_answers, evidence, .. } =
                    parse_line(line, &path, idx)?;
                let steps = evidence.steps.into_iter().map(|step| (step.question, step.answer));
                questions.push(ShownQuestion {
                    split: split.to_string(),
                    id,
                    text,
                    answers: golden_answers,
                    steps: steps.collect(),
                });
            }
        }
    }
    Ok(SynthesisData {
        run: name_of(run)?,
        facts: parsed.as_ref().map(facts).unwrap_or_default(),
        config,
        report: parse(&text, &path)?,
        questions,
        n_questions,
    })
}

/// Names and values of a run file for the head of the page.
fn facts(config: &SynthesisConfig) -> Vec<(&'static str, String)> {
    let update = match config.synthesis.update {
        UpdateRule::Feedback => "feedback",
        UpdateRule::Resample => "resample",
    };
    let generator = match &config.generator {
        GeneratorSection::Chat(chat) => chat.server.model.clone(),
        GeneratorSection::Model(ours) => ours.path.display().to_string(),
        GeneratorSection::Walker(_) => "walker".to_owned(),
    };
    let agent = match &config.agent {
        AgentSection::Model { model, .. } => model.path.display().to_string(),
        AgentSection::Chat(chat) => chat.server.model.clone(),
    };
    let judge = match &config.judge {
        JudgeSection::Plugin(judge) => judge.plugin.clone(),
        JudgeSection::Chat(chat) => chat.server.model.clone(),
    };
    vec![
        ("Generator", generator),
        ("Agent", agent),
        ("Judge", judge),
        ("Update", update.to_owned()),
        ("K", config.synthesis.tries.to_string()),
        ("Seed", config.seed.to_string()),
    ]
}
