//! Rules for the text of one source file or manifest.

use super::Finding;

/// Limit of lines of a file.
const MOST_LINES: usize = 900;
/// Number of lines above which a file is warned of.
const MANY_LINES: usize = 700;

/// Forbidden words, each in two halves, with its meaning and what to do instead.
///
/// They are cut in two so that this file holds none of them.
const FORBIDDEN: [(&str, &str, &str, &str); 3] = [
    ("todo", "!(", "is unfinished", "write it, or leave it out"),
    ("unimplemented", "!(", "is unfinished", "write it, or return an error"),
    ("#[", "ignore", "ignores a test", "make the test fast and reliable, or remove it"),
];

/// Checks one Rust file. `path` is only for the findings.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.trim_start().starts_with("//!") {
        findings.push(Finding {
            place: path.to_owned(),
            rule: "does not begin with `//!`".to_owned(),
            mend: "say in a sentence what the file is for, and what it does not know",
        });
    }
    let n_lines = text.lines().count();
    if n_lines > MOST_LINES {
        findings.push(Finding {
            place: path.to_owned(),
            rule: format!("has {n_lines} lines, more than {MOST_LINES}"),
            mend: "split it along one of its types",
        });
    }
    for (idx, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        let place = format!("{path}:{}", idx + 1);
        for (head, tail, rule, mend) in FORBIDDEN {
            if line.contains(&format!("{head}{tail}")) {
                findings.push(Finding { place: place.clone(), rule: rule.to_owned(), mend });
            }
        }
    }
    findings.extend(bare_allows(text).map(|line| Finding {
        place: format!("{path}:{line}"),
        rule: "allows a lint without a reason".to_owned(),
        mend: "use `#[expect(…, reason = \"…\")]`; in a macro, `allow` with a reason",
    }));
    findings
}

/// Warning for a file that is long, but not yet too long.
pub(super) fn warn_of_size(path: &str, text: &str) -> Option<String> {
    let n_lines = text.lines().count();
    (MANY_LINES + 1..=MOST_LINES)
        .contains(&n_lines)
        .then(|| format!("{path}: has {n_lines} lines; above {MOST_LINES} it has to be split"))
}

/// Checks the manifest of a member.
pub(super) fn check_manifest(path: &str, text: &str) -> Option<Finding> {
    let manifest = text.parse::<toml::Table>().ok();
    let inherits = |manifest: &toml::Table| manifest.get("lints")?.get("workspace")?.as_bool();
    (manifest.as_ref().and_then(inherits) != Some(true)).then(|| Finding {
        place: path.to_owned(),
        rule: "does not inherit the lints of the workspace".to_owned(),
        mend: "add `[lints]` with `workspace = true`",
    })
}

/// Lines where an `allow` attribute without a reason begins.
fn bare_allows(text: &str) -> impl Iterator<Item = usize> {
    let attributes = ["#[", "#!["].map(|head| format!("{head}allow("));
    text.lines().enumerate().filter_map(move |(idx, line)| {
        let begins =
            attributes.iter().any(|attribute| line.trim_start().starts_with(attribute.as_str()));
        // An attribute may go over several lines; it ends with the first `)]`.
        let lines = text.lines().skip(idx);
        let has_reason = || {
            let mut attribute = lines.scan(false, |ended, line| {
                (!std::mem::replace(ended, line.contains(")]"))).then_some(line)
            });
            attribute.any(|line| line.contains("reason ="))
        };
        (begins && !has_reason()).then_some(idx + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a file with a module doc; `@` stands where a forbidden word would be cut in two.
    fn rules(code: &str) -> Vec<String> {
        let text = format!("//! Doc.\n{}", code.replace('@', ""));
        check("a.rs", &text).iter().map(|it| format!("{}: {}", it.place, it.rule)).collect()
    }

    #[test]
    fn a_file_begins_with_its_doc() {
        assert!(check("a.rs", "//! Doc.\nfn a() {}\n").is_empty());
        for text in ["", "fn a() {}", "/// Doc.\nfn a() {}", "use std::fmt;\n//! Doc."] {
            assert_eq!(check("a.rs", text)[0].rule, "does not begin with `//!`", "{text}");
        }
    }

    #[test]
    fn unfinished_and_ignored_things_are_found() {
        let cases: [(&str, &[&str]); 5] = [
            ("fn a() { to@do!() }", &["a.rs:2: is unfinished"]),
            ("\nfn a() { unimple@mented!(\"b\") }", &["a.rs:3: is unfinished"]),
            ("#[@ignore]\nfn a() {}", &["a.rs:2: ignores a test"]),
            ("#[@ignore = \"slow\"]\nfn a() {}", &["a.rs:2: ignores a test"]),
            ("// to@do!() in a comment", &[]),
        ];
        for (code, expected) in cases {
            assert_eq!(rules(code), expected, "{code}");
        }
    }

    #[test]
    fn an_allow_has_a_reason() {
        let bare = "a.rs:2: allows a lint without a reason";
        let cases: [(&str, &[&str]); 6] = [
            ("#[al@low(dead_code)]\nfn a() {}", &[bare]),
            ("#![al@low(dead_code)]", &[bare]),
            ("#[al@low(\n  dead_code,\n)]\n#[expect(unused, reason = \"b\")]", &[bare]),
            ("#[al@low(dead_code, reason = \"b\")]", &[]),
            ("#[al@low(\n  dead_code,\n  reason = \"b\",\n)]", &[]),
            ("#[expect(dead_code, reason = \"b\")]", &[]),
        ];
        for (code, expected) in cases {
            assert_eq!(rules(code), expected, "{code}");
        }
    }

    #[test]
    fn long_files_are_warned_of_and_then_refused() {
        // Number of lines, whether it is warned of, whether it is refused.
        for (n_lines, warned, refused) in
            [(700, false, false), (701, true, false), (900, true, false), (901, false, true)]
        {
            let text = "//! Doc.\n".repeat(n_lines);
            assert_eq!(warn_of_size("a.rs", &text).is_some(), warned, "{n_lines}");
            assert_eq!(!check("a.rs", &text).is_empty(), refused, "{n_lines}");
        }
    }

    #[test]
    fn a_manifest_inherits_the_lints() {
        assert_eq!(check_manifest("Cargo.toml", "[lints]\nworkspace = true\n"), None);
        for text in ["", "[lints.rust]\nunsafe_code = 'deny'", "[lints]\nworkspace = false", "[["] {
            assert!(check_manifest("Cargo.toml", text).is_some(), "{text}");
        }
    }
}
