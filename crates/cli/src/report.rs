//! `report.html`: what a person looks at when a run is over.
//!
//! [`write()`] reads a run's folder, keeps what fits (`curves` thins the steps, `trajectories`
//! picks the groups) and puts it as JSON into one page that needs neither a network nor a server.
//! The page itself is in `report/`: a template, a style sheet and scripts, put together here
//! without a build step. The folder of a synthesis has a page of its own.
//!
//! Everything from the run is data to the page: the JSON cannot end its own script element, the
//! scripts only ever set text, and the page's own policy forbids it to load anything.

mod curves;
mod synthesis;
mod trajectories;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit_code::{Code, Failure};
use forage_training::record::Evaluation;

const TEMPLATE: &str = include_str!("report/template.html");
const STYLE: &str = include_str!("report/style.css");
const CHART: &str = include_str!("report/chart.js");
const PAGE: &str = include_str!("report/page.js");

/// A kind of page: what stands between result and provenance, and the scripts that fill it in.
struct Kind {
    /// Over the name of the run, and after it in the title.
    mark: &'static str,
    /// Ids and names of the sections; the last is what most people come for.
    contents: &'static [(&'static str, &'static str)],
    sections: &'static str,
    scripts: &'static [&'static str],
}

const RUN: Kind = Kind {
    mark: "Forage run",
    contents: &[("curves", "Curves"), ("viewer", "Trajectories")],
    sections: include_str!("report/run.html"),
    scripts: &[CHART, PAGE, include_str!("report/viewer.js"), include_str!("report/app.js")],
};

const SYNTHESIS: Kind = Kind {
    mark: "Forage synthesis",
    contents: &[("curves", "Curves"), ("reasons", "Reasons"), ("questions", "Questions")],
    sections: include_str!("report/synthesis.html"),
    scripts: &[CHART, PAGE, include_str!("report/synthesis.js")],
};

/// Everything the page shows.
#[derive(Serialize)]
struct Data {
    /// Name of the run's folder.
    run: String,
    /// As it is in the file; null where there is none.
    manifest: Value,
    config: Option<String>,
    curves: curves::Curves,
    evaluations: Vec<SplitEvaluation>,
    trajectories: trajectories::Shown,
}

#[derive(Serialize)]
struct SplitEvaluation {
    split: String,
    #[serde(flatten)]
    evaluation: Evaluation,
}

/// Writes `report.html` into the folder of a run and returns its path.
///
/// What the run has not written is left out of the page. A file that is there and cannot be read
/// is an error that names the file, and the line where it has lines.
pub fn write(run: &Path) -> anyhow::Result<PathBuf> {
    let page = if synthesis::is_one(run) {
        let data = synthesis::data(run)?;
        page(&SYNTHESIS, &data.run, &data)?
    } else {
        let data = data(run)?;
        page(&RUN, &data.run, &data)?
    };
    let path = run.join("report.html");
    let unfinished = run.join("report.html.tmp");
    fs::write(&unfinished, page)
        .and_then(|()| fs::rename(&unfinished, &path))
        .with_context(|| input(format!("`{}` cannot be written", path.display())))?;
    Ok(path)
}

/// The name of a run's folder.
fn name_of(run: &Path) -> anyhow::Result<String> {
    let canonical = run
        .canonicalize()
        .with_context(|| input(format!("`{}` is no folder of a run", run.display())))?;
    Ok(canonical.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn data(run: &Path) -> anyhow::Result<Data> {
    let manifest = run.join("manifest.json");
    Ok(Data {
        run: name_of(run)?,
        manifest: match read(&manifest)? {
            Some(text) => parse(&text, &manifest)?,
            None => Value::Null,
        },
        config: read(&run.join("config.toml"))?,
        curves: curves::read(run)?,
        evaluations: evaluations(&run.join("evaluations"))?,
        trajectories: trajectories::read(&run.join("trajectories"))?,
    })
}

/// The page as text. Placeholders are looked for in the template only, never in what replaced one.
fn page(kind: &Kind, name: &str, data: &impl Serialize) -> anyhow::Result<String> {
    let json =
        serde_json::to_string(data).context("the report's data cannot be written as JSON")?;
    let link = |(id, name): (&str, &str)| format!("<a href=\"#{id}\">{name}</a>");
    let all = [("result", "Result")].into_iter().chain(kind.contents.iter().copied());
    let links: String = all.chain([("provenance", "Provenance")]).map(link).collect();
    let (id, what) = kind.contents.last().expect("every kind has sections");
    let skip = format!("<a class=\"skip\" href=\"#{id}\">Skip to the {}</a>", what.to_lowercase());
    let parts = [
        ("{{title}}", escape_markup(&format!("{name} · {}", kind.mark))),
        ("{{style}}", STYLE.to_owned()),
        ("{{skip}}", skip),
        ("{{mark}}", kind.mark.to_owned()),
        ("{{links}}", links),
        ("{{sections}}", kind.sections.to_owned()),
        ("{{data}}", escape_json(&json)),
        ("{{script}}", kind.scripts.concat()),
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

/// A file named `step-<step>-<split><ending>`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StepFile {
    step: u64,
    split: String,
    path: PathBuf,
}

/// The files of a folder that are named for a step, by step and split; none without the folder.
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

/// The text of a file, or `None` where there is none.
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
