//! A parsed Rust file without its tests, which no check of the code looks at.
//!
//! [`Source::parse`] takes out whatever is compiled only for tests, so that the visitors of the
//! checks need not know of `#[cfg(test)]`.

use std::mem;

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, ImplItem, Item, Meta, Stmt, Token, TraitItem};

use super::Finding;

/// A parsed Rust file.
pub(super) struct Source {
    /// From the root of the repository, with `/` between folders.
    pub(super) path: String,
    /// Syntax tree without the items and statements that only tests have.
    pub(super) syntax: syn::File,
    /// Number of lines, comments and empty ones included, without those of tests.
    pub(super) n_lines: usize,
    /// Modules of tests in files of their own, such as `src/a/support` of `src/a.rs`.
    test_modules: Vec<String>,
}

impl Source {
    /// Parses a file; what is no Rust is a finding.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, Finding> {
        let mut syntax = syn::parse_file(text).map_err(|err| Finding {
            place: format!("{path}:{}", err.span().start().line),
            rule: format!("cannot be parsed: {err}"),
            mend: "let it compile; where it does, a newer `syn` may know the syntax",
        })?;
        let mut tests = TestRemover::default();
        tests.visit_file_mut(&mut syntax);
        let folder = folder_of_children(path);
        let test_modules = tests.modules.iter().map(|name| format!("{folder}/{name}")).collect();
        let n_lines = text.lines().count() - tests.n_lines;
        Ok(Self { path: path.to_owned(), syntax, n_lines, test_modules })
    }

    /// Whether cargo builds the file only for tests, benchmarks or as an example.
    pub(super) fn is_test(path: &str) -> bool {
        let mut folders = path.split('/');
        let file = folders.next_back();
        file == Some("tests.rs")
            || folders.any(|folder| ["tests", "benches", "examples"].contains(&folder))
    }
}

/// Leaves out the files that are modules only in tests.
pub(super) fn without_test_modules(mut sources: Vec<Source>) -> Vec<Source> {
    let modules: Vec<_> =
        sources.iter_mut().flat_map(|source| mem::take(&mut source.test_modules)).collect();
    sources.retain(|source| {
        let mut rests =
            modules.iter().filter_map(|module| source.path.strip_prefix(module.as_str()));
        !rests.any(|rest| rest == ".rs" || rest.starts_with('/'))
    });
    sources
}

/// The folder with the files of a file's modules.
fn folder_of_children(path: &str) -> &str {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let is_root = ["lib.rs", "main.rs", "mod.rs"].contains(&file);
    if is_root { folder } else { path.trim_end_matches(".rs") }
}

/// Parses files that are given as path and text.
#[cfg(test)]
pub(super) fn parse_all(files: &[(&str, &str)]) -> Vec<Source> {
    let sources = files.iter().map(|(path, text)| Source::parse(path, text).expect("Rust"));
    without_test_modules(sources.collect())
}

/// Removes what only tests have, and counts its lines.
#[derive(Default)]
struct TestRemover {
    n_lines: usize,
    modules: Vec<String>,
}

impl TestRemover {
    fn retain<T: Spanned>(&mut self, nodes: &mut Vec<T>, attributes: fn(&T) -> &[Attribute]) {
        nodes.retain(|node| {
            let is_test = is_test_only(attributes(node));
            if is_test {
                let span = node.span();
                self.n_lines += span.end().line + 1 - span.start().line;
            }
            !is_test
        });
    }

    fn retain_items(&mut self, items: &mut Vec<Item>) {
        for item in items.iter() {
            if let Item::Mod(module) = item
                && module.content.is_none()
                && is_test_only(&module.attrs)
            {
                self.modules.push(module.ident.to_string());
            }
        }
        self.retain(items, item_attributes);
    }
}

impl VisitMut for TestRemover {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        self.retain_items(&mut file.items);
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            self.retain_items(items);
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        self.retain(&mut block.items, |item| match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        });
        visit_mut::visit_item_impl_mut(self, block);
    }

    fn visit_item_trait_mut(&mut self, item: &mut syn::ItemTrait) {
        self.retain(&mut item.items, |item| match item {
            TraitItem::Const(item) => &item.attrs,
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            TraitItem::Macro(item) => &item.attrs,
            _ => &[],
        });
        visit_mut::visit_item_trait_mut(self, item);
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        self.retain(&mut block.stmts, |statement| match statement {
            Stmt::Local(local) => &local.attrs,
            Stmt::Item(item) => item_attributes(item),
            Stmt::Macro(call) => &call.attrs,
            Stmt::Expr(..) => &[],
        });
        visit_mut::visit_block_mut(self, block);
    }
}

fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether attributes leave an item out of every build but that of tests.
fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<Meta>().is_ok_and(|condition| wants_test(&condition))
    })
}

/// Whether a condition of `cfg` holds only in tests.
fn wants_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let parse = Punctuated::<Meta, Token![,]>::parse_terminated;
    let Ok(inner) = list.parse_args_with(parse) else { return false };
    match list.path.get_ident().map(ToString::to_string).as_deref() {
        Some("all") => inner.iter().any(wants_test),
        Some("any") => !inner.is_empty() && inner.iter().all(wants_test),
        _ => false,
    }
}

/// Calls a function with every list of tokens in a macro's arguments, those in brackets included.
pub(super) fn for_each_level(tokens: TokenStream, visit: &mut impl FnMut(&[TokenTree])) {
    let level: Vec<_> = tokens.into_iter().collect();
    visit(&level);
    for token in level {
        if let TokenTree::Group(group) = token {
            for_each_level(group.stream(), visit);
        }
    }
}

/// Whether a token is this character.
pub(super) fn is_punct(token: &TokenTree, expected: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of items and of lines that are left.
    fn left(text: &str) -> (usize, usize) {
        let source = Source::parse("src/a.rs", text).expect("Rust");
        (source.syntax.items.len(), source.n_lines)
    }

    #[test]
    fn tests_are_taken_out_with_their_lines() {
        for (text, expected) in [
            ("//! Doc.\n\nfn a() {}\n", (1, 3)),
            ("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n", (1, 1)),
            ("fn a() {}\n/// Doc.\n#[cfg(test)]\n#[expect(dead_code)]\nfn b() {\n}\n", (1, 1)),
            ("#[test]\nfn a() {}\n#[cfg(test)]\nuse b::c;\n", (0, 0)),
            ("#[cfg(all(test, unix))]\nfn a() {}\n", (0, 0)),
            ("#[cfg(any(test, unix))]\nfn a() {}\n", (1, 2)),
            ("#[cfg(not(test))]\nfn a() {}\n", (1, 2)),
            ("#[cfg(feature = \"test\")]\nfn a() {}\n", (1, 2)),
            ("mod a {\n    #[cfg(test)]\n    fn b() {}\n}\n", (1, 2)),
            ("impl A {\n    fn a() {}\n    #[cfg(test)]\n    fn b() {}\n}\n", (1, 3)),
            ("trait A {\n    #[cfg(test)]\n    fn b();\n}\n", (1, 2)),
            ("fn a() {\n    #[cfg(test)]\n    use b::c;\n    d();\n}\n", (1, 3)),
        ] {
            assert_eq!(left(text), expected, "{text}");
        }
    }

    #[test]
    fn files_of_tests_are_left_out() {
        let sources = parse_all(&[
            ("src/lib.rs", "mod a;\n#[cfg(test)]\nmod support;"),
            ("src/a.rs", "#[cfg(test)]\npub(crate) mod fixture;"),
            ("src/a/fixture.rs", ""),
            ("src/a/fixtures.rs", ""),
            ("src/support/mod.rs", "mod b;"),
            ("src/support/b.rs", ""),
        ]);
        let paths: Vec<_> = sources.iter().map(|source| source.path.as_str()).collect();
        assert_eq!(paths, ["src/lib.rs", "src/a.rs", "src/a/fixtures.rs"]);
        for (path, expected) in [
            ("crates/model/src/tests.rs", true),
            ("crates/model/tests/a.rs", true),
            ("crates/model/benches/a.rs", true),
            ("crates/model/examples/a/main.rs", true),
            ("crates/model/src/contests.rs", false),
        ] {
            assert_eq!(Source::is_test(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_rust_is_a_finding() {
        let finding = Source::parse("src/a.rs", "fn a() {}\nfn {").err().expect("no Rust");
        assert_eq!(finding.place, "src/a.rs:2");
    }
}
