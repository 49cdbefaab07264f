//! Names in the map: what a section "The path of …" of ARCHITECTURE.md names is in the code.
//!
//! Such a section tells which function calls which, and would age unseen. Every word in backticks
//! that could be a Rust name, a path of names or a Rust file has to be one.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{ImplItem, Item, TraitItem};

use super::Finding;
use super::layers::Member;
use super::modules;
use super::source::Source;

/// The beginning of the headings of such sections.
const HEADING: &str = "The path of";

/// What a workspace defines.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    names: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Definitions {
    /// Adds a crate under `crates/`: its name, those of its dependencies, and what it defines.
    pub(super) fn add_member(&mut self, member: &Member, sources: &[Source]) {
        if member.folder.starts_with("crates/") {
            let packages = member.dependencies.iter().chain([&member.package]);
            self.names.extend(packages.map(|package| package.replace('-', "_")));
            sources.iter().for_each(|source| self.add_source(source));
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

    /// Whether a word is no Rust name, or one of those that are defined.
    fn knows(&self, word: &str) -> bool {
        if is_rust_file(word) {
            return self.files.iter().any(|file| format!("/{file}").ends_with(&format!("/{word}")));
        }
        let path = word.trim_end_matches("()").trim_end_matches('!');
        let names: Vec<_> = path.split("::").collect();
        let is_path = names.iter().all(|name| syn::parse_str::<syn::Ident>(name).is_ok());
        !is_path || names.iter().all(|name| self.names.contains(*name))
    }
}

fn is_rust_file(word: &str) -> bool {
    !word.contains([' ', '*', '<']) && word.ends_with(".rs")
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
