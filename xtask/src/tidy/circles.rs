//! Circles of imports between the files of a crate.
//!
//! A file imports another where a path in it, of `use` or in code, names something that the other
//! defines; re-exports are followed to the definition. A circle is a finding unless one of its
//! files is a module above all others: a module and its own children may use each other.
//!
//! A `*` of the root or of a module above hides which files are imported, and is a finding, too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Finding;
use super::modules::Modules;
use super::paths::Paths;
use super::source::Source;

/// The imports between the files of a crate.
#[derive(Debug, Default)]
struct Graph<'a> {
    /// Lines of the imports by the file that has them and the file that is imported.
    imports: BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<usize>>>,
    /// Files of the modules above those of a file.
    above: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Files and lines of imports of all that a module above has.
    globs_of_above: BTreeSet<(&'a str, usize)>,
}

/// Number of lines of an import that a finding names at most; the first is most often `use`.
const MOST_LINES_SHOWN: usize = 3;

/// Checks one crate. `folder` is that of its sources, which all paths begin with.
pub(super) fn check(folder: &str, sources: &[Source]) -> Vec<Finding> {
    let graph = Graph::read(folder, sources);
    let globs = graph.globs_of_above.iter().map(|(file, line)| Finding {
        place: format!("{file}:{line}"),
        rule: "a glob import hides what is imported".to_owned(),
        mend: "name what is used of the module above",
    });
    let circles = graph.circles();
    let circles = circles.into_iter().map(|circle| Finding {
        place: folder.to_owned(),
        rule: format!("imports go in a circle: {}", graph.show(folder, &circle)),
        mend: "move what both use into a file of its own, below both",
    });
    globs.chain(circles).collect()
}

impl<'a> Graph<'a> {
    /// Reads the imports below the roots of a crate.
    fn read(folder: &str, sources: &'a [Source]) -> Self {
        let mut graph = Self::default();
        for root in sources.iter().filter(|source| is_root(folder, &source.path)) {
            graph.add_modules(&Modules::read(root, sources));
        }
        graph
    }

    /// Adds the imports of modules, and which files are above which.
    fn add_modules(&mut self, modules: &Modules<'a>) {
        for (idx, module) in modules.0.iter().enumerate() {
            let imports = self.imports.entry(module.file).or_default();
            let paths = Paths::read(modules, idx);
            let globs = paths.globs_of_above.into_iter().map(|line| (module.file, line));
            self.globs_of_above.extend(globs);
            for (target, line) in paths.targets {
                let file = modules.0[target].file;
                if file != module.file {
                    imports.entry(file).or_default().insert(line);
                }
            }
            let above = modules.ancestors(idx).map(|ancestor| modules.0[ancestor].file);
            let above = above.filter(|&file| file != module.file);
            self.above.entry(module.file).or_default().extend(above);
        }
    }

