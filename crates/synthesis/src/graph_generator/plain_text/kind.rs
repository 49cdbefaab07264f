//! Kind of a passage's subject, from its first sentence.

use forage_trajectory::Passage;

use crate::graph_generator::english::{
    ADJECTIVES, CLAUSE_VERBS, KIND_ENDS, NOUNS_IN_EST, NOUNS_IN_ING, RANKS, VAGUE_NOUNS,
    VAGUE_NOUNS_ALONE,
};

/// Most words that say what kind of thing something is.
const KIND_WORDS: usize = 4;

/// Kind of a passage's subject, as its first sentence says: `German media group`.
pub(super) fn kind(passage: &Passage) -> Option<String> {
    let text = passage.text.as_str();
    let first = &text[..text.find(". ").unwrap_or(text.len())];
    let verb = [" is a ", " is an ", " was a ", " was an ", " is the ", " was the "]
        .iter()
        .filter_map(|verb| Some((first.find(verb)?, verb.len())))
        .min()?;
    if !is_about(&first[..verb.0], &passage.title) {
        return None;
    }
    let words: Vec<&str> = first[verb.0 + verb.1..].split(' ').collect();
    let plain = |word: &str| word.trim_end_matches([',', '.', ';', ':']).to_owned();
    let ends =
        |word: &str| KIND_ENDS.contains(word) || word.contains(['(', '"', ')']) || word.is_empty();
    let mut kind: Vec<String> = Vec::new();
    let mut most = KIND_WORDS;
    for (idx, word) in words.iter().enumerate() {
        if *word == "and" {
            // `film and television producer` is one thing, `director and writer` are two.
            let rest = words[idx + 1..].iter().take(2);
            let goes_on = rest.filter(|word| !ends(&plain(word)) && **word != "and").count() == 2
                && plain(words[idx + 1]) == words[idx + 1];
            if !goes_on || most > KIND_WORDS {
                break;
            }
            most += 2;
        }
        let bare = plain(word);
        // `a concrete or plastic barrier` is cut too short, `a title that historians have given` is
        // a clause.
        if CLAUSE_VERBS.contains(bare.as_str()) {
            return None;
        }
        if ends(&bare) {
            break;
        }
        let is_last = bare != *word;
        kind.push(bare);
        if is_last {
            break;
        }
    }
    // `one of the …`, `1999 film`: too many words say too much, the last ones say what it is.
    while kind
        .last()
        .is_some_and(|word| word.ends_with("ed") || word.ends_with("ly") && word != "family")
    {
        kind.pop();
    }
    let mut first = kind.len().saturating_sub(most);
    // `South Korean` and `United States` stay together.
    let is_capital = |it: &String| it.starts_with(char::is_uppercase);
    while first > 0 && is_capital(&kind[first]) && is_capital(&kind[first - 1]) {
        first -= 1;
    }
    // `the first European country to …` is a European country, and not the first one. The most
    // intense storm need not be intense either.
    if let Some(rank) = kind.iter().rposition(|it| is_rank(it)) {
        let is_degree = matches!(kind[rank].as_str(), "most" | "least");
        first = first.max(rank + 1 + usize::from(is_degree)).min(kind.len());
    }
    let kind = kind.split_off(first);
    // `the second-most - populous city` was cut at its rank, `a 393 mi railway` at its number.
    let is_whole = kind.iter().all(|it| it.starts_with(char::is_alphanumeric) && it != "mi");
    let says = kind.last().is_some_and(|word| says_what(word, kind.len()));
    let kind = kind.join(" ");
    let is_kind = is_whole
        && says
        && !kind.starts_with("and ")
        && kind.chars().all(|it| !it.is_ascii_digit());
    is_kind.then_some(kind)
}

/// Whether the last word of a kind of `n_words` words says what a thing is.
fn says_what(last: &str, n_words: usize) -> bool {
    // `a Polish and French physicist` is no Polish.
    last.starts_with(char::is_lowercase)
        && (!VAGUE_NOUNS.contains(last) || last == "family" && n_words > 1)
        && !(n_words == 1 && VAGUE_NOUNS_ALONE.contains(last))
        && !ADJECTIVES.contains(last)
        && (!last.ends_with("ing") || NOUNS_IN_ING.contains(last))
        && !matches!(last, "first" | "most")
}

