//! Names in the map: what ARCHITECTURE.md names is in the code.
//!
//! A section "The path of …" tells which function calls which, and would age unseen. A word in
//! backticks there that could be a Rust name, a path of names or a Rust file has to be one of
//! `crates/`; names of other crates are written with their crate, such as `serde::Deserialize`. In
//! other sections this holds for paths of names and for Rust files, since a name alone may be a key
//! or a word of a file.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{ImplItem, Item, TraitItem};

use super::Finding;
use super::layers::Member;
use super::modules;
use super::source::Source;

/// The beginning of the headings of such sections.
const HEADING: &str = "The path of";

/// Beginnings of the headings that have to be there, so that a new heading does not end the check.
const REQUIRED: [&str; 2] = ["The path of a question", "The path of a key"];

/// Beginnings of paths that name nothing by themselves.
const RELATIVE: [&str; 4] = ["crate", "self", "super", "Self"];

/// Names that the crates under `crates/` define.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    /// Names of crates, modules, items, fields and variants, each with the places that have it.
    ///
    /// A place is the crate, modules and types around a name, the outermost first.
    names: BTreeMap<String, BTreeSet<Vec<String>>>,
    /// Of Rust files, from the root of the repository.
    files: BTreeSet<String>,
    /// Of the crates that ours depend on.
    dependencies: BTreeSet<String>,
}

impl Definitions {
    /// Adds a crate, if it is under `crates/`, with its files.
    pub(super) fn add_member(&mut self, member: &Member, sources: &[Source]) {
        if let Some(folder) = member.folder.strip_prefix("crates/") {
            let crate_names = [in_code(&member.package), in_code(folder)];
            self.names.entry(crate_names[0].clone()).or_default().insert(Vec::new());
            self.dependencies.extend(member.dependencies.iter().map(|name| in_code(name)));
            for source in sources {
                let path = source.path.strip_prefix(&member.folder).unwrap_or(&source.path);
                let modules = [crate_names.as_slice(), &modules_of(path)].concat();
                let mut reader = Reader { names: &mut self.names, modules, types: Vec::new() };
                reader.visit_file(&source.syntax);
                self.files.insert(source.path.clone());
            }
        }
    }

    /// Checks the names in the map.
    pub(super) fn check(&self, map: &str) -> Vec<Finding> {
        let mut traces_path = false;
        let mut findings = missing_sections(map);
        for (idx, line) in prose(map) {
            if let Some(heading) = heading(line) {
                traces_path = heading.starts_with(HEADING);
            }
            let words = line.split('`').skip(1).step_by(2);
            let words =
                words.filter(|word| traces_path || is_rust_file(word) || is_qualified(word));
            let unknown = words.filter(|word| !self.knows(word));
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
            return is_elsewhere(word) || self.has_file(word);
        }
        let names = word.trim_end_matches("()").trim_end_matches('!').split("::");
        let names: Vec<_> = names.skip_while(|name| RELATIVE.contains(name)).collect();
        let is_path = names.iter().all(|name| syn::parse_str::<syn::Ident>(name).is_ok());
        !is_path || self.is_foreign(&names) || self.defines(&names)
    }

    fn has_file(&self, word: &str) -> bool {
        self.files.iter().any(|file| format!("/{file}").ends_with(&format!("/{word}")))
    }

    /// Whether the last name is defined somewhere within the others.
    fn defines(&self, names: &[&str]) -> bool {
        let Some((last, around)) = names.split_last() else { return true };
        let mut places = self.names.get(*last).into_iter().flatten();
        places.any(|place| {
            let mut rest = place.iter();
            around.iter().all(|name| rest.any(|it| it == name))
        })
    }

    /// Whether a path is another crate's.
    fn is_foreign(&self, names: &[&str]) -> bool {
        let Some(&first) = names.first() else { return false };
        let is_ours = || self.names.values().flatten().flatten().any(|name| name == first);
        first == "std" || self.dependencies.contains(first) && !is_ours()
    }
}

/// Findings for the sections that the map has to have and has not.
fn missing_sections(map: &str) -> Vec<Finding> {
    let has = |begin: &str| {
        let mut headings = prose(map).filter_map(|(_, line)| heading(line));
        headings.any(|heading| heading.starts_with(begin))
    };
    let missing = REQUIRED.iter().filter(|begin| !has(begin));
    let findings = missing.map(|begin| Finding {
        place: "ARCHITECTURE.md".to_owned(),
        rule: format!("has no section \"{begin} …\""),
        mend: "give the section that traces it this heading",
    });
    findings.collect()
}

/// The text of a heading.
fn heading(line: &str) -> Option<&str> {
    line.starts_with('#').then(|| line.trim_start_matches('#').trim_start())
}

/// A package or folder as code names it.
fn in_code(name: &str) -> String {
    name.replace('-', "_")
}

/// The modules that the path of a file in its crate gives it, such as `run` of `/src/run/mod.rs`.
fn modules_of(path: &str) -> Vec<String> {
    let names = path.trim_start_matches("/src/").trim_end_matches(".rs").split('/');
    let names = names.filter(|name| !["", "lib", "main", "mod"].contains(name));
    names.map(ToOwned::to_owned).collect()
}

fn is_qualified(word: &str) -> bool {
    word.contains("::")
}

/// Whether a path leads to files that are no member of `crates/`, or only of its tests.
fn is_elsewhere(path: &str) -> bool {
    let folder = path.split_once('/').map_or("", |(folder, _)| folder);
    ["benchmarks", "plugins", "tests", "third-party", "xtask"].contains(&folder)
        || Source::is_test(path)
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

/// Visitor that collects the names of a file.
struct Reader<'a> {
    names: &'a mut BTreeMap<String, BTreeSet<Vec<String>>>,
    /// The crate and the modules around.
    modules: Vec<String>,
    /// The type or trait around, with its variant.
    types: Vec<String>,
}

