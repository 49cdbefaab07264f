//! Names in the map: what a section "The path of …" of ARCHITECTURE.md names is in the code.
//!
//! Such a section tells which function calls which, and would age unseen. A word in backticks that
//! could be a Rust name, a path of names or a Rust file has to be one of `crates/`; names of other
//! crates are written with their crate, such as `serde::Deserialize`.

use std::collections::BTreeSet;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{ImplItem, Item, TraitItem};

use super::Finding;
use super::layers::Member;
use super::modules;
use super::source::Source;

/// The beginning of the headings of such sections.
const HEADING: &str = "The path of";

/// Beginnings of paths that name nothing by themselves.
const RELATIVE: [&str; 4] = ["crate", "self", "super", "Self"];

/// Names that the crates under `crates/` define.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    /// Of crates, modules, items, fields and variants.
    names: BTreeSet<String>,
    /// Of Rust files, from the root of the repository.
    files: BTreeSet<String>,
    /// Of the crates that ours depend on.
    dependencies: BTreeSet<String>,
}

impl Definitions {
    /// Adds a crate, if it is under `crates/`, with its files.
    pub(super) fn add_member(&mut self, member: &Member, sources: &[Source]) {
        let in_code = |package: &String| package.replace('-', "_");
        if member.folder.starts_with("crates/") {
            self.names.insert(in_code(&member.package));
            self.dependencies.extend(member.dependencies.iter().map(in_code));
            for source in sources {
                self.add_source(source);
            }
        }
    }

    fn add_source(&mut self, source: &Source) {
        self.files.insert(source.path.clone());
        self.visit_file(&source.syntax);
    }

    fn add_name(&mut self, name: &syn::Ident) {
        self.names.insert(name.to_string());
    }

    /// Checks the sections of the map that trace a path through the code.
    pub(super) fn check(&self, map: &str) -> Vec<Finding> {
        let mut in_section = false;
        let mut findings = Vec::new();
        for (idx, line) in prose(map) {
            if let Some(heading) = line.strip_prefix('#') {
                in_section = heading.trim_start_matches('#').trim_start().starts_with(HEADING);
            }
            let words = line.split('`').skip(1).step_by(2);
            let unknown = words.filter(|word| in_section && !self.knows(word));
            findings.extend(unknown.map(|word| Finding {
                place: format!("ARCHITECTURE.md:{}", idx + 1),
                rule: format!("names `{word}`, which nothing under `crates/` is called"),
                mend: "use the name that the code has now",
            }));
        }
        findings
    }

    /// Whether a word is no Rust name, or one that is defined.
    fn knows(&self, word: &str) -> bool {
        if is_rust_file(word) {
            return self.files.iter().any(|file| format!("/{file}").ends_with(&format!("/{word}")));
        }
        let names = word.trim_end_matches("()").trim_end_matches('!').split("::");
        let names: Vec<_> = names.skip_while(|name| RELATIVE.contains(name)).collect();
        let is_path = names.iter().all(|name| syn::parse_str::<syn::Ident>(name).is_ok());
        let is_defined = || names.iter().all(|name| self.names.contains(*name));
        !is_path || self.is_foreign(names.first().copied()) || is_defined()
    }

    /// Whether a path that begins with this name is another crate's.
    fn is_foreign(&self, first: Option<&str>) -> bool {
        first.is_some_and(|first| {
            first == "std" || self.dependencies.contains(first) && !self.names.contains(first)
        })
    }
}

/// Whether a word is the name or path of one Rust file.
fn is_rust_file(word: &str) -> bool {
    let is_literal = !word.contains([' ', '*', '<']);
    is_literal && Path::new(word).extension().is_some_and(|suffix| suffix == "rs")
}

/// The lines of a text with their indices, without those of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

impl<'ast> Visit<'ast> for Definitions {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(item) => self.add_name(&item.ident),
            item => {
                if let Some(name) = modules::name(item) {
                    self.names.insert(name);
                }
            }
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        match item {
            ImplItem::Const(item) => self.add_name(&item.ident),
            ImplItem::Fn(item) => self.add_name(&item.sig.ident),
            ImplItem::Type(item) => self.add_name(&item.ident),
            _ => {}
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        match item {
            TraitItem::Const(item) => self.add_name(&item.ident),
            TraitItem::Fn(item) => self.add_name(&item.sig.ident),
            TraitItem::Type(item) => self.add_name(&item.ident),
            _ => {}
        }
        visit::visit_trait_item(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(name) = &field.ident {
            self.add_name(name);
        }
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.add_name(&variant.ident);
        visit::visit_variant(self, variant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    const CODE: &str = "\
pub mod training { pub fn train() {} }
pub struct Batch { n_tokens: usize }
pub enum Task { Sft }
pub trait Policy { fn generate(&self); }
impl Batch { const LIMIT: usize = 3; pub fn of_step() { fn within() {} } }
macro_rules! row { () => {} }
#[cfg(test)]
fn only_in_tests() {}
";

    /// The unknown words of a section.
    fn unknown(heading: &str, words: &str) -> Vec<String> {
        let member = |folder: &str| Member {
            package: folder.replace("crates/", "forage-"),
            folder: folder.to_owned(),
            dependencies: vec!["serde".to_owned(), "toml-edit".to_owned()],
        };
        let mut definitions = Definitions::default();
        let sources = source::parse_all(&[("crates/loop/src/run/batch.rs", CODE)]);
        definitions.add_member(&member("crates/loop"), &sources);
        let sources = source::parse_all(&[("plugins/x/src/lib.rs", "pub fn of_a_plugin() {}")]);
        definitions.add_member(&member("plugins/x"), &sources);
        let map = format!("# The map\n\n`before`\n\n{heading}\n\n{words}\n\n## After\n\n`after`\n");
        definitions.check(&map).into_iter().map(|it| format!("{}: {}", it.place, it.rule)).collect()
    }

    #[test]
    fn what_a_path_names_is_defined() {
        let known = "\
`training`, `train`, `train()`, `training::train`, `crate::training::train`, `row!`, `Batch`,
`n_tokens`, `Task::Sft`, `Policy::generate`, `Batch::LIMIT`, `of_step`, `within`, `forage_loop`,
`batch.rs`, `run/batch.rs`, `crates/loop/src/run/batch.rs`, `serde::Deserialize`, `std::fs`,
`serde`, `toml_edit::Document`, `training.steps`, `[training]`, `metrics.jsonl`, `Vec<Batch>`,
`cargo xtask`, `forage-loop`, `&dyn Policy`, and train in prose.
```text
`fenced`
```
";
        assert!(unknown("## The path of a question", known).is_empty());
        for word in [
            "trained",
            "training::stop",
            "Batch::of_steps()",
            "of_a_plugin",
            "only_in_tests",
            "atch.rs",
            "loop/run/batch.rs",
            "forage_trainer::train",
            "crate::improve",
        ] {
            let expected = "which nothing under `crates/` is called";
            assert_eq!(
                unknown("### The path of a key", &format!("`Batch` and\n`{word}`")),
                [format!("ARCHITECTURE.md:8: names `{word}`, {expected}")]
            );
            assert!(unknown("## Paths", &format!("`{word}`")).is_empty());
        }
    }
}
