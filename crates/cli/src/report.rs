//! Report of a run: `report.html`, one page that needs neither a network nor a server.
//!
//! [`write()`] reads the folder of a run, selects what fits (`curves` thins the steps,
//! `trajectories` selects the groups), and puts it as JSON into the page. The page is assembled
//! from the template, the style sheet and the scripts in `report/`, without a build step. A
//! synthesis has another page than a training.
//!
//! Everything from the run is data to the page: the JSON cannot end its script element, the scripts
//! only ever set text, and the content security policy of the page forbids to load anything.

mod curves;
mod synthesis;
mod trajectories;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use forage_training::record::Evaluation;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit_code::{Code, Failure};
use crate::manifest::WORKING_DIRECTORY;

const TEMPLATE: &str = include_str!("report/template.html");
const STYLE: &str = include_str!("report/style.css");
const CHART: &str = include_str!("report/chart.js");
const PAGE: &str = include_str!("report/page.js");

/// Layout of a page: its sections between result and provenance, and the scripts that fill them.
struct PageLayout {
    /// Kind of the run, above its name and in the title.
    mark: &'static str,
    /// Ids and names of the sections; the link at the top of the page skips to the last.
    contents: &'static [(&'static str, &'static str)],
    /// Markup of the sections.
    sections: &'static str,
    /// Scripts, in order.
    scripts: &'static [&'static str],
}

const RUN: PageLayout = PageLayout {
    mark: "Forage run",
    contents: &[("curves", "Curves"), ("viewer", "Trajectories")],
    sections: include_str!("report/run.html"),
    scripts: &[CHART, PAGE, include_str!("report/viewer.js"), include_str!("report/app.js")],
};

const SYNTHESIS: PageLayout = PageLayout {
    mark: "Forage synthesis",
    contents: &[("curves", "Curves"), ("reasons", "Reasons"), ("questions", "Questions")],
    sections: include_str!("report/synthesis.html"),
    scripts: &[CHART, PAGE, include_str!("report/synthesis.js")],
};

/// Data of the page of a training.
#[derive(Serialize)]
struct RunData {
    /// Name of the run's folder.
    run: String,
    /// Content of `manifest.json`; null where there is none.
    manifest: Value,
    config: Option<String>,
    curves: curves::Curves,
    evaluations: Vec<SplitEvaluation>,
    trajectories: trajectories::ShownTrajectories,
}

#[derive(Serialize)]
struct SplitEvaluation {
    split: String,
    #[serde(flatten)]
    evaluation: Evaluation,
}

/// Writes `report.html` into the folder of a run and returns its path.
///
/// The page leaves out what the run has not written.
///
/// # Errors
///
/// A file that is there and cannot be read, by its name and line; and a folder that cannot be
/// written.
pub fn write(run: &Path) -> anyhow::Result<PathBuf> {
    let page = if synthesis::is_one(run) {
        let data = synthesis::data(run)?;
        page(&SYNTHESIS, &data.run, &data)?
    } else {
        let data = data(run)?;
        page(&RUN, &data.run, &data)?
    };
    let path = run.join("report.html");
    forage_fs::write_file(&path, page.as_bytes())
        .with_context(|| input(format!("`{}` cannot be written", path.display())))?;
    Ok(path)
}

