//! Reward plugins of a run: finds them, copies them into its folder, and compares them on resume.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_optimizer::AdvantageEstimator;
use forage_reward::{Rewards, copy_plugin, find_plugin};
use forage_training::batch;
use forage_training::run_folder::RunFolder;
use forage_trajectory::protocol::{ANSWER, SEARCH, THINK, TagPair};
use forage_trajectory::{
    Grade, Group, Hit, Origin, Outcome, Question, Search, SegmentKind, Trajectory,
};
use serde_json::{Value, json};

use crate::exit_code::{Code, Failure, plugin_failure, training_failure};
use crate::output::message;
use crate::run_file::{RunFile, Task};

/// Loaded rewards, with their entries of the manifest.
pub struct LoadedRewards {
    /// Rewards.
    pub rewards: Rewards,
    /// Name, file and hash of each plugin.
    pub manifest: Vec<Value>,
}

/// Folders in which plugins are searched for: that of the run file, its `plugins/`, those of
/// `FORAGE_PLUGINS`, and that of the program.
pub fn search_folders(run_file: &Path) -> Vec<PathBuf> {
    let beside = run_file.parent().unwrap_or(Path::new(".")).to_owned();
    let mut folders = vec![beside.clone(), beside.join("plugins")];
    if let Some(paths) = std::env::var_os("FORAGE_PLUGINS") {
        folders.extend(std::env::split_paths(&paths));
    }
    if let Ok(binary) = std::env::current_exe()
        && let Some(folder) = binary.parent()
    {
        folders.push(folder.to_owned());
    }
    folders
}

/// Copies the plugins of a run file into `folder`, and loads the copies. A warm start has none.
pub fn load(file: &RunFile, folder: &Path) -> Result<LoadedRewards> {
    let folders = search_folders(&file.path);
    let (rewards, combination) = match &file.config.task {
        Task::Train(task) => (task.rewards.clone(), task.combination.clone()),
        Task::Sft(_) => Default::default(),
    };
    let mut sections = Vec::new();
    let mut manifest = Vec::new();
    for (name, section) in rewards {
        let library = find_plugin(&section.plugin, &folders).map_err(plugin_failure)?;
        let copied = copy_plugin(&library, folder).map_err(plugin_failure)?;
        manifest.push(json!({"name": name, "plugin": section.plugin, "blake3": copied.hash}));
        sections.push((name, section, copied.path));
    }
    let rewards = Rewards::load(&sections, combination).map_err(plugin_failure)?;
    Ok(LoadedRewards { rewards, manifest })
}

/// Applicability of each reward to the training questions, as sentences. A reward of which a part
/// can be earned for none of them is a warning.
///
/// # Errors
///
/// A reward that applies to none of the questions.
pub fn check_applicability(rewards: &Rewards, questions: &[Question]) -> Result<Vec<String>> {
    let found = rewards.applicability(questions).map_err(plugin_failure)?;
    let nowhere: Vec<String> = found
        .iter()
        .filter(|reward| reward.applies_to_none())
        .map(|reward| format!("the reward {reward}"))
        .collect();
    if !nowhere.is_empty() {
        let hint = "docs/rewards.md says what a reward needs of a question, and `forage data` reads \
                    it from published data sets";
        return Err(Failure::new(Code::Usage, nowhere.join("; ")).hint(hint).into());
    }
    for reward in found.iter().filter(|reward| reward.is_partial_for_all()) {
        message(format_args!("warning: the reward {reward}"));
    }
    Ok(found.iter().map(ToString::to_string).collect())
}

/// Checks that some reward gives searches a value, where the advantage estimator needs one.
///
/// The rewards score one trajectory of some questions, the first ones and the first with gold
/// passages: it searches with the question, finds the gold passages and gives the golden answer.
///
/// # Errors
///
/// Rewards that score such trajectories without a value of a search, and rewards that break.
pub fn check_step_rewards(
    rewards: &Rewards,
    advantage: &AdvantageEstimator,
    questions: &[Question],
) -> Result<()> {
    const PLAYED: usize = 4;
    if batch::user_of_step_rewards(advantage).is_none() {
        return Ok(());
    }
    // In a mixture, the first questions may be those of a data set without evidence.
    let with_golds = questions.iter().filter(|question| !question.evidence.passages.is_empty());
    let played = questions.iter().take(PLAYED).chain(with_golds.take(PLAYED));
    let groups: Vec<Group> = played.map(ideal_group).collect();
    let grades = groups.iter().map(|group| rewards.score(group).map_err(plugin_failure));
    let grades: Vec<Vec<Grade>> = grades.collect::<Result<_>>()?;
    let scored: Vec<(&Group, &[Grade])> =
        groups.iter().zip(grades.iter().map(Vec::as_slice)).collect();
    let checked = batch::check_step_rewards(advantage, &scored);
    checked.map_err(|error| training_failure(error.into()))
}

