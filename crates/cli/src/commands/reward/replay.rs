//! `forage reward replay`: scores stored trajectories with a reward.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use forage_reward::Plugin;
use forage_reward_sdk::Grade;
use forage_trajectory::statistics::mean;
use serde_json::json;

use super::{open, score};
use crate::exit_code::{Code, Failure};
use crate::output::{print, print_line};
use crate::reward_diff::{RewardPair, rank_correlation};
use crate::trajectory_files::{StoredGroup, read_all};

/// Score stored trajectories with a reward.
///
/// Reads the `trajectories/` of runs, and the JSON lines that Search-R1 and verl dump.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the plugin, or path of its library.
    pub plugin: String,
    /// Files of stored trajectories.
    #[arg(required = true)]
    pub trajectories: Vec<PathBuf>,
    /// Set a key of the reward's `config`, for example `--set alpha=0.3`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
    /// Print a JSON object for each trajectory instead of a summary.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let plugin = open(&args.plugin, &args.edits)?;
    let stored = read_all(&args.trajectories)?;
    let grades = score(&plugin, &stored)?;
    if args.json {
        print_lines(&stored, &grades)?;
    } else {
        print(&summary(&plugin, &stored, &grades))?;
    }
    nothing_scored(&args.plugin, &grades)
}

/// Refuses a replay in which no trajectory was scored, since the reward failed or does not apply.
fn nothing_scored(plugin: &str, grades: &[Vec<Grade>]) -> Result<()> {
    let n_failed =
        grades.iter().flatten().filter(|grade| matches!(grade, Grade::Failed(_))).count();
    let n_scored = grades.iter().flatten().filter(|grade| grade.reward().is_some()).count();
    if n_scored > 0 {
        return Ok(());
    }
    if n_failed == 0 {
        let what = format!("the reward `{plugin}` applies to none of the trajectories");
        let hint = "docs/rewards.md says what a reward needs of a question; stored trajectories have \
                    what the question file had";
        return Err(Failure::new(Code::Usage, what).hint(hint).into());
    }
    let what = format!("the reward `{plugin}` failed for {n_failed} trajectories and scored none");
    let hint = "see to what it depends on, such as a server, or to the file";
    Err(Failure::new(Code::Plugin, what).hint(hint).into())
}

fn print_lines(stored: &[StoredGroup], grades: &[Vec<Grade>]) -> Result<()> {
    for (it, grades) in stored.iter().zip(grades) {
        for (idx, (trajectory, grade)) in it.group.trajectories.iter().zip(grades).enumerate() {
            let line = json!({
                "question": it.group.question.id,
                "step": it.group.step,
                "member": trajectory.member,
                "stored": it.rewards[idx],
                "grade": grade,
            });
            if !print_line(line)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn summary(plugin: &Plugin, stored: &[StoredGroup], grades: &[Vec<Grade>]) -> String {
    let all = || grades.iter().flatten();
    let rewards: Vec<f64> = all().filter_map(Grade::reward).collect();
    let failed: Vec<&String> = all()
        .filter_map(|grade| match grade {
            Grade::Failed(reason) => Some(reason),
            _ => None,
        })
        .collect();
    let n_not_applicable = all().filter(|it| matches!(it, Grade::NotApplicable)).count();
    let varied = grades.iter().filter(|group| crate::reward_diff::is_varied(group)).count();
    let mut lines = vec![
        format!(
            "{} {}: {} groups, {} trajectories",
            plugin.name(),
            plugin.version(),
            stored.len(),
            all().count()
        ),
        String::new(),
        format!("  scored           {}", rewards.len()),
        format!("  not applicable   {n_not_applicable}"),
        format!("  failed           {}", failed.len()),
    ];
    lines.extend(failed.first().map(|it| format!("    the first: {it}")));
    lines.push(format!("  groups in which trajectories differ   {varied}"));
    lines.push(if rewards.is_empty() {
        "  mean reward      none: no trajectory was scored".to_owned()
    } else {
        format!("  mean reward      {:.4}", mean(&rewards))
    });
    let mut parts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for grade in all() {
        if let Grade::Scored(score) = grade {
            for (name, value) in &score.parts {
                parts.entry(name).or_default().push(*value);
            }
        }
    }
    lines.extend(
        parts.iter().map(|(name, values)| format!("    mean of `{name}`: {:.4}", mean(values))),
    );
    let pairs: Vec<RewardPair> = stored
        .iter()
        .zip(grades)
        .flat_map(|(group, grades)| group.rewards.iter().zip(grades))
        .filter_map(|(before, now)| Some(RewardPair { one: (*before)?, other: now.reward()? }))
        .collect();
    if pairs.is_empty() {
        lines.push("  no reward was written down beside them".to_owned());
    } else {
        let before: Vec<f64> = pairs.iter().map(|it| it.one).collect();
        lines.push(format!("  mean as written  {:.4}, of {}", mean(&before), pairs.len()));
        let correlation = rank_correlation(&pairs)
            .map_or("none: one of them is always the same".to_owned(), |it| format!("{it:.4}"));
        lines.push(format!("  rank correlation {correlation}"));
    }
    lines.push(String::new());
    lines.join("\n")
}
