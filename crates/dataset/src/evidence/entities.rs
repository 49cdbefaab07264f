//! Entities of a question: names on the way from the question to the answer.
//!
//! A name that the question says is no discovery, and the answer is paid for by itself; both are
//! left out. Names are compared as exact match compares answers.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization as _;

/// Entities, and the other names that follow from them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Entities {
    pub(crate) names: Vec<String>,
    pub(crate) aliases: BTreeMap<String, Vec<String>>,
}

/// Keeps the names that neither the question nor the answer gives away, each once.
pub(crate) fn entities<'a>(
    names: impl Iterator<Item = &'a str>,
    question: &str,
    answers: &[String],
) -> Entities {
    let question = words(question);
    let mut taken: Vec<Vec<String>> = answers.iter().map(|answer| words(answer)).collect();
    taken.extend(["yes", "no"].map(words));
    let mut found = Entities::default();
    for name in names.map(str::trim).filter(|it| !it.is_empty()) {
        let short = without_disambiguation(name);
        let forms: Vec<Vec<String>> = std::iter::once(name).chain(short).map(words).collect();
        if forms.iter().any(|form| taken.contains(form) || contains(&question, form)) {
            continue;
        }
        taken.extend(forms);
        found.names.push(name.to_owned());
        if let Some(short) = short {
            found.aliases.insert(name.to_owned(), vec![short.to_owned()]);
        }
    }
    found
}

/// Wikipedia's `Halvik (port)` is called `Halvik` in a text.
fn without_disambiguation(title: &str) -> Option<&str> {
    let (name, _) = title.strip_suffix(')')?.rsplit_once(" (")?;
    Some(name.trim()).filter(|it| !it.is_empty())
}

/// Lower-case words without punctuation and articles; all words where only articles are there.
fn words(text: &str) -> Vec<String> {
    let lower = text.nfc().collect::<String>().to_lowercase().replace(['’', 'ʼ'], "'");
    let all: Vec<String> = lower.split_whitespace().flat_map(plain_words).collect();
    let is_article = |word: &String| matches!(word.as_str(), "a" | "an" | "the");
    if all.is_empty() {
        return vec![lower.trim().to_owned()];
    }
    if all.iter().all(is_article) {
        return all;
    }
    all.into_iter().filter(|word| !is_article(word)).collect()
}

/// Words of a text between blanks, without punctuation. The genitive of a name is its name.
fn plain_words(text: &str) -> Vec<String> {
    let ends = |c: char| c != '\'' && !c.is_alphanumeric() && !is_mark(c);
    let text = text.trim_end_matches(ends);
    let text = text.strip_suffix("'s").unwrap_or(text).replace(['\'', '`'], "");
    let words = text.split(|c: char| !(c.is_alphanumeric() || is_mark(c)));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Marks belong to the letter before them.
fn is_mark(c: char) -> bool {
    !c.is_ascii()
        && !c.is_whitespace()
        && !c.is_alphanumeric()
        && !"–—…“”„«»‹›、。，；：？！（）「」『』·".contains(c)
}

/// Whether the words of a name stand in the question, one after the other; a name in a script
/// without blanks may stand inside a word.
fn contains(question: &[String], name: &[String]) -> bool {
    let glued = |word: &String| {
        word.chars().any(|c| {
            ('\u{0e00}'..='\u{0eff}').contains(&c) || ('\u{3040}'..='\u{9fff}').contains(&c)
        })
    };
    !name.is_empty()
        && (question.windows(name.len()).any(|window| window == name)
            || (name.iter().any(glued) && question.concat().contains(&name.concat())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_give_nothing_away() {
        let question = "Which river flows by the seat of Tarnmoor, O’Dunn's county?";
        let answers = ["The Osk".to_owned()];
        // The name; whether it stays.
        let table = [
            ("Velmora", true),
            ("velmora", false),
            ("Tarnmoor", false),
            ("Tarnmoor (county)", false),
            ("O'Dunn", false),
            ("Osk", false),
            ("Osk (river)", false),
            ("Tarn", true),
            ("yes", false),
            ("", false),
            ("!!!", true),
        ];
        let kept = entities(table.iter().map(|it| it.0), question, &answers);
        let expected: Vec<&str> = table.iter().filter(|it| it.1).map(|it| it.0).collect();
        assert_eq!(kept.names, expected);
    }

    #[test]
    fn a_title_is_also_called_without_its_disambiguation() {
        let kept = entities(["Halvik (port)"].into_iter(), "who?", &[]);
        assert_eq!(kept.names, ["Halvik (port)"]);
        assert_eq!(kept.aliases["Halvik (port)"], ["Halvik"]);
    }

    #[test]
    fn names_inside_of_text_without_blanks() {
        let kept = entities(["東京", "大阪"].into_iter(), "東京はどこですか", &[]);
        assert_eq!(kept.names, ["大阪"]);
    }
}
