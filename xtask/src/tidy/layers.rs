//! Layers of crates: reads the table "Crates" of ARCHITECTURE.md and holds the manifests to it.
//!
//! The table is the rule and not a copy of it, so the map cannot age. A row is
//! ``| `crates/reward` | `trajectory`, `reward-sdk` | `libloading` | … |``: the folder, the crates
//! of ours that it may use, the heavy dependencies that it may name, and its invariant. The word
//! `all` stands for no limit; a row of `plugins/*` is for every folder there that has no row. An
//! invariant with the word "prints" permits to print.

use std::collections::BTreeSet;

use super::Finding;

const TABLE: &str = "## Crates";

/// A crate of the workspace.
#[derive(Debug)]
pub(super) struct Member {
    /// Package name.
    pub(super) package: String,
    /// Path from the root of the repository.
    pub(super) folder: String,
    /// Names of the packages that its library or binary depends on.
    pub(super) dependencies: Vec<String>,
}

/// A row of the table.
#[derive(Debug, PartialEq)]
struct Row<'a> {
    folder: &'a str,
    ours: Limit<'a>,
    heavy: Limit<'a>,
    invariant: &'a str,
}

/// Names that a row permits.
#[derive(Debug, PartialEq)]
enum Limit<'a> {
    All,
    Only(Vec<&'a str>),
}

impl Limit<'_> {
    fn permits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(&name),
        }
    }
}

/// Checks that every member has its row, keeps to it, and is named.
pub(super) fn check(map: &str, members: &[Member]) -> Vec<Finding> {
    let rows = rows(map);
    // A dependency is heavy where at least one crate has it to itself.
    let heavy: BTreeSet<_> = rows
        .iter()
        .filter_map(|row| match &row.heavy {
            Limit::All => None,
            Limit::Only(names) => Some(names),
        })
        .flatten()
        .copied()
        .collect();

    let mut findings = Vec::new();
    for member in members {
        let Some(row) = row_of(&rows, &member.folder) else {
            findings.push(Finding {
                place: member.folder.clone(),
                rule: "has no row in the table \"Crates\" of ARCHITECTURE.md".to_owned(),
                mend: "add one: what it may use, and the invariant it keeps",
            });
            continue;
        };
        for dependency in &member.dependencies {
            let ours = members.iter().find(|it| it.package == *dependency);
            let place = || format!("{}/Cargo.toml", member.folder);
            if let Some(ours) = ours
                && !row.ours.permits(short_name(ours))
            {
                findings.push(Finding {
                    place: place(),
                    rule: format!("must not depend on `{dependency}`: it is not in a layer below"),
                    mend: "let both meet at a trait or plain data of `crates/trajectory`",
                });
            }
            if heavy.contains(dependency.as_str()) && !row.heavy.permits(dependency) {
                findings.push(Finding {
                    place: place(),
                    rule: format!("must not name `{dependency}`, which other crates wrap"),
                    mend: "use the crate whose row in ARCHITECTURE.md names it",
                });
            }
        }
    }
    for member in members {
        if !quoted(map).any(|word| word == member.folder) {
            findings.push(Finding {
                place: "ARCHITECTURE.md".to_owned(),
                rule: format!("does not name `{}`", member.folder),
                mend: "say in a line what it is for",
            });
        }
    }
    findings
}

/// Checks that every crate of the table is there, and every path into one that the map names.
pub(super) fn check_paths(map: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let is_path = |word: &&str| word.starts_with("crates/") || word.starts_with("plugins/");
    let literal = |word: &&str| !word.contains(['*', '<', '…', ' ']);
    let folders = rows(map).into_iter().map(|row| row.folder);
    let paths = quoted(map).filter(is_path).chain(folders).filter(literal);
    let paths: BTreeSet<_> = paths.collect();
    let missing = paths.into_iter().filter(|path| !exists(path));
    missing
        .map(|path| Finding {
            place: "ARCHITECTURE.md".to_owned(),
            rule: format!("names `{path}`, which does not exist"),
            mend: "name what is there now",
        })
        .collect()
}

/// Whether a crate may print: programs, which are neither in `crates/` nor in `plugins/`, and the
/// crates whose invariant has the word "prints".
pub(super) fn may_print(map: &str, folder: &str) -> bool {
    let is_library = folder.starts_with("crates/") || folder.starts_with("plugins/");
    let words = |row: &Row<'_>| {
        let mut words = row.invariant.split(|it: char| !it.is_alphabetic());
        words.any(|word| word == "prints")
    };
    !is_library || row_of(&rows(map), folder).is_some_and(words)
}

fn rows(map: &str) -> Vec<Row<'_>> {
    let section = map.lines().skip_while(|line| line.trim_end() != TABLE).skip(1);
    section.take_while(|line| !line.starts_with("## ")).filter_map(row).collect()
}

/// Parses a row; `None` for the heading of the table and for text around it.
fn row(line: &str) -> Option<Row<'_>> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let folder = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
    let (ours, heavy) = (limit(cells.next()?), limit(cells.next()?));
    Some(Row { folder, ours, heavy, invariant: cells.next().unwrap_or_default() })
}