/// Group of one trajectory that searches once, finds everything and is right.
fn ideal_group(question: &Question) -> Group {
    let mut played = Trajectory::new(question.id.clone(), 0);
    played.push_given(Origin::Prompt, SegmentKind::Prompt, &question.text, &[0]);
    let mut say = |kind, tag: TagPair, content: &str| {
        let at = played.tokens.len();
        played.push_sampled(&[0], &[0.0]);
        played.tag(kind, &tag.wrap(content), at..at + 1, Some(content));
    };
    say(SegmentKind::Think, THINK, &question.text);
    say(SegmentKind::Search, SEARCH, &question.text);
    say(SegmentKind::Answer, ANSWER, question.golden_answers.first().map_or("", String::as_str));
    let hits = question.evidence.passages.iter().cloned().map(|passage| Hit {
        id: passage.id,
        title: passage.title,
        text: passage.text,
        score: 1.0,
    });
    let hits = hits.collect();
    let query = question.text.clone();
    played.searches.push(Search { query, hits, segment: 2, failure: None });
    played.outcome = Outcome::Answered;
    Group { question: question.clone(), trajectories: vec![played] }
}

/// Refuses plugins that differ from those of the start of the run, unless `accept_new`.
pub fn check_unchanged(run: &RunFolder, manifest: &[Value], accept_new: bool) -> Result<()> {
    let Ok(text) = std::fs::read(run.path("manifest.json")) else { return Ok(()) };
    let started: Value = serde_json::from_slice(&text)
        .with_context(|| Failure::new(Code::Input, "`manifest.json` of the run is damaged"))?;
    let before = started.get("plugins").and_then(Value::as_array).cloned().unwrap_or_default();
    if before == manifest || accept_new {
        return Ok(());
    }
    let differences = differences(&before, manifest).join("; ");
    let what = format!("the run was started with other reward plugins: {differences}");
    Err(Failure::new(Code::Plugin, what)
        .hint("bring back the plugins it was started with, or say `--accept-new-plugins`")
        .into())
}

/// Rewards whose plugins differ between two manifests, each with both.
fn differences(before: &[Value], now: &[Value]) -> Vec<String> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let of = |all: &[Value], name: &str| -> Option<String> {
        let entry = all.iter().find(|entry| text(entry, "name") == name)?;
        let hash: String = text(entry, "blake3").chars().take(12).collect();
        Some(format!("`{}` with hash {hash}", text(entry, "plugin")))
    };
    let mut names: Vec<String> =
        before.iter().chain(now).map(|entry| text(entry, "name")).collect();
    names.sort_unstable();
    names.dedup();
    let difference = |name: String| {
        let [was, is] = [before, now].map(|all| of(all, &name));
        let missing = || "missing".to_owned();
        (was != is).then(|| {
            let (was, is) = (was.unwrap_or_else(missing), is.unwrap_or_else(missing));
            format!("reward `{name}` is {is} and was {was}")
        })
    };
    names.into_iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_that_differ_are_named() {
        let entry = |name: &str, hash: &str| json!({ "name": name, "plugin": "p", "blake3": hash });
        let before = [entry("a", "0123456789abcdef"), entry("b", "1"), entry("c", "2")];
        let now = [entry("a", "fedcba9876543210"), entry("b", "1"), entry("d", "3")];
        let expected = [
            "reward `a` is `p` with hash fedcba987654 and was `p` with hash 0123456789ab",
            "reward `c` is missing and was `p` with hash 2",
            "reward `d` is `p` with hash 3 and was missing",
        ];
        assert_eq!(differences(&before, &now), expected);
        assert_eq!(differences(&before, &before), Vec::<String>::new());
    }
}
