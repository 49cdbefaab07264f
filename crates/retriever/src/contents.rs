//! `contents` of a passage: title and text in one string, as Search-R1 and its relatives write
//! them. The title stands in literal double quotes on the first line, then the text follows.

/// Joins title and text. A passage without a title is its text alone.
pub(crate) fn contents(title: &str, text: &str) -> String {
    if title.is_empty() { text.to_owned() } else { format!("\"{title}\"\n{text}") }
}

/// Splits title and text. A first line without double quotes around it is text.
pub(crate) fn split_contents(contents: &str) -> (&str, &str) {
    let (first, rest) = contents.split_once('\n').unwrap_or((contents, ""));
    let title = first.trim_end().strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    title.map_or(("", contents), |title| (title, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_in_quotes_on_the_first_line() {
        for (contents, title, text) in [
            ("\"Alien\"\nA film.", "Alien", "A film."),
            ("\"\"Alien\" (film)\"\r\nA film.\nOld.", "\"Alien\" (film)", "A film.\nOld."),
            ("\"Alien\"", "Alien", ""),
            ("Alien\nA film.", "", "Alien\nA film."),
            ("\"Hello\" she said.", "", "\"Hello\" she said."),
            ("\"", "", "\""),
            ("", "", ""),
        ] {
            assert_eq!(split_contents(contents), (title, text), "{contents:?}");
        }
    }

    #[test]
    fn what_is_put_together_comes_apart() {
        for (title, text) in [("Alien", "A film."), ("", "A film.\nOld."), ("\"A\"", ""), ("", "")]
        {
            assert_eq!(split_contents(&contents(title, text)), (title, text));
        }
    }
}
