//! The graph of a plain corpus: what its passages mention.
//!
//! A passage links to another where it mentions its title, and to dates, numbers and names that have
//! no passage of their own. What is found is worded by what stands before it in the text: there is
//! no knowledge of relations. The limits of that:
//!
//! - A title is linked as it is written. `Paris (1994 TV series)` is not linked by `Paris`: on
//!   HotpotQA's passages, most of such links led to the wrong thing. Titles that two passages
//!   share, titles of fewer than four letters, and other names of a thing (pronouns, surnames,
//!   abbreviations) are not linked.
//! - What one passage in two hundred links to is not linked at all: hidden, it is guessed, and on
//!   `MuSiQue`'s passages most chains led through the United States.
//! - Nothing is told apart but by its letters: a film named like a city is linked where the city is
//!   meant.
//! - Names without a passage are runs of two or more capitalized words in the middle of a sentence.
//! - A fact is left out where its words do not single it out in its passage.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use forage_trajectory::Passage;

use super::graph::{Edge, Graph, Node, Target, Words};
use crate::sage::{AnswerType, SageError};

/// Fewest letters of a title that is linked.
const LEAST_LETTERS: usize = 4;
/// How many words before a mention say what it is.
const CUE_WORDS: std::ops::RangeInclusive<usize> = 3..=7;
/// Most words that say what kind of thing something is.
const KIND_WORDS: usize = 4;
/// Links to a passage that are always kept.
const LEAST_LINKS: usize = 20;
/// Of so many passages, one may link to another.
const PASSAGES_A_LINK: usize = 200;

