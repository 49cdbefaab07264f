//! Limits of size: the largest crate's share of the lines, the longest function, the median one.
//!
//! Lines of tests do not count, comments and empty lines do.

use std::fmt;

use syn::visit::{self, Visit};

use super::Finding;
use super::source::Source;

/// Limit of a crate's share of the lines under `crates/`, in percent.
const MOST_PERCENT: f64 = 20.0;
/// Limit of a function's lines, from `fn` to the closing brace.
const MOST_FUNCTION_LINES: usize = 80;
/// Limit of the median function's lines.
const MOST_MEDIAN_LINES: usize = 10;

/// A function with a body.
#[derive(Debug, Clone, PartialEq)]
struct Function {
    name: String,
    path: String,
    line: usize,
    n_lines: usize,
}

/// The sizes of a workspace.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// Numbers of lines of the folders under `crates/`.
    crates: Vec<(String, usize)>,
    functions: Vec<Function>,
}

impl Sizes {
    /// Adds a crate: its folder, and its files without those of tests.
    pub(super) fn add(&mut self, folder: &str, sources: &[Source]) {
        if folder.starts_with("crates/") {
            let n_lines = sources.iter().map(|source| source.n_lines).sum();
            self.crates.push((folder.to_owned(), n_lines));
        }
        for source in sources {
            let mut functions = Functions { path: &source.path, found: Vec::new() };
            functions.visit_file(&source.syntax);
            self.functions.extend(functions.found);
        }
    }

    /// Checks the limits.
    pub(super) fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some((folder, percent)) = self.largest_crate()
            && percent > MOST_PERCENT
        {
            findings.push(Finding {
                place: folder.to_owned(),
                rule: format!(
                    "has {percent:.1} % of the lines under `crates/`, more than {MOST_PERCENT} %"
                ),
                mend: "move what does not know the rest of it to a crate of its own",
            });
        }
        let too_long = self.functions.iter().filter(|it| it.n_lines > MOST_FUNCTION_LINES);
        findings.extend(too_long.map(|function| Finding {
            place: format!("{}:{}", function.path, function.line),
            rule: format!(
                "`{}` has {} lines, more than {MOST_FUNCTION_LINES}",
                function.name, function.n_lines
            ),
            mend: "give its parts names: a function for each",
        }));
        if self.median() > MOST_MEDIAN_LINES {
            findings.push(Finding {
                place: "crates, plugins, xtask".to_owned(),
                rule: format!(
                    "the median function has {} lines, more than {MOST_MEDIAN_LINES}",
                    self.median()
                ),
                mend: "split functions along what they do",
            });
        }
        findings
    }

    /// The crate under `crates/` with the most lines, and its percent of all of them.
    fn largest_crate(&self) -> Option<(&str, f64)> {
        let (folder, n_lines) = self.crates.iter().max_by_key(|(_, n_lines)| n_lines)?;
        let all: usize = self.crates.iter().map(|(_, n_lines)| n_lines).sum();
        Some((folder, 100.0 * *n_lines as f64 / all.max(1) as f64))
    }

    /// Lines of the median function; of two in the middle, the shorter one's.
    fn median(&self) -> usize {
        let mut lengths: Vec<_> = self.functions.iter().map(|it| it.n_lines).collect();
        lengths.sort_unstable();
        lengths.get(lengths.len().saturating_sub(1) / 2).copied().unwrap_or(0)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((folder, percent)) = self.largest_crate() {
            write!(f, "largest crate {folder} ({percent:.1} % of the lines), ")?;
        }
        write!(f, "{} functions, median {} lines", self.functions.len(), self.median())?;
        if let Some(longest) = self.functions.iter().max_by_key(|it| it.n_lines) {
            write!(f, ", longest {} (`{}`)", longest.n_lines, longest.name)?;
        }
        Ok(())
    }
}

/// Collects the functions of a file, those within others too.
struct Functions<'a> {
    path: &'a str,
    found: Vec<Function>,
}

