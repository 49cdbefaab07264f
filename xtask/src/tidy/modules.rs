//! Name resolution: the modules of a crate, and which of them defines what a path names.
//!
//! [`Modules::defining`] follows a path through imports and re-exports. Macros are not expanded: a
//! name that a macro makes belongs to the module that it is looked up in. A name of another crate
//! belongs to none, and imports within a function are known nowhere else in it.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, UseTree};

use super::source::Source;

/// A name that an import brings into a module.
#[derive(Debug, Clone)]
pub(super) struct Import {
    /// The path that is imported.
    pub(super) path: Vec<String>,
    /// Its name here; `None` for `*`.
    name: Option<String>,
    /// Line in its file.
    pub(super) line: usize,
}

/// A module of a crate.
pub(super) struct Module<'a> {
    /// The file that holds it.
    pub(super) file: &'a str,
    /// Its items, modules within included.
    pub(super) items: &'a [Item],
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names of its items other than modules.
    names: BTreeSet<String>,
    imports: Vec<Import>,
}

/// All modules of a crate, the root first.
pub(super) struct Modules<'a>(pub(super) Vec<Module<'a>>);

/// Meaning of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Module(usize),
    /// Something else, in this module.
    Item(usize),
}

/// Position of a path, which says what its last name may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Position {
    /// In `use`: a module or an item.
    Import,
    /// In code: an item.
    Code,
}

impl<'a> Modules<'a> {
    /// Reads the modules below a root such as `src/lib.rs`.
    pub(super) fn read(root: &'a Source, sources: &'a [Source]) -> Self {
        let mut modules = Self(Vec::new());
        let folder = root.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        modules.add(None, &root.path, folder, &root.syntax.items, sources);
        modules
    }

    /// Adds a module and those below it. `folder` holds the files of its children.
    fn add(
        &mut self,
        parent: Option<usize>,
        file: &'a str,
        folder: &str,
        items: &'a [Item],
        sources: &'a [Source],
    ) -> usize {
        let module = self.0.len();
        let imports = items.iter().filter_map(|item| match item {
            Item::Use(item) => Some(imports(item)),
            _ => None,
        });
        self.0.push(Module {
            file,
            items,
            parent,
            children: BTreeMap::new(),
            names: items.iter().filter_map(name).collect(),
            imports: imports.flatten().collect(),
        });
        for item in items {
            let Item::Mod(item) = item else { continue };
            let name = item.ident.to_string();
            let folder = format!("{folder}/{name}");
            let child = if let Some((_, items)) = &item.content {
                Some((file, items.as_slice()))
            } else {
                let files = [format!("{folder}.rs"), format!("{folder}/mod.rs")];
                let source = sources.iter().find(|source| files.contains(&source.path));
                source.map(|source| (source.path.as_str(), source.syntax.items.as_slice()))
            };
            if let Some((file, items)) = child {
                let child = self.add(Some(module), file, &folder, items, sources);
                self.0[module].children.insert(name, child);
            }
        }
        module
    }

    /// The modules that define what a path names in a module; none for another crate's.
    pub(super) fn defining(
        &self,
        module: usize,
        path: &[String],
        position: Position,
    ) -> BTreeSet<usize> {
        let named = self.resolve(module, path, position, &mut BTreeSet::new());
        named.into_iter().map(|(Named::Module(module) | Named::Item(module))| module).collect()
    }

    /// Whether an import is `*` of the root or of another module above the one that has it.
    pub(super) fn is_glob_of_above(&self, module: usize, import: &Import) -> bool {
        let named = self.resolve(module, &import.path, Position::Import, &mut BTreeSet::new());
        let is_above = |above| named.contains(&Named::Module(above));
        import.name.is_none() && self.ancestors(module).any(is_above)
    }

