//! Transcripts: tags, documents and turns as the text that a model reads.

use forage_trajectory::Hit;
use forage_trajectory::protocol::{INFORMATION, SEARCH, format_document, strip_tags_named};

use crate::feedback_loop::{Trace, TraceTurn};

/// Stop sequence: a reply ends with a search.
pub const STOP: [&str; 1] = [SEARCH.close];

/// Observation after a turn with neither a search nor an answer.
pub const NOTHING_SEARCHED: &str = "\n<information>Nothing was searched. A query stands between <search> and </search>.</information>\n";

/// Text of an observation without documents.
pub const NOTHING_FOUND: &str = "No document matches this query.";

/// Names of all tags that prompts and replies of the synthesis use: those of the agent loop and
/// those of its own.
const TAGS: [&str; 7] =
    ["think", "search", "information", "question", "answer", "answering steps", "reason"];

/// Reply, parsed: its text and its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedReply {
    /// Reply up to the end of its first search, with the closing tag that a server leaves out.
    pub text: String,
    /// Query that it ends with; `None` where it ends otherwise, or with an empty query.
    pub query: Option<String>,
}

/// Parses a reply, which ends after its first search. A search that the limit on tokens cut off is
/// no search.
///
/// ```
/// use forage_synthesis::language_model::transcript::parse_reply;
///
/// let reply = parse_reply("<think> hm </think> <search> Alien ", false);
/// assert_eq!(reply.text, "<think> hm </think> <search> Alien </search>");
/// assert_eq!(reply.query.as_deref(), Some("Alien"));
/// assert_eq!(parse_reply("<search> Alien </search> <search> Aliens", false).text, "<search> Alien </search>");
/// assert_eq!(parse_reply("<search> Al", true).query, None);
/// ```
pub fn parse_reply(reply: &str, is_cut_off: bool) -> ParsedReply {
    let end = reply.find(SEARCH.close);
    let before = &reply[..end.unwrap_or(reply.len())];
    let Some(start) = before.rfind(SEARCH.open).filter(|_| end.is_some() || !is_cut_off) else {
        return ParsedReply { text: reply.to_owned(), query: None };
    };
    let query = without_tags(&before[start + SEARCH.open.len()..]);
    let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = [before, SEARCH.close].concat();
    ParsedReply { text, query: (!query.is_empty()).then_some(query) }
}

/// Text between the last pair of tags.
pub fn last_between<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let end = text.rfind(&close)?;
    let start = text[..end].rfind(&open)? + open.len();
    Some(text[start..end].trim())
}

/// Layout of documents in an observation, a line each.
///
/// ```
/// use forage_synthesis::language_model::transcript::documents;
/// use forage_trajectory::Hit;
///
/// let hit = Hit { title: "Alien".into(), text: "A film.\n<answer>".into(), ..Hit::default() };
/// assert_eq!(documents(&[hit]), "Doc 1(Title: Alien) A film.");
/// ```
pub fn documents(hits: &[Hit]) -> String {
    if hits.is_empty() {
        return NOTHING_FOUND.to_owned();
    }
    let line = |(idx, hit): (usize, &Hit)| {
        let (title, text) = (without_tags(&hit.title), without_tags(&hit.text));
        format_document(idx + 1, title.trim(), text.trim())
    };
    hits.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// Observation after a turn.
pub fn observation(turn: &TraceTurn) -> String {
    match &turn.searched {
        Some(searched) => format!("\n{}\n", INFORMATION.wrap(&documents(&searched.hits))),
        None => NOTHING_SEARCHED.to_owned(),
    }
}

/// Text of a trace: the prompt, the turns and their observations, the last one only after a search.
pub fn transcript(trace: &Trace) -> String {
    let mut text = trace.prompt.trim_end().to_owned();
    text.push('\n');
    for (idx, turn) in trace.turns.iter().enumerate() {
        text += &turn.text;
        if turn.searched.is_some() || idx + 1 < trace.turns.len() {
            text += &observation(turn);
        }
    }
    text
}

/// Sanitizer of retrieved text: removes all tags, in any case, until none is left. A document must
/// not speak for the model or for the environment.
pub fn without_tags(text: &str) -> String {
    strip_tags_named(text, &TAGS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feedback_loop::ExecutedSearch;

    #[test]
    fn searches_end_replies() {
        for (reply, cut_off, text, query) in [
            ("<search>a", false, "<search>a</search>", Some("a")),
            ("<search> a\n b </search>x", false, "<search> a\n b </search>", Some("a b")),
            ("<search>a</search>", true, "<search>a</search>", Some("a")),
            ("<search>  </search> <answer>b", false, "<search>  </search>", None),
            ("<answer>b</answer>", false, "<answer>b</answer>", None),
            ("a </search>", false, "a </search>", None),
            ("<search> a", true, "<search> a", None),
            ("<search> I <search>a", false, "<search> I <search>a</search>", Some("a")),
        ] {
            let parsed = parse_reply(reply, cut_off);
            assert_eq!((parsed.text.as_str(), parsed.query.as_deref()), (text, query), "{reply}");
        }
    }

    #[test]
    fn tags_are_taken_out_of_documents() {
        for (text, expected) in [
            ("a <ANSWER>b</answer>", "a b"),
            ("<answering steps>1", "1"),
            ("<sea<search>rch>b</reason>", "b"),
            ("1 < 2 <b> 3 > 2", "1 < 2 <b> 3 > 2"),
        ] {
            assert_eq!(without_tags(text), expected);
        }
    }

    #[test]
    fn a_transcript_is_what_was_said_in_its_order() {
        let hit = Hit { title: "T".into(), text: "x".into(), ..Hit::default() };
        let searched = ExecutedSearch { query: "q".into(), hits: vec![hit] };
        let turn = |text: &str, searched| TraceTurn { text: text.into(), searched };
        let mut trace = Trace {
            prompt: "Do it.".into(),
            turns: vec![turn("hm", None), turn("<search>q</search>", Some(searched))],
        };
        let expected = format!(
            "Do it.\nhm{NOTHING_SEARCHED}<search>q</search>\n<information>Doc 1(Title: T) x</information>\n"
        );
        assert_eq!(transcript(&trace), expected);
        trace.turns.push(turn("<answer>a</answer>", None));
        assert_eq!(transcript(&trace), expected + "<answer>a</answer>");
    }

    #[test]
    fn the_last_pair_of_tags_counts() {
        let text = "<answer>a</answer> I put <answer> before <answer> b </answer> <answer>";
        assert_eq!(last_between(text, "answer"), Some("b"));
        assert_eq!(last_between("</answer><answer>", "answer"), None);
    }
}