impl Reader<'_> {
    fn define(&mut self, name: &impl ToString) {
        let place = [self.modules.as_slice(), &self.types].concat();
        self.names.entry(name.to_string()).or_default().insert(place);
    }
}

/// The type or trait whose members an item holds.
fn type_of(item: &Item) -> Option<String> {
    match item {
        Item::Enum(_) | Item::Struct(_) | Item::Trait(_) | Item::Union(_) => modules::name(item),
        Item::Impl(block) => match &*block.self_ty {
            syn::Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
            _ => None,
        },
        _ => None,
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if let Some(name) = modules::name(item) {
            self.define(&name);
        }
        let types = mem::replace(&mut self.types, type_of(item).into_iter().collect());
        visit::visit_item(self, item);
        self.types = types;
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.define(&module.ident);
        self.modules.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.modules.pop();
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        // What a function defines within is no member of its type.
        let types = mem::take(&mut self.types);
        visit::visit_block(self, block);
        self.types = types;
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        match item {
            ImplItem::Const(item) => self.define(&item.ident),
            ImplItem::Fn(item) => self.define(&item.sig.ident),
            ImplItem::Type(item) => self.define(&item.ident),
            _ => {}
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        match item {
            TraitItem::Const(item) => self.define(&item.ident),
            TraitItem::Fn(item) => self.define(&item.sig.ident),
            TraitItem::Type(item) => self.define(&item.ident),
            _ => {}
        }
        visit::visit_trait_item(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(name) = &field.ident {
            self.define(name);
        }
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.define(&variant.ident);
        self.types.push(variant.ident.to_string());
        visit::visit_variant(self, variant);
        self.types.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    const CODE: &str = "\
pub mod training { pub fn train() {} pub mod deep { pub fn dive() {} } }
pub struct Batch { n_tokens: usize }
pub enum Task { Sft { steps: usize } }
pub trait Policy { fn generate(&self); }
impl Policy for Batch { fn generate(&self) {} }
impl Task { fn check() {} }
impl Batch { const LIMIT: usize = 3; pub fn of_step() { fn within() {} } }
macro_rules! row { () => {} }
#[cfg(test)]
fn only_in_tests() {}
";

    const SECTIONS: &str = "\n## The path of a question\n\n## The path of a key\n";

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
        let map = map + SECTIONS;
        definitions.check(&map).into_iter().map(|it| format!("{}: {}", it.place, it.rule)).collect()
    }

    #[test]
    fn what_a_path_names_is_defined() {
        let known = "\
`training`, `train`, `train()`, `training::train`, `crate::training::train`, `row!`, `Batch`,
`n_tokens`, `Task::Sft`, `Policy::generate`, `Batch::LIMIT`, `of_step`, `within`, `forage_loop`,
`batch.rs`, `run/batch.rs`, `crates/loop/src/run/batch.rs`, `serde::Deserialize`, `std::fs`,
`serde`, `toml_edit::Document`, `training.steps`, `[training]`, `metrics.jsonl`, `Vec<Batch>`,
`Batch::generate`, `Task::check`, `Task::Sft::steps`, `batch::Batch`, `run::Batch::of_step`,
`forage_loop::batch::train`, `training::deep::dive`, `training::dive`, `run::training::train`,
`cargo xtask`, `forage-loop`, `&dyn Policy`, `xtask/src/tidy.rs`, and train in prose.
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
            "Batch::train",
            "Batch::within",
            "Task::of_step",
            "Task::Sft::n_tokens",
            "Policy::LIMIT",
            "training::Batch",
            "train::train",
            "deep::train",
            "deep::training::train",
            "nowhere::Batch",
            "forage_trainer::train",
            "crate::improve",
        ] {
            let expected = "which nothing under `crates/` is called";
            assert_eq!(
                unknown("### The path of a key", &format!("`Batch` and\n`{word}`")),
                [format!("ARCHITECTURE.md:8: names `{word}`, {expected}")]
            );
        }
    }

    #[test]
    fn other_sections_name_files_and_qualified_names() {
        let known = "`trained`, `batch.rs`, `Batch::of_step`, `std::fs`, `serde::de`, `row`, `a.b`";
        assert!(unknown("## Paths", known).is_empty());
        for word in ["Batch::of_steps", "training::stop()", "atch.rs", "crates/loop/src/old.rs"] {
            let rule = format!("names `{word}`, which nothing under `crates/` is called");
            let found = unknown("## Paths", &format!("`trained`,\n`{word}`"));
            assert_eq!(found, [format!("ARCHITECTURE.md:8: {rule}")]);
        }
    }

    #[test]
    fn a_section_under_another_heading_is_missed() {
        let found = |map: &str| -> Vec<_> {
            Definitions::default().check(map).into_iter().map(|finding| finding.rule).collect()
        };
        assert_eq!(found(SECTIONS), [""; 0]);
        for begin in REQUIRED {
            let rule = format!("has no section \"{begin} …\"");
            for other in ["The way of a question", "Keys: The path of a key"] {
                assert_eq!(found(&SECTIONS.replace(begin, other)), [rule.as_str()]);
            }
            let fenced = format!("```text\n## {begin}\n```\n");
            assert_eq!(found(&(SECTIONS.replace(begin, "Other") + &fenced)), [rule.as_str()]);
        }
    }
}