    /// The modules above a module, the nearest first.
    pub(super) fn ancestors(&self, module: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.0[module].parent, |&module| self.0[module].parent)
    }

    /// Follows a path name by name. `seen` holds the look-ups that are under way, since
    /// re-exports may go in a circle.
    fn resolve(
        &self,
        module: usize,
        path: &[String],
        position: Position,
        seen: &mut BTreeSet<(usize, String)>,
    ) -> BTreeSet<Named> {
        let Some((first, rest)) = path.split_first() else { return BTreeSet::new() };
        let mut named = match first.as_str() {
            "crate" => BTreeSet::from([Named::Module(0)]),
            "self" => BTreeSet::from([Named::Module(module)]),
            "super" => self.0[module].parent.into_iter().map(Named::Module).collect(),
            name => self.look_up(module, name, seen),
        };
        for name in rest {
            named = prefer_modules(&named);
            named = named.into_iter().flat_map(|named| self.step(named, name, seen)).collect();
        }
        match position {
            Position::Import => named,
            Position::Code => prefer_items(&named),
        }
    }

    /// Meaning of a name after another one.
    fn step(
        &self,
        named: Named,
        name: &str,
        seen: &mut BTreeSet<(usize, String)>,
    ) -> BTreeSet<Named> {
        let Named::Module(module) = named else { return BTreeSet::from([named]) };
        if name == "super" {
            return self.0[module].parent.into_iter().map(Named::Module).collect();
        }
        let found = self.look_up(module, name, seen);
        if found.is_empty() { BTreeSet::from([Named::Item(module)]) } else { found }
    }

    /// Meaning of a name in a module: its own, imported, or through `*`.
    fn look_up(
        &self,
        module: usize,
        name: &str,
        seen: &mut BTreeSet<(usize, String)>,
    ) -> BTreeSet<Named> {
        if !seen.insert((module, name.to_owned())) {
            return BTreeSet::new();
        }
        let here = &self.0[module];
        let mut found: BTreeSet<_> =
            here.children.get(name).map(|&child| Named::Module(child)).into_iter().collect();
        if here.names.contains(name) {
            found.insert(Named::Item(module));
        }
        for import in here.imports.iter().filter(|import| import.name.as_deref() == Some(name)) {
            let imported = self.resolve(module, &import.path, Position::Import, seen);
            if imported.is_empty() && import.path.first().map(String::as_str) != Some(name) {
                // It is another crate's, under a name of this module.
                found.insert(Named::Item(module));
            }
            found.extend(imported);
        }
        if found.is_empty() {
            for import in here.imports.iter().filter(|import| import.name.is_none()) {
                for glob in self.resolve(module, &import.path, Position::Import, seen) {
                    if let Named::Module(glob) = glob {
                        found.extend(self.look_up(glob, name, seen));
                    }
                }
            }
        }
        seen.remove(&(module, name.to_owned()));
        found
    }
}

/// Modules, if there are any: only they have names within.
fn prefer_modules(named: &BTreeSet<Named>) -> BTreeSet<Named> {
    prefer(named, |named| matches!(named, Named::Module(_)))
}

/// Items, if there are any: no path in code ends in a module.
fn prefer_items(named: &BTreeSet<Named>) -> BTreeSet<Named> {
    prefer(named, |named| matches!(named, Named::Item(_)))
}

fn prefer(named: &BTreeSet<Named>, is_preferred: fn(&Named) -> bool) -> BTreeSet<Named> {
    let preferred: BTreeSet<_> = named.iter().copied().filter(is_preferred).collect();
    if preferred.is_empty() { named.clone() } else { preferred }
}

/// The name that an item other than a module defines in its module.
pub(super) fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// The names that `use` brings in, one for each leaf of its tree.
pub(super) fn imports(item: &syn::ItemUse) -> Vec<Import> {
    let mut imports = Vec::new();
    // `use ::name` is always another crate's.
    if item.leading_colon.is_none() {
        add_imports(&item.tree, &mut Vec::new(), &mut imports);
    }
    imports
}

/// Adds the leaves of a tree, which stands behind `path`.
fn add_imports(tree: &UseTree, path: &mut Vec<String>, imports: &mut Vec<Import>) {
    match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            add_imports(&tree.tree, path, imports);
            path.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                add_imports(tree, path, imports);
            }
        }
        UseTree::Name(tree) => imports.push(import(path, &tree.ident, &tree.ident)),
        UseTree::Rename(tree) => imports.push(import(path, &tree.ident, &tree.rename)),
        UseTree::Glob(tree) => {
            let line = tree.star_token.spans[0].start().line;
            imports.push(Import { path: path.clone(), name: None, line });
        }
    }
}

/// The import of `path::ident` as `name`. `path::{self}` is that of `path`.
fn import(path: &[String], ident: &syn::Ident, name: &syn::Ident) -> Import {
    let line = ident.span().start().line;
    let mut path = path.to_vec();
    let mut name = name.to_string();
    if ident != "self" || path.is_empty() {
        path.push(ident.to_string());
    } else if name == "self" {
        name = path.last().cloned().unwrap_or_default();
    }
    Import { path, name: Some(name), line }
}
