//! Rules that no compiler checks: layers, circles of imports, prints, closures, the map, docs, sizes.
//!
//! Every rule is a pure function from text, data or a parsed file ([`Source`]) to [`Finding`]s,
//! in a module of its own; this file reads the workspace and prints what they found.

mod circles;
mod closures;
mod layers;
mod modules;
mod names;
mod paths;
mod prints;
mod sizes;
mod source;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cargo_metadata::{DependencyKind, Metadata};
use xshell::Shell;

use crate::metadata;
use layers::Member;
use names::Definitions;
use sizes::Sizes;
use source::Source;

/// Violation of a rule: where, what, and how to mend it.
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

/// Results of all checks.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
    warnings: Vec<String>,
    n_files: usize,
    sizes: Sizes,
}

/// Checks the workspace; fails where a rule is broken.
pub(crate) fn run(shell: &Shell) -> anyhow::Result<()> {
    let metadata = metadata()?;
    let members = members(&metadata);
    let map = shell.read_file("ARCHITECTURE.md")?;
    let report = check(metadata.workspace_root.as_std_path(), &map, &members)?;

    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    for finding in &report.findings {
        eprintln!("{finding}");
    }
    eprintln!("tidy: {} crates, {} files; {}", members.len(), report.n_files, report.sizes);
    match report.findings.len() {
        0 => eprintln!("nothing to mend"),
        n => bail!("tidy found {n} {} to mend", if n == 1 { "place" } else { "places" }),
    }
    Ok(())
}

/// Reads the files of the members and applies every rule.
fn check(root: &Path, map: &str, members: &[Member]) -> anyhow::Result<Report> {
    let mut report = Report { findings: layers::check(map, members), ..Report::default() };
    report.findings.extend(layers::check_paths(map, |path| root.join(path).exists()));
    let mut definitions = Definitions::default();
    for member in members {
        let sources = report.read_member(root, member)?;
        report.check_code(map, member, &sources);
        definitions.add_member(member, &sources);
    }
    report.findings.extend(report.sizes.check());
    report.findings.extend(definitions.check(map));
    Ok(report)
}

impl Report {
    /// Checks the texts of a member, and parses those of its files that are no tests.
    fn read_member(&mut self, root: &Path, member: &Member) -> anyhow::Result<Vec<Source>> {
        let manifest = format!("{}/Cargo.toml", member.folder);
        self.findings.extend(sources::check_manifest(&manifest, &read(&root.join(&manifest))?));
        let mut parsed = Vec::new();
        for file in rust_files(&root.join(&member.folder))? {
            let text = read(&file)?;
            let path = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let path = path.replace('\\', "/");
            self.findings.extend(sources::check(&path, &text));
            self.warnings.extend(sources::warn_of_size(&path, &text));
            self.n_files += 1;
            if !Source::is_test(&path) {
                match Source::parse(&path, &text) {
                    Ok(source) => parsed.push(source),
                    Err(finding) => self.findings.push(finding),
                }
            }
        }
        Ok(source::without_test_modules(parsed))
    }

    /// Checks the code of a member that is no test.
    fn check_code(&mut self, map: &str, member: &Member, sources: &[Source]) {
        let folder = format!("{}/src", member.folder);
        self.findings.extend(circles::check(&folder, sources));
        self.findings.extend(sources.iter().flat_map(closures::check));
        if !layers::may_print(map, &member.folder) {
            let is_library = |source: &&Source| source.path.starts_with(&format!("{folder}/"));
            self.findings.extend(sources.iter().filter(is_library).flat_map(prints::check));
        }
        if !["benchmarks", "tests"].contains(&member.folder.as_str()) {
            self.sizes.add(&member.folder, sources);
        }
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))
}