/// Words that do not make a count of the year before them.
const FUNCTION_WORDS: [&str; 16] = [
    "after", "and", "as", "at", "by", "for", "from", "in", "on", "that", "the", "to", "under",
    "when", "which", "with",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Finds what passages mention.
pub(crate) fn graph(passages: &[Passage]) -> Result<Graph, SageError> {
    let titles = titles(passages);
    let mut names: Vec<&str> = titles.keys().copied().collect();
    names.sort_unstable();
    let matcher = AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .build(&names)
        .map_err(|source| SageError::Linker(Box::new(source)))?;

    let kinds: Vec<Option<String>> = passages.iter().map(kind).collect();
    let mut edges = Vec::new();
    for (from, passage) in passages.iter().enumerate() {
        for (range, to) in mentions(passage, from, &matcher, &names, &titles) {
            let Some(cue) = cue(&passage.text, &range) else { continue };
            let kind = match &to {
                Target::Node(node) => kinds[*node].clone(),
                Target::Value { texts, kind } => Some(value_kind(*kind, &texts[0]).to_owned()),
            };
            let Some(kind) = kind else { continue };
            edges.push(Edge { from, to, words: Words::Cue { kind, cue } });
        }
    }
    let edges = without_hubs(edges, passages.len());
    let nodes = passages.iter().map(node).collect();
    Ok(Graph::new(nodes, edges))
}

/// Leaves out the links to what too many passages link to.
fn without_hubs(mut edges: Vec<Edge>, n_passages: usize) -> Vec<Edge> {
    let mut links = vec![0; n_passages];
    for edge in &edges {
        if let Target::Node(node) = edge.to {
            links[node] += 1;
        }
    }
    let most = LEAST_LINKS.max(n_passages / PASSAGES_A_LINK);
    edges.retain(|edge| match edge.to {
        Target::Node(node) => links[node] <= most,
        Target::Value { .. } => true,
    });
    edges
}

fn node(passage: &Passage) -> Node {
    Node {
        name: passage.title.clone(),
        mention: format!("“{}”", passage.title),
        sought: passage.title.clone(),
        passage: passage.clone(),
        part: 0,
    }
}

/// Which passage a name means: titles that are unique.
fn titles(passages: &[Passage]) -> HashMap<&str, usize> {
    let mut found: HashMap<&str, Vec<usize>> = HashMap::new();
    for (idx, passage) in passages.iter().enumerate() {
        found.entry(passage.title.as_str()).or_default().push(idx);
    }
    let is_name = |name: &str| {
        name.chars().filter(|it| it.is_alphabetic()).count() >= LEAST_LETTERS
            && name.chars().next().is_some_and(char::is_uppercase)
    };
    found
        .into_iter()
        .filter(|(name, passages)| passages.len() == 1 && is_name(name))
        .map(|(name, passages)| (name, passages[0]))
        .collect()
}

/// What a passage mentions, in the order of its text; each thing once, at its first mention.
fn mentions(
    passage: &Passage,
    from: usize,
    matcher: &AhoCorasick,
    names: &[&str],
    titles: &HashMap<&str, usize>,
) -> Vec<(Range<usize>, Target)> {
    let text = passage.text.as_str();
    let mut found: Vec<(Range<usize>, Target)> = matcher
        .find_iter(text)
        .filter(|it| is_whole(text, &it.range()))
        .map(|it| (it.range(), Target::Node(titles[names[it.pattern().as_usize()]])))
        .collect();
    for (range, kind) in values(text) {
        let free = found.iter().all(|(taken, _)| !overlap(taken, &range));
        if free && !passage.title.contains(&text[range.clone()]) {
            let texts = vec![text[range.clone()].to_owned()];
            found.push((range, Target::Value { texts, kind }));
        }
    }
    found.sort_by_key(|(range, _)| range.start);
    let mut seen = HashSet::new();
    found.retain(|(range, to)| {
        *to != Target::Node(from) && seen.insert(text[range.clone()].to_owned())
    });
    found
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Whether a range is not part of a longer word or name.
fn is_whole(text: &str, range: &Range<usize>) -> bool {
    let before = text[..range.start].chars().next_back();
    let mut after = text[range.end..].chars();
    let next = after.next();
    let joins = |it: char| it.is_alphanumeric() || it == '-' || it == '\'' || it == '’';
    // `Paris Hilton` is no mention of Paris, and `New York` none of York.
    let goes_on = next == Some(' ') && after.next().is_some_and(char::is_uppercase);
    let last_before = text[..range.start].trim_end().rsplit(' ').next().unwrap_or_default();
    let was_begun = text[..range.start].ends_with(' ')
        && last_before.chars().next().is_some_and(char::is_uppercase)
        && !starts_sentence(text, range.start - 1 - last_before.len());
    !before.is_some_and(joins) && !next.is_some_and(joins) && !goes_on && !was_begun
}

/// Whether a sentence begins at this byte.
fn starts_sentence(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end();
    before.is_empty() || before.ends_with(['.', '!', '?', ':', ';', '"', '”'])
}

/// Words with where they stand, their punctuation cut off.
fn words(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let base = text.as_ptr() as usize;
    text.split_whitespace().filter_map(move |word| {
        let cut = word.trim_matches(|it: char| !it.is_alphanumeric());
        let start = cut.as_ptr() as usize - base;
        (!cut.is_empty()).then(|| (start..start + cut.len(), cut))
    })
}

/// Dates, numbers and names in a text.
fn values(text: &str) -> Vec<(Range<usize>, AnswerType)> {
    let words: Vec<_> = words(text).collect();
    let mut found = Vec::new();
    let mut idx = 0;
    while idx < words.len() {
        let length = if let Some(length) = date(text, &words[idx..]) {
            found.push((span(&words[idx..idx + length]), AnswerType::Date));
            length
        } else if is_number(words[idx].1)
            && !is_year(words[idx].1)
            && !is_quoted_or_signed(text, words[idx].0.start)
            && !words.get(idx + 1).is_some_and(|it| matches!(it.1, "AD" | "BC" | "CE" | "BCE"))
        {
            let scaled = words.get(idx + 1).is_some_and(|it| {
                matches!(it.1, "thousand" | "million" | "billion")
                    && text[words[idx].0.end..it.0.start].trim().is_empty()
            });
            let length = 1 + usize::from(scaled);
            found.push((span(&words[idx..idx + length]), AnswerType::Number));
            length
        } else {
            // The first word of a sentence is capitalized whatever it is.
            let begins = starts_sentence(text, words[idx].0.start);
            let length = if begins { 1 } else { name(text, &words[idx..]) };
            // `William F. Albright` would be cut at the full stop.
            let is_cut = length >= 2 && words[idx + length - 1].1.chars().count() == 1;
            if length >= 2 && !is_cut {
                found.push((span(&words[idx..idx + length]), AnswerType::Entity));
            }
            length.max(1)
        };
        idx += length;
    }
    found
}

fn span(words: &[(Range<usize>, &str)]) -> Range<usize> {
    words[0].0.start..words[words.len() - 1].0.end
}

/// How many words a date at the beginning has: `June 10, 2000`, `10 June 2000`, `June 2000`, `2000`.
fn date(text: &str, words: &[(Range<usize>, &str)]) -> Option<usize> {
    let word = |idx: usize| words.get(idx).map_or("", |it| it.1);
    let is_month = |it: &str| MONTHS.contains(&it);
    let is_day = |it: &str| it.parse::<u32>().is_ok_and(|it| (1..=31).contains(&it));
    let length = if is_month(word(0)) && is_day(word(1)) && is_year(word(2))
        || is_day(word(0)) && is_month(word(1)) && is_year(word(2))
    {
        3
    } else if is_month(word(0)) && is_year(word(1)) {
        2
    } else if is_year(word(0)) {
        1
    } else {
        return None;
    };
    // `1990-95`, `the 1990s` and `2000 people` are no dates, `the 1990 census` is one.
    let after = &text[words[length - 1].0.end..];
    let next = after.strip_prefix(' ').unwrap_or_default();
    let next = next.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default();
    let counts = length == 1
        && next.starts_with(char::is_lowercase)
        && !FUNCTION_WORDS.contains(&next)
        && !is_said_of_years(text, words[0].0.start);
    (!after.starts_with(['-', '–', '/', '%']) && !counts).then_some(length)
}

/// What looks like a year is none but in a date: not a number either, since most of them are years.
fn is_year(word: &str) -> bool {
    word.len() == 4 && word.parse().is_ok_and(|it| (1000..2100).contains(&it))
}

fn is_said_of_years(text: &str, at: usize) -> bool {
    let last = text[..at].trim_end().rsplit(' ').next().unwrap_or_default().to_lowercase();
    matches!(last.as_str(), "in" | "since" | "until" | "from" | "by" | "of" | "to" | "the")
}

/// Whether a byte comes after a quote or a bracket, as in the remains of tables, or after a sign,
/// which would be cut off.
fn is_quoted_or_signed(text: &str, at: usize) -> bool {
    text[..at].ends_with(['\'', '"', '{', '[', '−', '–', '-'])
}

/// `1,200` and `12.5`, but no year, which is a date, and nothing with letters.
fn is_number(word: &str) -> bool {
    word.starts_with(|it: char| it.is_ascii_digit())
        && word.ends_with(|it: char| it.is_ascii_digit())
        && word.chars().all(|it| it.is_ascii_digit() || it == ',' || it == '.')
}

/// How many words a name at the beginning has.
fn name(text: &str, words: &[(Range<usize>, &str)]) -> usize {
    let is_capital = |it: &str| it.chars().next().is_some_and(char::is_uppercase);
    let mut length = 0;
    for (idx, (range, word)) in words.iter().enumerate() {
        // Punctuation ends a name.
        if idx > 0 && !text[words[idx - 1].0.end..range.start].trim().is_empty() {
            break;
        }
        if is_capital(word) {
            length = idx + 1;
        } else if !(idx > 0 && matches!(*word, "of" | "de" | "von" | "van")) {
            break;
        }
    }
    length
}

/// The words before a mention, in its sentence; `None` where they do not single it out.
fn cue(text: &str, range: &Range<usize>) -> Option<String> {
    let sentence = sentence_start(text, range.start);
    let before = text[sentence..range.start].trim_end();
    let words: Vec<&str> = before.split_whitespace().collect();
    for length in CUE_WORDS {
        if words.len() < length {
            return None;
        }
        let cue = words[words.len() - length..].join(" ");
        let is_plain = !cue.contains(['"', '“', '”', '(', ')', '[', ']', '<', '>']);
        if !is_plain {
            return None;
        }
        if text.matches(cue.as_str()).count() == 1 {
            return Some(cue);
        }
    }
    None
}

/// Where the sentence of a byte begins. An initial (`J. Smith`) ends no sentence.
fn sentence_start(text: &str, at: usize) -> usize {
    let mut start = 0;
    for (idx, _) in text[..at].match_indices(". ") {
        let last = text[..idx].rsplit([' ', '.']).next().unwrap_or_default();
        if last.chars().count() > 2 {
            start = idx + 2;
        }
    }
    start
}

/// Words after which nothing more is said of what a thing is.
const ENDS: [&str; 39] = [
    "a",
    "an",
    "as",
    "at",
    "based",
    "belonging",
    "by",
    "comprising",
    "connecting",
    "consisting",
    "containing",
    "dating",
    "directed",
    "ever",
    "featuring",
    "for",
    "from",
    "given",
    "in",
    "known",
    "living",
    "located",
    "of",
    "on",
    "or",
    "produced",
    "published",
    "released",
    "responsible",
    "running",
    "starring",
    "that",
    "the",
    "to",
    "under",
    "which",
    "who",
    "with",
    "written",
];

/// What the first sentence of a passage says that its subject is: `German media group`.
fn kind(passage: &Passage) -> Option<String> {
    let text = passage.text.as_str();
    let first = &text[..text.find(". ").unwrap_or(text.len())];
    let verb = [" is a ", " is an ", " was a ", " was an ", " is the ", " was the "]
        .iter()
        .filter_map(|it| Some((first.find(it)?, it.len())))
        .min()?;
    if !is_about(&first[..verb.0], &passage.title) {
        return None;
    }
    let words: Vec<&str> = first[verb.0 + verb.1..].split(' ').collect();
    let plain = |word: &str| word.trim_end_matches([',', '.', ';']).to_owned();
    let ends =
        |word: &str| ENDS.contains(&word) || word.contains(['(', '"', ')']) || word.is_empty();
    let mut kind: Vec<String> = Vec::new();
    let mut most = KIND_WORDS;
    for (idx, word) in words.iter().enumerate() {
        if *word == "and" {
            // `film and television producer` is one thing, `director and writer` are two.
            let rest = words[idx + 1..].iter().take(2);
            let goes_on = rest.filter(|it| !ends(&plain(it)) && **it != "and").count() == 2
                && plain(words[idx + 1]) == words[idx + 1];
            if !goes_on || most > KIND_WORDS {
                break;
            }
            most += 2;
        }
        let bare = plain(word);
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
    while kind.last().is_some_and(|it| it.ends_with("ed") || it.ends_with("ly")) {
        kind.pop();
    }
    let mut first = kind.len().saturating_sub(most);
    // `the first European country to …` is a European country, and not the first one. The most
    // intense storm need not be intense either.
    if let Some(rank) = kind.iter().rposition(|it| is_rank(it)) {
        let is_degree = matches!(kind[rank].as_str(), "most" | "least");
        first = first.max(rank + 1 + usize::from(is_degree)).min(kind.len());
    }
    let kind = kind.split_off(first).join(" ");
    // `a Polish and French physicist` is no Polish.
    let ends_in_noun = kind.rsplit(' ').next().is_some_and(|it| it.starts_with(char::is_lowercase));
    let is_kind = ends_in_noun
        && !kind.starts_with("and ")
        && kind.chars().all(|it| !it.is_ascii_digit())
        && !matches!(kind.as_str(), "one" | "name" | "first" | "most" | "list");
    is_kind.then_some(kind)
}

/// Whether a word puts a thing before others. Among which others is said by what follows in the
/// sentence, which is left out.
fn is_rank(word: &str) -> bool {
    const RANKS: [&str; 15] = [
        "first",
        "second",
        "third",
        "fourth",
        "fifth",
        "last",
        "next",
        "only",
        "sole",
        "main",
        "chief",
        "principal",
        "primary",
        "most",
        "least",
    ];
    RANKS.contains(&word)
        || word.ends_with("most")
        || word.ends_with("est") && !matches!(word, "forest" | "interest" | "priest" | "west")
        || word.ends_with("th") && word.starts_with(|it: char| it.is_ascii_digit())
}

/// Whether the words before a verb name what a passage is titled after, or stand for it. `Rail is
/// the primary mode of transportation in Tokyo` does not say what Tokyo is.
fn is_about(subject: &str, title: &str) -> bool {
    if matches!(subject.trim(), "It" | "He" | "She" | "The" | "This") {
        return true;
    }
    let subject = subject.to_lowercase();
    let is_named = |word: &str| subject.contains(word.to_lowercase().as_str());
    words(title).any(|(_, word)| word.chars().count() >= 3 && is_named(word)) || is_named(title)
}

fn value_kind(kind: AnswerType, text: &str) -> &'static str {
    match kind {
        AnswerType::Date if text.len() == 4 => "year",
        AnswerType::Date => "date",
        AnswerType::Number => "number",
        AnswerType::Entity => "name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(title: &str, text: &str) -> Passage {
        Passage { id: title.to_owned(), title: title.to_owned(), text: text.to_owned() }
    }

    fn found(text: &str) -> Vec<(&str, AnswerType)> {
        values(text).into_iter().map(|(range, kind)| (&text[range], kind)).collect()
    }

    #[test]
    fn dates_numbers_and_names() {
        use AnswerType::{Date, Entity, Number};
        for (text, expected) in [
            ("It was launched on June 10, 2000 by others.", vec![("June 10, 2000", Date)]),
            ("He died on 7 May 1890, aged 40.", vec![("7 May 1890", Date), ("40", Number)]),
            ("It opened in 1996 in town.", vec![("1996", Date)]),
            (
                "About 1,200 people and 3.5 million cats.",
                vec![("1,200", Number), ("3.5 million", Number)],
            ),
            ("In the 1990s it had 2000 seats, or 20.", vec![("20", Number)]),
            (
                "It was in the 1937 novel and the 1973 and 1979 crises.",
                vec![("1937", Date), ("1973", Date)],
            ),
            ("They date it to 70 AD, at −2.41 degrees.", vec![]),
            ("It was written by William F. Albright.", vec![]),
            ("Visit the Bank of England in town.", vec![("Bank of England", Entity)]),
            (
                "It began in early 2006 with {'1': 2} at the 2010 Games.",
                vec![("2006", Date), ("2", Number), ("2010", Date)],
            ),
            ("Old Town is nice.", vec![]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn titles_are_linked_as_whole_names() {
        let passages = [
            passage("Paris", "Paris is the capital city of France."),
            passage("Mirko Tavel", "Mirko Tavel was a Czech painter from Brno."),
            passage("Veltor", "Veltor is a film. It was directed in 1950 by Mirko Tavel."),
            passage("Hilton", "The group was once run by Paris Hilton. It is run from Paris."),
            passage("Remake", "Remake is a film that is partly based on Veltor, in spite of all."),
            passage("Brno (ship)", "Brno is a ship that never came to the town of its name."),
        ];
        let graph = graph(&passages).unwrap();
        let links: Vec<(usize, usize, String)> = graph
            .edges
            .iter()
            .enumerate()
            .filter_map(|(idx, edge)| {
                let Words::Cue { kind, cue } = &edge.words else { return None };
                Some((edge.from, graph.next(idx)?, format!("{kind}: {cue}")))
            })
            .collect();
        assert_eq!(
            links,
            [
                (2, 1, "Czech painter: in 1950 by".to_owned()),
                (3, 0, "capital city: is run from".to_owned()),
                (4, 2, "film: partly based on".to_owned()),
            ]
        );
    }

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
        ] {
            assert_eq!(kind(&passage(title, text)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_everybody_mentions_is_not_linked() {
        let text = "It is a small village somewhere in Samland on the coast.";
        let mut passages: Vec<Passage> =
            (0..LEAST_LINKS).map(|it| passage(&format!("Village {it}"), text)).collect();
        passages.push(passage("Samland", "Samland is a country by the sea."));
        assert_eq!(graph(&passages).unwrap().edges.len(), LEAST_LINKS);
        passages.push(passage("Village more", text));
        assert_eq!(graph(&passages).unwrap().edges.len(), 0);
    }
}