fn limit(cell: &str) -> Limit<'_> {
    if cell == "all" { Limit::All } else { Limit::Only(quoted(cell).collect()) }
}

/// The row of a folder, or else that of its parent with `/*`.
fn row_of<'a>(rows: &'a [Row<'a>], folder: &str) -> Option<&'a Row<'a>> {
    let parent = folder.rsplit_once('/').map(|(parent, _)| parent);
    let of_parent = |row: &&Row<'_>| parent.is_some() && row.folder.strip_suffix("/*") == parent;
    rows.iter().find(|row| row.folder == folder).or_else(|| rows.iter().find(of_parent))
}

/// Name of a crate in the table: its folder without the folders above.
fn short_name(member: &Member) -> &str {
    member.folder.rsplit('/').next().unwrap_or(&member.folder)
}

/// Words in backticks, without those of fenced blocks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    let prose = text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    });
    prose.flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
# The map

```text
`crates/drawn` is not read
```

## Crates

| crate | may use | heavy | invariant |
|---|---|---|---|
| `crates/trajectory` | – | – | plain data |
| `crates/model` | `trajectory` | `burn` | knows `nothing` |
| `crates/cli` | all | `burn`, `clap` | the loop; the only crate that prints |
| `plugins/*` | `trajectory` | – | |
| `tests` | all | all | |

## Plugins

`plugins/format` pays for `form`.
";

    fn member(folder: &str, dependencies: &[&str]) -> Member {
        Member {
            package: folder.replace("crates/", "forage-").replace("plugins/", ""),
            folder: folder.to_owned(),
            dependencies: dependencies.iter().map(|&it| it.to_owned()).collect(),
        }
    }

    /// The members of `MAP`, with one of them replaced or added.
    fn findings(changed: Member) -> Vec<String> {
        let mut members = vec![
            member("crates/trajectory", &["serde"]),
            member("crates/model", &["forage-trajectory", "burn"]),
            member("crates/cli", &["forage-model", "forage-trajectory", "burn", "clap"]),
            member("plugins/format", &["forage-trajectory"]),
            member("tests", &["forage-cli", "burn"]),
        ];
        members.retain(|it| it.folder != changed.folder);
        members.push(changed);
        check(MAP, &members).iter().map(|it| format!("{}: {}", it.place, it.rule)).collect()
    }

    #[test]
    fn the_table_is_read() {
        let rows = rows(MAP);
        assert_eq!(rows.len(), 5);
        assert_eq!(
            rows[1],
            Row {
                folder: "crates/model",
                ours: Limit::Only(vec!["trajectory"]),
                heavy: Limit::Only(vec!["burn"]),
                invariant: "knows `nothing`",
            }
        );
        assert_eq!(row_of(&rows, "plugins/format"), Some(&rows[3]));
        assert_eq!(row_of(&rows, "plugin"), None);
    }

    #[test]
    fn dependencies_keep_to_the_table() {
        let cases = [
            (member("crates/model", &["forage-trajectory", "burn", "serde"]), ""),
            (
                member("crates/trajectory", &["forage-model"]),
                "crates/trajectory/Cargo.toml: must not depend on `forage-model`: \
                 it is not in a layer below",
            ),
            (
                member("plugins/format", &["burn"]),
                "plugins/format/Cargo.toml: must not name `burn`, which other crates wrap",
            ),
            (member("crates/cli", &["forage-trajectory", "forage-model", "format"]), ""),
        ];
        for (changed, expected) in cases {
            assert_eq!(findings(changed).join("\n"), expected);
        }
    }

    #[test]
    fn the_table_says_which_crates_print() {
        for (folder, expected) in [
            ("crates/cli", true),
            ("crates/model", false),
            ("crates/new", false),
            ("plugins/format", false),
            ("tests", true),
            ("xtask", true),
        ] {
            assert_eq!(may_print(MAP, folder), expected, "{folder}");
        }
        let map = MAP.replace("plain data", "plain data, printed by blueprints");
        assert!(!may_print(&map, "crates/trajectory"));
    }

    #[test]
    fn every_member_is_on_the_map() {
        assert_eq!(
            findings(member("crates/new", &[])),
            [
                "crates/new: has no row in the table \"Crates\" of ARCHITECTURE.md",
                "ARCHITECTURE.md: does not name `crates/new`",
            ]
        );
        assert_eq!(
            findings(member("plugins/f1", &[])),
            ["ARCHITECTURE.md: does not name `plugins/f1`"]
        );
    }

    #[test]
    fn what_the_map_names_exists() {
        let rules = |map: &str| -> Vec<_> {
            let exists = |path: &str| path == "crates/model";
            check_paths(map, exists).into_iter().map(|it| it.rule).collect()
        };
        assert!(rules("`crates/model`, `plugins/*`, `crates/<name>`, `docs/x.md`").is_empty());
        assert_eq!(
            rules("`crates/model/src/old.rs`"),
            ["names `crates/model/src/old.rs`, which does not exist"]
        );
        assert_eq!(
            rules(MAP),
            ["crates/cli", "crates/trajectory", "plugins/format", "tests"]
                .map(|path| format!("names `{path}`, which does not exist"))
        );
    }
}