/// The crates of the workspace, with the dependencies of their libraries and binaries. Tests may
/// use what they like.
fn members(metadata: &Metadata) -> Vec<Member> {
    let packages = metadata.workspace_packages();
    let members = packages.iter().map(|package| {
        let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
        let folder = folder.strip_prefix(&metadata.workspace_root).unwrap_or(folder);
        let dependencies = package.dependencies.iter();
        let dependencies =
            dependencies.filter(|dependency| dependency.kind != DependencyKind::Development);
        Member {
            package: package.name.to_string(),
            folder: folder.to_string().replace('\\', "/"),
            dependencies: dependencies.map(|dependency| dependency.name.clone()).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
## Crates

| crate | may use | heavy | invariant |
|---|---|---|---|
| `crates/a` | – | – | |
| `crates/b` | – | – | |
| `crates/c` | – | – | |
| `crates/d` | – | – | |
| `crates/e` | – | – | |
| `crates/f` | – | – | |
| `crates/cli` | all | `clap` | the only crate that prints |

## The path of a question

`run` calls `crates/a/src/one.rs`.

## The path of a key
";

    const CRATES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "cli"];

    /// The findings in a workspace of seven crates, one file of which is written anew.
    fn findings(map: &str, path: &str, text: &str) -> Vec<String> {
        let shell = Shell::new().expect("a shell");
        let root = shell.create_temp_dir().expect("a folder");
        let write = |path: &str, text: &str| {
            shell.write_file(root.path().join(path), text).expect("a file");
        };
        let members = CRATES.map(|name| {
            let folder = format!("crates/{name}");
            write(&format!("{folder}/Cargo.toml"), "[lints]\nworkspace = true\n");
            write(&format!("{folder}/src/lib.rs"), "//! Doc.\n\nmod one;\nmod two;\n");
            write(&format!("{folder}/src/one.rs"), "//! Doc.\n\npub fn run() {}\n");
            write(&format!("{folder}/src/two.rs"), "//! Doc.\n\nuse crate::one::run;\n");
            Member { package: format!("forage-{name}"), folder, dependencies: Vec::new() }
        });
        write(path, text);
        let report = check(root.path(), map, &members).expect("files that can be read");
        report
            .findings
            .iter()
            .map(|finding| format!("{}: {}", finding.place, finding.rule))
            .collect()
    }

    #[test]
    fn a_tree_that_keeps_the_rules_has_no_findings() {
        let prints = "//! Doc.\n\npub fn run() {\n    println!();\n}\n";
        for (path, text) in [
            ("crates/a/src/two.rs", "//! Doc.\n"),
            ("crates/cli/src/one.rs", prints),
            ("crates/a/examples/one.rs", prints),
            ("crates/a/build.rs", "//! Doc.\n\nfn main() {\n    println!();\n}\n"),
            ("crates/a/tests/two.rs", &format!("//! Doc.\n{}", "// Line.\n".repeat(500))),
        ] {
            assert_eq!(findings(MAP, path, text), [""; 0], "{path}");
        }
    }

    #[test]
    fn a_tree_that_breaks_a_rule_has_one_finding() {
        let long = |n_lines: usize| {
            format!("//! Doc.\n\npub fn run() {{\n{}}}\n", "    b();\n".repeat(n_lines))
        };
        for (path, text, expected) in [
            (
                "crates/a/src/one.rs",
                "//! Doc.\n\nuse crate::two;\n\npub fn run() {}\n",
                "crates/a/src: imports go in a circle: one.rs:3 -> two.rs:3 -> one.rs",
            ),
            (
                "crates/a/src/one.rs",
                "//! Doc.\n\npub fn run() {\n    println!();\n}\n",
                "crates/a/src/one.rs:4: `println!` in a library",
            ),
            (
                "crates/cli/src/two.rs",
                &"//! Doc.\n".repeat(20),
                "crates/cli: has 31.0 % of the lines under `crates/`, more than 20 %",
            ),
            ("crates/a/src/two.rs", "//! Doc.\n\nfn {", "crates/a/src/two.rs:3: cannot be parsed"),
        ] {
            let found = findings(MAP, path, text);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
        let found = findings(MAP, "crates/a/src/one.rs", &long(80));
        assert!(found[0].starts_with("crates/a: has "), "{found:?}");
        assert_eq!(found[1], "crates/a/src/one.rs:3: `run` has 82 lines, more than 80");
        let map = MAP.replace("`run` calls", "`start` calls");
        assert_eq!(
            findings(&map, "crates/a/src/two.rs", "//! Doc.\n"),
            ["ARCHITECTURE.md:15: names `start`, which nothing under `crates/` is called"]
        );
    }
}
