//! Paths in code: the modules that the names of a module lead to, with their lines.
//!
//! Imports, types, patterns and calls are read from the syntax tree, the arguments of macros and
//! attributes token by token, since no parser knows their grammar. A text in an attribute that could
//! be a type or function, as in `#[serde(with = "crate::a::b")]`, is a path, too.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::modules::{self, Modules, Position};
use super::source;

/// Collects the modules that the paths of a module lead to, with their lines; not those of the
/// modules within it.
pub(super) struct Paths<'a, 'b> {
    modules: &'b Modules<'a>,
    module: usize,
    /// The modules that define what the module uses, and the lines where it does.
    pub(super) targets: Vec<(usize, usize)>,
    /// Lines with a `*` of the root or of another module above.
    pub(super) globs_of_above: Vec<usize>,
}

impl<'a, 'b> Paths<'a, 'b> {
    /// Reads the paths of a module.
    pub(super) fn read(modules: &'b Modules<'a>, module: usize) -> Self {
        let mut paths = Self { modules, module, targets: Vec::new(), globs_of_above: Vec::new() };
        for item in modules.0[module].items {
            paths.visit_item(item);
        }
        paths
    }

    /// Adds the modules that a path leads to.
    fn add(&mut self, path: &[String], position: Position, line: usize) {
        let targets = self.modules.defining(self.module, path, position);
        self.targets.extend(targets.into_iter().map(|target| (target, line)));
    }

    /// Adds the paths and imports among the tokens of a macro or attribute, without those within brackets.
    fn add_tokens(&mut self, tokens: &[TokenTree]) {
        let mut idx = 0;
        while idx < tokens.len() {
            let (import, path) = (import_at(tokens, idx), path_at(tokens, idx));
            if let Some((import, n_tokens)) = import {
                self.visit_item_use(&import);
                idx += n_tokens;
            } else if let Some((path, line)) = path {
                // Names and the two colons between them.
                idx += 3 * path.len() - 2;
                if path.len() > 1 {
                    self.add(&path, Position::Code, line);
                }
            } else {
                idx += 1;
            }
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_, '_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for import in modules::imports(item) {
            self.add(&import.path, Position::Import, import.line);
            if self.modules.is_glob_of_above(self.module, &import) {
                self.globs_of_above.push(import.line);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let names: Vec<_> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(&names, Position::Code, path.segments[0].ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        source::for_each_level(call.tokens.clone(), &mut |tokens| self.add_tokens(tokens));
        visit::visit_macro(self, call);
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {
        // Its paths are read in their own module.
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {
        // `pub(in path)` uses nothing.
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // The name of an attribute is another crate's, and documentation is no list.
        let syn::Meta::List(list) = &attribute.meta else { return };
        source::for_each_level(list.tokens.clone(), &mut |tokens| {
            self.add_tokens(tokens);
            for path in tokens.iter().filter_map(quoted_path) {
                self.visit_type(&path);
            }
        });
    }
}

/// The path of a type or function that a literal of text is, at the line of the literal.
fn quoted_path(token: &TokenTree) -> Option<syn::Type> {
    let TokenTree::Literal(literal) = token else { return None };
    let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) else { return None };
    text.parse().ok()
}

/// The import that begins at a token, and its number of tokens.
fn import_at(tokens: &[TokenTree], idx: usize) -> Option<(syn::ItemUse, usize)> {
    if !matches!(&tokens[idx], TokenTree::Ident(ident) if ident == "use") {
        return None;
    }
    let n_tokens = tokens[idx..].iter().position(|token| source::is_punct(token, ';'))? + 1;
    let import: TokenStream = tokens[idx..idx + n_tokens].iter().cloned().collect();
    Some((syn::parse2(import).ok()?, n_tokens))
}

/// The path that begins at a token, and its line; a path of one name is no more than a name.
fn path_at(tokens: &[TokenTree], idx: usize) -> Option<(Vec<String>, usize)> {
    let TokenTree::Ident(first) = &tokens[idx] else { return None };
    let follows_colons =
        idx >= 2 && tokens[idx - 2..idx].iter().all(|it| source::is_punct(it, ':'));
    let mut path = vec![first.to_string()];
    let mut rest = &tokens[idx + 1..];
    while let [colon, second, TokenTree::Ident(name), after @ ..] = rest
        && [colon, second].iter().all(|it| source::is_punct(it, ':'))
    {
        path.push(name.to_string());
        rest = after;
    }
    (!follows_colons).then(|| (path, first.span().start().line))
}