    /// For each file, a shortest circle through one of its imports; each circle once.
    fn circles(&self) -> BTreeSet<Vec<&'a str>> {
        let shortest = self.imports.iter().filter_map(|(&from, targets)| {
            let circles = targets.keys().filter_map(|&to| self.shortest_circle(from, to));
            circles.min_by_key(Vec::len)
        });
        let begin_with_first = |mut circle: Vec<&'a str>| {
            let first = (0..circle.len()).min_by_key(|&idx| circle[idx]);
            circle.rotate_left(first.unwrap_or(0));
            circle
        };
        shortest.map(begin_with_first).collect()
    }

    /// The shortest circle through one import, found breadth first.
    ///
    /// Files above both ends are left out. A circle with a file above all others is never found
    /// then, and every other circle is by one of its imports: one that leads out of the part of it
    /// that is below one of its topmost files.
    fn shortest_circle(&self, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
        let (above_from, above_to) = (&self.above[from], &self.above[to]);
        if above_from.contains(to) || above_to.contains(from) {
            return None;
        }
        let is_above_both = |file| above_from.contains(file) && above_to.contains(file);
        let mut came_from = BTreeMap::from([(to, from)]);
        let mut queue = VecDeque::from([to]);
        while let Some(file) = queue.pop_front() {
            if file == from {
                return Some(way(&came_from, from));
            }
            for &next in self.imports.get(file).into_iter().flat_map(BTreeMap::keys) {
                if !came_from.contains_key(next) && !is_above_both(next) {
                    came_from.insert(next, file);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// `a.rs:3 -> b.rs:7,9 -> a.rs`, with the lines of each import.
    fn show(&self, folder: &str, circle: &[&'a str]) -> String {
        let short = |file: &'a str| file.strip_prefix(folder).unwrap_or(file).trim_matches('/');
        let arrow = |(idx, &file): (usize, &&'a str)| {
            let next = circle[(idx + 1) % circle.len()];
            let lines = self.imports[file][next].iter().take(MOST_LINES_SHOWN);
            let lines: Vec<_> = lines.map(ToString::to_string).collect();
            format!("{}:{} -> ", short(file), lines.join(","))
        };
        let arrows: String = circle.iter().enumerate().map(arrow).collect();
        arrows + circle.first().map_or("", |&first| short(first))
    }
}

/// The files of a circle, the first one first, by the file that each was reached from.
fn way<'a>(came_from: &BTreeMap<&'a str, &'a str>, first: &'a str) -> Vec<&'a str> {
    let before = |&file: &&'a str| (file != first).then(|| came_from[file]);
    let mut circle: Vec<_> = std::iter::successors(Some(came_from[first]), before).collect();
    circle.reverse();
    circle
}

/// Whether a file is the root of a library or binary, not a module of another file.
fn is_root(folder: &str, path: &str) -> bool {
    let path = path.strip_prefix(folder).unwrap_or(path);
    ["/lib.rs", "/main.rs"].contains(&path) || path.starts_with("/bin/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    const LIB: &str = "mod a; mod b; mod c; pub use b::B; pub use c::*;";

    /// The circles of a crate with this `lib.rs` and other files.
    fn circles(lib: &str, files: &[(&str, &str)]) -> Vec<String> {
        let files = [&[("c/src/lib.rs", lib)], files].concat();
        let findings = check("c/src", &source::parse_all(&files));
        let circle = |finding: &Finding| {
            let (_, circle) = finding.rule.split_once("circle: ").expect("a circle");
            circle.to_owned()
        };
        findings.iter().map(circle).collect()
    }

    /// Whether `a.rs`, which has this text, imports `b.rs`, which imports `a.rs`.
    fn imports_b(text: &str) -> bool {
        let b = "use crate::a::A; pub struct B; pub fn f() {} pub mod inner { pub struct I; }";
        !circles(LIB, &[("c/src/a.rs", text), ("c/src/b.rs", b), ("c/src/c.rs", "")]).is_empty()
    }

    #[test]
    fn every_kind_of_path_is_an_import() {
        for text in [
            "use crate::b::B;",
            "use crate::b;",
            "use super::b::B;",
            "use self::super::b::B;",
            "pub use crate::b::*;",
            "use crate::b::B as Other;",
            "use crate::b::{self};",
            "use crate::b::{self as other};",
            "use {std::fmt, crate::{c, b::{inner::{I as J}}}};",
            "use crate::B;",
            "use crate::{c::C, B as Other};",
            "use crate::b::unknown_macro_name;",
            "fn f() { use crate::b::B; }",
            "fn f() { crate::b::f(); }",
            "fn f() -> super::b::B { todo() }",
            "fn f(x: Vec<Option<crate::B>>) {}",
            "fn f() { let crate::b::B = x; }",
            "impl crate::b::B { fn g() {} }",
            "impl<T: crate::b::B> X for T {}",
            "mod inner { use crate::b::B; }",
            "mod inner { fn f() { super::super::b::f() } }",
            "fn f() { println!(\"{}\", crate::b::f()) }",
            "fn f() { vec![(1, { super::b::f() })] }",
            "macro_rules! m { ($x:expr) => { $crate::b::f($x) }; }",
            "macro_rules! m { () => { use crate::{c, b::B}; }; }",
            "fn f() { call!(<crate::b::B as Trait>::f) }",
            "use crate::b as other; fn f() { other::f() }",
            "struct A { #[serde(with = \"crate::b\")] x: u8 }",
            "struct A { #[serde(default, with = \"crate::b::inner\")] x: u8 }",
            "#[serde(try_from = \"Vec<super::b::B>\")] struct A;",
            "#[cfg_attr(feature = \"x\", serde(default = \"crate::b::f\"))] struct A;",
            "enum A { #[arg(value_parser = crate::b::f)] X }",
        ] {
            assert!(imports_b(text), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_path_is_none() {
        for text in [
            "// use crate::b::B;",
            "//! [`crate::b::B`]",
            "/// [`crate::b::B`]\npub struct A;",
            "/* use crate::b::B; /* nested */ crate::b::f() */",
            "const A: &str = \"use crate::b::B; crate::b::f()\";",
            "const A: &str = r##\"\"# use crate::b::B; \"##;",
            "const A: &str = concat!(\"crate::b::f()\", r\"super::b\");",
            "const A: char = '\"'; // crate::b",
            "use b::B;",
            "use ::b::B;",
            "fn f() { b::f(); call!(b::f()); call!(::b::f()) }",
            "fn f(b: u8) { b; b.f(); call!(x.crate_b::y) }",
            "pub(in crate::b) struct A;",
            "#[cfg(test)] mod tests { use crate::b::B; fn f() { crate::b::f() } }",
            "#[cfg(test)] use crate::b::B;",
            "#[test] fn f() { crate::b::f() }",
            "impl A { #[cfg(test)] fn f() { crate::b::f() } }",
            "fn f() { #[cfg(test)] crate_b!(crate::b::f()); }",
            "use crate::c::C;",
            "use crate::External;",
            "#[doc = \"crate::b::B\"] struct A;",
            "#[expect(dead_code, reason = \"crate::b is slow\")] struct A;",
            "struct A { #[serde(rename = \"b\")] #[error(\"b::B\")] x: u8 }",
        ] {
            assert!(!imports_b(text), "{text}");
        }
    }

    /// Places of the glob imports that hide what `a/x.rs`, which has this text, imports.
    fn globs(text: &str) -> Vec<String> {
        let a = "pub mod x; pub enum E { V } pub mod deep { pub struct D; }";
        let files = [("c/src/lib.rs", "mod a; mod b;"), ("c/src/a.rs", a), ("c/src/b.rs", "")];
        let files = [files.as_slice(), &[("c/src/a/x.rs", text)]].concat();
        let findings = check("c/src", &source::parse_all(&files));
        let hides = |finding: &&Finding| finding.rule == "a glob import hides what is imported";
        findings.iter().filter(hides).map(|finding| finding.place.clone()).collect()
    }

    #[test]
    fn a_glob_import_of_a_module_above_is_a_finding() {
        for text in [
            "\nuse crate::*;",
            "\nuse super::*;",
            "\nuse super::super::*;",
            "\nuse self::super::*;",
            "\nuse crate::a::*;",
            "\nuse crate::{b::*, *};",
            "use crate as root;\nuse root::*;",
            "\nfn f() { use crate::*; }",
            "\nmod inner { use super::*; }",
            "\nmacro_rules! m { () => { use crate::*; }; }",
        ] {
            assert_eq!(globs(text), ["c/src/a/x.rs:2"], "{text}");
        }
        for text in [
            "use crate::b::*;",
            "use super::deep::*;",
            "use super::E::*;",
            "use std::prelude::v1::*;",
            "#[cfg(test)] mod tests { use super::*; }",
            "#[cfg(test)] use crate::*;",
            "mod inner { pub fn f() {} } use inner::*;",
        ] {
            assert_eq!(globs(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn re_exports_lead_to_the_definition() {
        let lib = "mod a; mod b; pub use b::{deep::Deep, B as Renamed}; pub use b::glob::*;";
        for (a, expected) in [
            ("use crate::Deep;", "a.rs:1 -> b/deep.rs:1 -> a.rs"),
            ("use crate::b::Deep as Other;", "a.rs:1 -> b/deep.rs:1 -> a.rs"),
            ("use crate::Glob;", "a.rs:1 -> b/glob.rs:1 -> a.rs"),
            ("fn f() { crate::Glob::new() }", "a.rs:1 -> b/glob.rs:1 -> a.rs"),
            ("fn f() { crate::b::again::Glob }", "a.rs:1 -> b/glob.rs:1 -> a.rs"),
            ("use crate::Renamed;", "a.rs:1 -> b/mod.rs:2 -> b/deep.rs:1 -> a.rs"),
        ] {
            let found = circles(
                lib,
                &[
                    ("c/src/a.rs", a),
                    (
                        "c/src/b/mod.rs",
                        "pub mod deep; pub mod glob; pub mod again;\npub use deep::*; pub struct B;",
                    ),
                    ("c/src/b/deep.rs", "use crate::a; pub struct Deep;"),
                    ("c/src/b/glob.rs", "use crate::a; pub struct Glob;"),
                    ("c/src/b/again.rs", "pub use super::glob::Glob;"),
                ],
            );
            assert_eq!(found, [expected], "{a}");
        }
    }

    #[test]
    fn re_exports_in_a_circle_end() {
        let files = [
            ("c/src/a.rs", "pub use crate::b::*;"),
            ("c/src/b.rs", "pub use crate::a::*; use crate::a::X;"),
        ];
        assert_eq!(circles(LIB, &files), ["a.rs:1 -> b.rs:1 -> a.rs"]);
    }

    #[test]
    fn names_of_two_kinds_are_told_apart() {
        // `crate::b` is a module in `use` and before `::`, and a function of `c` where it is
        // called.
        let lib = "mod a; pub mod b; mod c; pub use c::b;";
        for (a, expected) in [
            ("fn f() { crate::b() }", "a.rs:1 -> c.rs:1 -> a.rs"),
            ("fn f() { crate::b::f() }", "a.rs:1 -> b.rs:1 -> a.rs"),
        ] {
            let files = [
                ("c/src/a.rs", a),
                ("c/src/b.rs", "use crate::a; pub fn f() {}"),
                ("c/src/c.rs", "use crate::a; pub fn b() {}"),
            ];
            assert_eq!(circles(lib, &files), [expected], "{a}");
        }
    }

    #[test]
    fn a_module_and_its_children_may_use_each_other() {
        let lib = "mod a; mod other; pub struct Root; use a::A;";
        let parent = ("c/src/a.rs", "mod x; mod y; use x::X; use y::Y; pub struct A;");
        let x = ("c/src/a/x.rs", "use super::A; use crate::Root; pub struct X;");
        let y = ("c/src/a/y.rs", "use super::x::X; pub struct Y;");
        assert!(circles(lib, &[parent, x, y]).is_empty());

        // Children that use each other are a circle, with or without their parent.
        let x_uses_y = ("c/src/a/x.rs", "use super::A;\nuse super::y::Y; pub struct X;");
        assert_eq!(circles(lib, &[parent, x_uses_y, y]), ["a/x.rs:2 -> a/y.rs:1 -> a/x.rs"]);

        // So is one that leads out of the module and back in.
        let out = ("c/src/other.rs", "\nuse crate::a::A; pub struct Other;");
        let y_uses_out = ("c/src/a/y.rs", "use crate::other::Other; pub struct Y;");
        assert_eq!(
            circles(lib, &[parent, x, y_uses_out, out]),
            ["a.rs:1 -> a/y.rs:1 -> other.rs:2 -> a.rs"]
        );
        let into_x = ("c/src/other.rs", "use crate::a::x::X; pub struct Other;");
        let parent_uses_out =
            ("c/src/a.rs", "mod x; mod y; use crate::other::Other; pub struct A;");
        assert_eq!(
            circles(lib, &[parent_uses_out, x, y, into_x]),
            ["a.rs:1 -> other.rs:1 -> a/x.rs:1 -> a.rs"]
        );
    }

    #[test]
    fn binaries_are_crates_of_their_own() {
        let files = [
            ("c/src/main.rs", "mod b;"),
            ("c/src/a.rs", "use crate::b;"),
            ("c/src/b.rs", "use crate::a;"),
            ("c/src/bin/x.rs", "use crate::a;"),
        ];
        assert!(circles("mod a;", &files).is_empty());
    }

    #[test]
    fn a_circle_is_told_with_its_lines() {
        let files = [
            ("c/src/a.rs", "\nuse crate::b::B;\nfn f() {\n    crate::b::f();\n}"),
            ("c/src/b.rs", "use crate::{\n    c::C,\n};"),
            ("c/src/c.rs", "use crate::a::A;"),
        ];
        assert_eq!(circles(LIB, &files), ["a.rs:2,4 -> b.rs:2 -> c.rs:1 -> a.rs"]);
        assert!(circles(LIB, &files[..2]).is_empty());
    }
}