/// Whether a word ranks a thing among others. Among which others is said by what follows in the
/// sentence, which is left out.
fn is_rank(word: &str) -> bool {
    let word = word.to_lowercase();
    let word = word.as_str();
    RANKS.contains(word)
        || word.ends_with("most")
        || word.ends_with("est") && !NOUNS_IN_EST.contains(word)
        || word.ends_with("th") && word.starts_with(|it: char| it.is_ascii_digit())
}

/// Whether the words before a verb name what a passage is titled after, or stand for it. `Rail is
/// the primary mode of transportation in Tokyo` does not say what Tokyo is.
fn is_about(subject: &str, title: &str) -> bool {
    if matches!(subject.trim(), "It" | "He" | "She" | "The" | "This") {
        return true;
    }
    let name = title.split([',', '(']).next().unwrap_or(title).to_lowercase();
    let subject = subject.to_lowercase();
    let mut said = subject.split(|it: char| !it.is_alphanumeric());
    // The whole of a name is seldom in the sentence: `Peter Doherty` for `Pete Doherty`.
    match name.split(|it: char| !it.is_alphanumeric()).rfind(|it| !it.is_empty()) {
        Some(last) if last.chars().count() > 1 => said.any(|it| it == last),
        _ => subject.contains(name.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::passage;
    use super::*;

    #[test]
    fn what_a_passage_is_about() {
        for (title, text, expected) in [
            (
                "Constantin",
                "Constantin AG is a German media group, based in Ismaning.",
                Some("German media group"),
            ),
            ("Maine", "Maine is the northernmost state in the east.", Some("state")),
            ("Wilma", "Wilma was the most intense tropical cyclone.", Some("tropical cyclone")),
            (
                "Belgium",
                "Belgium was the first continental European country to mine.",
                Some("continental European country"),
            ),
            ("Rome", "Rome is the capital and largest city of others.", Some("city")),
            ("Rome", "Rome is the largest.", None),
            ("Maine", "Nobody knows. It is a city.", None),
            (
                "Curie",
                "She was a Polish and French physicist.",
                Some("Polish and French physicist"),
            ),
            (
                "Apink",
                "Apink is a South Korean girl group formed by others.",
                Some("South Korean girl group"),
            ),
            ("Lean", "He was an English film director and writer.", Some("English film director")),
            (
                "Aaron Spelling",
                "Aaron Spelling (1923) was an American film and television producer.",
                Some("American film and television producer"),
            ),
            ("Tokyo", "Rail is the primary mode of transportation in Tokyo.", None),
            ("NBA draft", "The NBA draft is an annual event dating back.", Some("annual event")),
            ("Veltor", "Veltor is a town and the capital of others.", Some("town")),
            (
                "Veltor crime family",
                "The Veltor crime family is an American organized crime family.",
                Some("American organized crime family"),
            ),
            (
                "Apink",
                "Apink is a South Korean television drama series.",
                Some("South Korean television drama series"),
            ),
            ("Hundred Days", "The Hundred Days was the final period of the war.", Some("period")),
            ("English", "English is a West Germanic language.", Some("West Germanic language")),
            (
                "Rounders",
                "Rounders is a bat-and-ball game played by two.",
                Some("bat-and-ball game"),
            ),
            ("Hebron", "Hebron is a small, independent school.", None),
            ("Barrier", "A barrier is a modular concrete or plastic wall.", None),
            ("Jersey City", "Jersey City is the second-most - populous city.", None),
            ("Revolution", "The Revolution was a pair of revolutions.", None),
            ("Role", "It is a non-profit live-action role-playing (LARP) club.", None),
            ("Time", "The best timekeeping device was the water clock.", None),
            ("Pete Doherty", "Peter Doherty is an English musician.", Some("English musician")),
            ("Texas House", "The Speaker of the chamber is the presiding officer.", None),
        ] {
            assert_eq!(kind(&passage(title, text)).as_deref(), expected, "{text}");
        }
    }
}