/// Name of a run's folder.
fn name_of(run: &Path) -> anyhow::Result<String> {
    let canonical = run
        .canonicalize()
        .with_context(|| input(format!("`{}` is no folder of a run", run.display())))?;
    Ok(canonical.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn data(run: &Path) -> anyhow::Result<RunData> {
    Ok(RunData {
        run: name_of(run)?,
        manifest: manifest(run)?,
        config: read(&run.join("config.toml"))?,
        curves: curves::read(run)?,
        evaluations: evaluations(&run.join("evaluations"))?,
        trajectories: trajectories::read(&run.join("trajectories"))?,
    })
}

/// Content of `manifest.json` without the folder that the run was started in: a report is shown to
/// others.
fn manifest(run: &Path) -> anyhow::Result<Value> {
    let path = run.join("manifest.json");
    let Some(text) = read(&path)? else { return Ok(Value::Null) };
    let mut manifest: Value = parse(&text, &path)?;
    if let Some(object) = manifest.as_object_mut() {
        object.shift_remove(WORKING_DIRECTORY);
    }
    Ok(manifest)
}

/// Text of a page. Placeholders are replaced in the template only, never in what replaced one.
fn page(layout: &PageLayout, name: &str, data: &impl Serialize) -> anyhow::Result<String> {
    let json =
        serde_json::to_string(data).context("the report's data cannot be written as JSON")?;
    let link = |(id, name): (&str, &str)| format!("<a href=\"#{id}\">{name}</a>");
    let all = [("result", "Result")].into_iter().chain(layout.contents.iter().copied());
    let links: String = all.chain([("provenance", "Provenance")]).map(link).collect();
    let (id, what) = layout.contents.last().expect("every layout has sections");
    let skip = format!("<a class=\"skip\" href=\"#{id}\">Skip to the {}</a>", what.to_lowercase());
    let parts = [
        ("{{title}}", escape_markup(&format!("{name} · {}", layout.mark))),
        ("{{style}}", STYLE.to_owned()),
        ("{{skip}}", skip),
        ("{{mark}}", layout.mark.to_owned()),
        ("{{links}}", links),
        ("{{sections}}", layout.sections.to_owned()),
        ("{{data}}", escape_json(&json)),
        ("{{script}}", layout.scripts.concat()),
    ];
    let mut page = String::with_capacity(TEMPLATE.len() + json.len() + (64 << 10));
    let mut rest = TEMPLATE;
    for (placeholder, part) in &parts {
        let (before, after) =
            rest.split_once(placeholder).expect("the template holds every placeholder in order");
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

fn escape_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// JSON that means the same and cannot end, or comment out, the script element it stands in:
/// outside of strings JSON has no `<`.
fn escape_json(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// All evaluations, by split and step.
fn evaluations(folder: &Path) -> anyhow::Result<Vec<SplitEvaluation>> {
    let mut evaluations = Vec::new();
    for file in step_files(folder, ".json")? {
        let text = read(&file.path)?.unwrap_or_default();
        evaluations
            .push(SplitEvaluation { evaluation: parse(&text, &file.path)?, split: file.split });
    }
    evaluations.sort_by(|a, b| {
        (&a.split, &a.evaluation.questions, a.evaluation.step).cmp(&(
            &b.split,
            &b.evaluation.questions,
            b.evaluation.step,
        ))
    });
    Ok(evaluations)
}

/// File named `step-<step>-<split><ending>`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StepFile {
    step: u64,
    split: String,
    path: PathBuf,
}

/// Files of a folder that are named after a step, by step and split; none without the folder.
fn step_files(folder: &Path, ending: &str) -> anyhow::Result<Vec<StepFile>> {
    let unreadable = || input(format!("`{}` cannot be listed", folder.display()));
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(named) = name.strip_prefix("step-").and_then(|it| it.strip_suffix(ending)) else {
            continue;
        };
        let Some((step, split)) = named.split_once('-') else { continue };
        let Ok(step) = step.parse() else { continue };
        files.push(StepFile { step, split: split.to_owned(), path });
    }
    files.sort_by(|a, b| (a.step, &a.split).cmp(&(b.step, &b.split)));
    Ok(files)
}

/// Text of a file; `None` where there is no file.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(error).with_context(|| input(format!("`{}` cannot be read", path.display())))
        }
    }
}

fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> anyhow::Result<T> {
    serde_json::from_str(text)
        .with_context(|| input(format!("`{}` is not what it should be", path.display())))
}

/// Reads line `idx` (from 0) of a file.
fn parse_line<T: DeserializeOwned>(line: &str, path: &Path, idx: usize) -> anyhow::Result<T> {
    serde_json::from_str(line).with_context(|| {
        input(format!("line {} of `{}` is not what it should be", idx + 1, path.display()))
    })
}

fn input(message: String) -> Failure {
    Failure::new(Code::Input, message)
}

#[cfg(test)]
mod tests;
