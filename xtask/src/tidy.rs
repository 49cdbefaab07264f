//! Holds the code to rules that no compiler checks: layers, the map, module docs, file sizes.
//!
//! Every rule is a pure function from text or data to [`Finding`]s, in [`layers`] and
//! [`sources`]; this file reads the workspace and prints what they found.

mod layers;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cargo_metadata::{DependencyKind, Metadata};
use xshell::Shell;

use crate::metadata;
use layers::Member;

/// A place that breaks a rule, and what mends it.
#[derive(Debug, PartialEq)]
struct Finding {
    /// A path from the root of the repository, often with a line number.
    place: String,
    /// What is wrong there.
    rule: String,
    /// What to do about it.
    mend: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    {}", self.place, self.rule, self.mend)
    }
}

pub(crate) fn run(shell: &Shell) -> anyhow::Result<()> {
    let metadata = metadata()?;
    let members = members(&metadata);
    let map = shell.read_file("ARCHITECTURE.md")?;

    let root = metadata.workspace_root.as_std_path();
    let mut findings = layers::check(&map, &members);
    findings.extend(layers::check_paths(&map, |path| root.join(path).exists()));
    let mut n_files = 0;
    for member in &members {
        let manifest = format!("{}/Cargo.toml", member.folder);
        findings.extend(sources::check_manifest(&manifest, &shell.read_file(&manifest)?));
        for file in rust_files(&root.join(&member.folder))? {
            let text = shell.read_file(&file)?;
            let path = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            findings.extend(sources::check(&path, &text));
            if let Some(warning) = sources::warn_of_size(&path, &text) {
                eprintln!("warning: {warning}");
            }
            n_files += 1;
        }
    }

    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => eprintln!("tidy: {} crates, {n_files} files, nothing to mend", members.len()),
        n => bail!("tidy found {n} {} to mend", if n == 1 { "place" } else { "places" }),
    }
    Ok(())
}

/// The crates of the workspace, with the dependencies of their libraries and binaries. Tests may
/// use what they like.
fn members(metadata: &Metadata) -> Vec<Member> {
    let packages = metadata.workspace_packages();
    let members = packages.iter().map(|package| {
        let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
        let folder = folder.strip_prefix(&metadata.workspace_root).unwrap_or(folder);
        let dependencies = package.dependencies.iter();
        let dependencies = dependencies.filter(|it| it.kind != DependencyKind::Development);
        Member {
            package: package.name.to_string(),
            folder: folder.to_string().replace('\\', "/"),
            dependencies: dependencies.map(|it| it.name.clone()).collect(),
        }
    });
    members.collect()
}

/// All Rust files below a folder, sorted, without what cargo built there.
fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let context = || format!("cannot list `{}`", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
