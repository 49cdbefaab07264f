//! Names of the arguments of closures: `it` only where the closure is one call or one field.

use proc_macro2::{Delimiter, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, ExprClosure, Pat, Token};

use super::Finding;
use super::source::{self, Source};

/// The name that a longer closure must not give to an argument.
const SHORT_NAME: &str = "it";

/// Finds the closures that are more than one call and name an argument `it`.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut closures = Closures::default();
    closures.visit_file(&source.syntax);
    let findings = closures.lines.into_iter().map(|line| Finding {
        place: format!("{}:{line}", source.path),
        rule: format!("`{SHORT_NAME}` as argument of a closure that is more than one call"),
        mend: "name the argument after what it is",
    });
    findings.collect()
}

/// Collects the lines of the closures that break the rule.
#[derive(Default)]
struct Closures {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for Closures {
    fn visit_expr_closure(&mut self, closure: &'ast ExprClosure) {
        if closure.inputs.iter().any(binds_short_name) {
            let mut steps = Steps::default();
            steps.visit_expr(&closure.body);
            if steps.n > 1 {
                self.lines.push(closure.span().start().line);
            }
        }
        visit::visit_expr_closure(self, closure);
    }

    /// Looks into the arguments of a macro that takes expressions, such as `format!`.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let parse = Punctuated::<Expr, Token![,]>::parse_terminated;
        if let Ok(arguments) = call.parse_body_with(parse) {
            let mut inner = Closures::default();
            arguments.iter().for_each(|argument| inner.visit_expr(argument));
            self.lines.extend(inner.lines);
        }
    }
}

/// Whether a pattern gives the short name to what it matches.
fn binds_short_name(pattern: &Pat) -> bool {
    match pattern {
        Pat::Ident(name) => name.ident == SHORT_NAME,
        Pat::Reference(reference) => binds_short_name(&reference.pat),
        Pat::Type(typed) => binds_short_name(&typed.pat),
        Pat::Paren(paren) => binds_short_name(&paren.pat),
        Pat::Tuple(tuple) => tuple.elems.iter().any(binds_short_name),
        Pat::TupleStruct(tuple) => tuple.elems.iter().any(binds_short_name),
        _ => false,
    }
}

/// Counts what an expression does: calls, fields, indices, macros and branches.
#[derive(Default)]
struct Steps {
    n: usize,
}

impl<'ast> Visit<'ast> for Steps {
    fn visit_expr(&mut self, expression: &'ast Expr) {
        self.n += match expression {
            Expr::Call(_)
            | Expr::MethodCall(_)
            | Expr::Field(_)
            | Expr::Index(_)
            | Expr::Macro(_)
            | Expr::Struct(_) => 1,
            Expr::Block(_) | Expr::Match(_) | Expr::If(_) | Expr::Closure(_) => 2,
            _ => 0,
        };
        visit::visit_expr(self, expression);
    }

    /// Counts the calls and fields among the tokens of a macro.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        source::for_each_level(call.tokens.clone(), &mut |tokens| {
            self.n += tokens.windows(2).filter(|pair| is_step(&pair[0], &pair[1])).count();
        });
    }
}

/// Whether two tokens are a field or a method, or the name and the arguments of a function.
fn is_step(first: &TokenTree, second: &TokenTree) -> bool {
    match second {
        TokenTree::Ident(_) => source::is_punct(first, '.'),
        TokenTree::Group(group) => {
            matches!(first, TokenTree::Ident(_)) && group.delimiter() == Delimiter::Parenthesis
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of the closures that break the rule.
    fn lines(text: &str) -> Vec<usize> {
        let mut closures = Closures::default();
        closures.visit_file(&syn::parse_file(text).expect("Rust"));
        closures.lines
    }

    #[test]
    fn one_call_or_one_field_may_be_short() {
        for body in [
            "|it| it.len()",
            "|it| it.len() > 3",
            "|&it| it",
            "|it| *it as f32 / n",
            "|it| it.name",
            "|it| !read(it)",
            "|it| format!(\"{it}\")",
            "|(_, it)| it + 1",
            "|name| name.trim().len()",
            "|it| it.get(&other)",
        ] {
            assert!(lines(&format!("fn a() {{ b({body}) }}")).is_empty(), "{body}");
        }
    }

    #[test]
    fn more_than_one_step_wants_a_name() {
        for body in [
            "|it| it.trim().len()",
            "|it| it.a.b",
            "|it| f(g(it))",
            "|it| Some(it.len())",
            "|(_, it)| it.a() + it.b()",
            "|it: &str| { it.len() }",
            "|it| if it { 1 } else { 2 }",
            "|&it| match it { _ => 1 }",
            "|it| f(it.a)",
            "|it| it[0].len()",
            "|it| c(|other| other + it)",
            "|it| format!(\"{}\", it.len())",
            "|Some(it)| A { b: it.c }",
            "d!(|it| it.trim().len())",
        ] {
            assert_eq!(lines(&format!("fn a() {{\n b({body}) }}")), [2], "{body}");
        }
    }
}