impl Functions<'_> {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let line = signature.fn_token.span.start().line;
        self.found.push(Function {
            name: signature.ident.to_string(),
            path: self.path.to_owned(),
            line,
            n_lines: body.brace_token.span.close().end().line + 1 - line,
        });
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    /// The sizes of crates, each with a file of this text.
    fn sizes(crates: &[(&str, &str)]) -> Sizes {
        let mut sizes = Sizes::default();
        for (folder, text) in crates {
            let path = format!("{folder}/src/lib.rs");
            sizes.add(folder, &source::parse_all(&[(&path, text)]));
        }
        sizes
    }

    fn rules(sizes: &Sizes) -> Vec<String> {
        let findings = sizes.check();
        findings.iter().map(|finding| format!("{}: {}", finding.place, finding.rule)).collect()
    }

    /// A function that goes over this number of lines.
    fn function(n_lines: usize) -> String {
        format!("fn a() {{\n{}}}\n", "    b();\n".repeat(n_lines - 2))
    }

    #[test]
    fn a_crate_has_at_most_a_fifth() {
        let of_lines = |n_lines: usize| "//! Doc.\n".repeat(n_lines);
        let (large, medium, small) = (of_lines(21), of_lines(20), of_lines(19));
        let with = |first: &str, others: &str| {
            let others = ["crates/b", "crates/c", "crates/d", "crates/e"].map(|it| (it, others));
            let crates = [&[("crates/a", first), ("plugins/x", &of_lines(500))], &others[..]];
            rules(&sizes(&crates.concat()))
        };
        assert!(with(&medium, &medium).is_empty());
        assert_eq!(
            with(&large, &small),
            ["crates/a: has 21.6 % of the lines under `crates/`, more than 20 %"]
        );
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(70));
        assert!(with(&(tests + &medium.replace('!', "")), &medium).is_empty());
    }

    #[test]
    fn a_function_has_at_most_80_lines() {
        let others = function(3).repeat(3);
        let in_plugin = |text: &str| rules(&sizes(&[("plugins/x", &(others.clone() + text))]));
        let found = |name: &str, n_lines: usize, line: usize| {
            vec![format!("plugins/x/src/lib.rs:{line}: `{name}` has {n_lines} lines, more than 80")]
        };
        assert!(in_plugin(&function(80)).is_empty());
        assert_eq!(in_plugin(&function(81)), found("a", 81, 10));
        let method = format!("impl A {{\n    /// Doc.\n    pub {}}}", function(81));
        assert_eq!(in_plugin(&method), found("a", 81, 12));
        let default = format!("trait A {{\n{}}}", function(81));
        assert_eq!(in_plugin(&default), found("a", 81, 11));
        let within = format!("fn outer() {{\n{}}}", function(79));
        assert_eq!(in_plugin(&within), found("outer", 81, 10));
        let test = format!("#[test]\n{}", function(200));
        assert!(in_plugin(&test).is_empty());
    }

    #[test]
    fn the_median_function_has_at_most_10_lines() {
        let of = |lengths: &[usize]| {
            let text: String = lengths.iter().map(|&n_lines| function(n_lines)).collect();
            sizes(&[("xtask", &text)])
        };
        for (lengths, median) in
            [(&[][..], 0), (&[10], 10), (&[80, 2, 10], 10), (&[2, 10, 12, 80], 10)]
        {
            assert_eq!(of(lengths).median(), median);
            assert!(rules(&of(lengths)).is_empty(), "{lengths:?}");
        }
        assert_eq!(
            rules(&of(&[2, 11, 12])),
            ["crates, plugins, xtask: the median function has 11 lines, more than 10"]
        );
    }

    #[test]
    fn sizes_are_told_in_a_line() {
        let sizes = sizes(&[("crates/a", &function(3)), ("crates/b", &function(4).repeat(2))]);
        assert_eq!(
            sizes.to_string(),
            "largest crate crates/b (72.7 % of the lines), 3 functions, median 4 lines, longest 4 (`a`)"
        );
    }
}
