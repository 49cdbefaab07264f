//! Prints of libraries: only crates whose invariant says so may print.
//!
//! The table "Crates" of ARCHITECTURE.md names them; see [`super::layers::may_print`].

use proc_macro2::{Delimiter, TokenTree};
use syn::visit::{self, Visit};

use super::Finding;
use super::source::{self, Source};

/// Macros that write to standard output or standard error.
const PRINTS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// Functions that give standard output or standard error, to which `write!` prints.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// Checks a file of a crate that may not print.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut prints = Prints::default();
    prints.visit_file(&source.syntax);
    let findings = prints.found.into_iter().map(|(name, line)| Finding {
        place: format!("{}:{line}", source.path),
        rule: format!("`{name}` in a library"),
        mend: "return what is to be said; the program prints it",
    });
    findings.collect()
}

/// Collects the macros and functions that print, and their lines.
#[derive(Default)]
struct Prints {
    found: Vec<(String, usize)>,
}

impl Prints {
    fn add_macro(&mut self, macro_name: &syn::Ident) {
        let name = macro_name.to_string();
        if PRINTS.contains(&name.as_str()) {
            self.found.push((format!("{name}!"), macro_name.span().start().line));
        }
    }

    fn add_call(&mut self, function: &syn::Ident) {
        let name = function.to_string();
        if STREAMS.contains(&name.as_str()) {
            self.found.push((format!("{name}()"), function.span().start().line));
        }
    }

    /// Adds the macros and calls among the tokens of a macro, without those within brackets.
    fn add_tokens(&mut self, tokens: &[TokenTree]) {
        for (idx, token) in tokens.iter().enumerate() {
            let TokenTree::Ident(name) = token else { continue };
            let is_method = idx > 0 && source::is_punct(&tokens[idx - 1], '.');
            match tokens.get(idx + 1) {
                Some(TokenTree::Punct(bang)) if bang.as_char() == '!' => self.add_macro(name),
                Some(TokenTree::Group(arguments)) => {
                    let is_call = arguments.delimiter() == Delimiter::Parenthesis;
                    if is_call && !is_method {
                        self.add_call(name);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Prints {
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(last) = call.path.segments.last() {
            self.add_macro(&last.ident);
        }
        source::for_each_level(call.tokens.clone(), &mut |tokens| self.add_tokens(tokens));
        visit::visit_macro(self, call);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && let Some(last) = function.path.segments.last()
        {
            self.add_call(&last.ident);
        }
        visit::visit_expr_call(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places and rules of the prints in a file.
    fn prints(text: &str) -> Vec<String> {
        let findings =
            source::parse_all(&[("a.rs", text)]).iter().flat_map(check).collect::<Vec<_>>();
        findings.iter().map(|finding| format!("{}: {}", finding.place, finding.rule)).collect()
    }

    #[test]
    fn every_print_is_found() {
        for (text, name) in [
            ("fn a() {\n    println!(\"b\");\n}", "println!"),
            ("fn a() {\n    std::eprintln!(\"b\")\n}", "eprintln!"),
            ("fn a() -> u8 {\n    dbg!(3)\n}", "dbg!"),
            ("fn a() {\n    if b { print!(\"c\") }\n}", "print!"),
            ("impl A {\n    fn a() { eprint!(\"b\") }\n}", "eprint!"),
            ("fn a() {\n    vec![1, { println!(); 2 }];\n}", "println!"),
            ("macro_rules! a { () => {\n    println!(\"b\") } }", "println!"),
            ("fn a() {\n    writeln!(std::io::stdout(), \"b\");\n}", "stdout()"),
            ("fn a() {\n    write!(io::stderr().lock(), \"b\");\n}", "stderr()"),
            ("fn a() {\n    stdout().write_all(b);\n}", "stdout()"),
            ("fn a() {\n    to_writer(::std::io::stderr(), b)\n}", "stderr()"),
        ] {
            assert_eq!(prints(text), [format!("a.rs:2: `{name}` in a library")], "{text}");
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
            "#[test] fn a() { writeln!(std::io::stdout(), \"b\") }",
            "fn a(stdout: A) { b.stdout(c).stderr(d()); vec![b.stdout(c)]; writeln!(stdout, \"b\") }",
            "struct A { stderr: B } // stderr()",
        ] {
            assert!(prints(text).is_empty(), "{text}");
        }
    }
}
