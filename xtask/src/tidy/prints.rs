//! Prints of libraries: only crates whose invariant says so may print.
//!
//! The table "Crates" of ARCHITECTURE.md names them; see [`super::layers::may_print`].

use proc_macro2::TokenTree;
use syn::visit::{self, Visit};

use super::Finding;
use super::source::{self, Source};

/// Macros that write to standard output or standard error.
const PRINTS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// Checks a file of a crate that may not print.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut prints = Prints::default();
    prints.visit_file(&source.syntax);
    let findings = prints.found.into_iter().map(|(name, line)| Finding {
        place: format!("{}:{line}", source.path),
        rule: format!("`{name}!` in a library"),
        mend: "return what is to be said; the program prints it",
    });
    findings.collect()
}

/// Collects the names and lines of prints.
#[derive(Default)]
struct Prints {
    found: Vec<(String, usize)>,
}

impl Prints {
    fn add(&mut self, macro_name: &syn::Ident) {
        let name = macro_name.to_string();
        if PRINTS.contains(&name.as_str()) {
            self.found.push((name, macro_name.span().start().line));
        }
    }
}

impl<'ast> Visit<'ast> for Prints {
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(last) = call.path.segments.last() {
            self.add(&last.ident);
        }
        source::for_each_level(call.tokens.clone(), &mut |tokens| {
            for pair in tokens.windows(2) {
                if let [TokenTree::Ident(name), TokenTree::Punct(bang)] = pair
                    && bang.as_char() == '!'
                {
                    self.add(name);
                }
            }
        });
        visit::visit_macro(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places and macros of the prints in a file.
    fn prints(text: &str) -> Vec<String> {
        let findings =
            source::parse_all(&[("a.rs", text)]).iter().flat_map(check).collect::<Vec<_>>();
        findings.iter().map(|finding| format!("{}: {}", finding.place, finding.rule)).collect()
    }

    #[test]
    fn every_print_is_found() {
        for (text, name) in [
            ("fn a() {\n    println!(\"b\");\n}", "println"),
            ("fn a() {\n    std::eprintln!(\"b\")\n}", "eprintln"),
            ("fn a() -> u8 {\n    dbg!(3)\n}", "dbg"),
            ("fn a() {\n    if b { print!(\"c\") }\n}", "print"),
            ("impl A {\n    fn a() { eprint!(\"b\") }\n}", "eprint"),
            ("fn a() {\n    vec![1, { println!(); 2 }];\n}", "println"),
            ("macro_rules! a { () => {\n    println!(\"b\") } }", "println"),
        ] {
            assert_eq!(prints(text), [format!("a.rs:2: `{name}!` in a library")], "{text}");
        }
    }

    #[test]
    fn what_does_not_print_is_not() {
        for text in [
            "/// println!(\"a\")\nfn a() {}",
            "//! ```\n//! println!();\n//! ```",
            "fn a() { b(\"println!()\", r#\"dbg!()\"#) } // dbg!()",
            "fn println() { println(); write!(a, \"b\"); print != b; call!(print == 3) }",
            "#[cfg(test)] mod tests { fn a() { println!() } }",
            "#[test] fn a() { dbg!(b) }",
        ] {
            assert!(prints(text).is_empty(), "{text}");
        }
    }
}
