//! The tag protocol of the agent loop: `<think>`, `<search>`, `<information>` and `<answer>`.
//!
//! The tags and the layout of an observation are those of Search-R1 (arXiv 2503.09516). They are
//! written here once: the agent loop, demonstrations, exercises and the readers of stored text
//! all take them from this file, so that a model is trained on the text that it meets later.
//!
//! Parsing a turn is not here: that is `forage_rollout::grammar`. Plugins do not depend on this
//! crate and have the tags from `forage_reward_sdk::grammar`; a test holds the two to each other.

use crate::SegmentKind;

/// Opening and closing tag of one kind of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagPair {
    /// Such as `<think>`.
    pub open: &'static str,
    /// Such as `</think>`.
    pub close: &'static str,
}

/// Tags of the model's reasoning.
pub const THINK: TagPair = TagPair { open: "<think>", close: "</think>" };

/// Tags of a search query.
pub const SEARCH: TagPair = TagPair { open: "<search>", close: "</search>" };

/// Tags of an observation: what a search returned.
pub const INFORMATION: TagPair = TagPair { open: "<information>", close: "</information>" };

/// Tags of the final answer.
pub const ANSWER: TagPair = TagPair { open: "<answer>", close: "</answer>" };

/// All tags of the protocol.
pub const TAGS: [&str; 8] = [
    THINK.open,
    THINK.close,
    SEARCH.open,
    SEARCH.close,
    INFORMATION.open,
    INFORMATION.close,
    ANSWER.open,
    ANSWER.close,
];

/// Names of the tags of the protocol, without brackets.
pub const TAG_NAMES: [&str; 4] = ["think", "search", "information", "answer"];

/// Beginning of a document in an observation, before its rank: `Doc 1(Title: …) …`.
pub const DOCUMENT_PREFIX: &str = "Doc ";

/// Beginning of the title of a document in an observation, after its rank.
pub const TITLE_PREFIX: &str = "(Title: ";

impl TagPair {
    /// Content between the two tags, as it stands.
    ///
    /// ```
    /// use forage_trajectory::protocol::SEARCH;
    ///
    /// assert_eq!(SEARCH.wrap(" Alien "), "<search> Alien </search>");
    /// ```
    pub fn wrap(self, content: &str) -> String {
        [self.open, content, self.close].concat()
    }

    /// Content of a text that begins with the opening and ends with the closing tag; `None`
    /// for any other text.
    pub fn strip(self, text: &str) -> Option<&str> {
        text.strip_prefix(self.open)?.strip_suffix(self.close)
    }
}

impl SegmentKind {
    /// Tags around a segment of this kind; `None` for kinds without tags.
    pub const fn tags(self) -> Option<TagPair> {
        match self {
            Self::Think => Some(THINK),
            Self::Search => Some(SEARCH),
            Self::Information => Some(INFORMATION),
            Self::Answer => Some(ANSWER),
            Self::Prompt | Self::Warning | Self::Other => None,
        }
    }
}

/// Thought of a prompt: whether what is written after it begins within one.
///
/// Chat templates of reasoning models end with `<think>` (DeepSeek-R1 and its distillations, `QwQ`,
/// Qwen3-Thinking), or where thinking is switched off with an empty thought (Qwen3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptThought {
    /// The prompt ends with no tag of a thought.
    None,
    /// The prompt opens a thought: what follows is one, up to the first `</think>`.
    Open,
    /// The prompt ends with an empty thought: what follows comes after it.
    Empty,
}

impl PromptThought {
    /// Thought of the text of a prompt.
    ///
    /// ```
    /// use forage_trajectory::protocol::PromptThought;
    ///
    /// assert_eq!(PromptThought::of("<|Assistant|><think>\n"), PromptThought::Open);
    /// assert_eq!(PromptThought::of("<think>\n\n</think>\n\n"), PromptThought::Empty);
    /// assert_eq!(PromptThought::of("reason between <think> and </think>"), PromptThought::None);
    /// ```
    pub fn of(prompt: &str) -> Self {
        let end = prompt.trim_end();
        if end.ends_with(THINK.open) {
            return Self::Open;
        }
        let inner = end.strip_suffix(THINK.close).map(str::trim_end);
        if inner.is_some_and(|inner| inner.ends_with(THINK.open)) {
            Self::Empty
        } else {
            Self::None
        }
    }
}

/// Heading of a document in an observation: `Doc 1(Title: Alien) `. `rank` counts from 1.
pub fn document_heading(rank: usize, title: &str) -> String {
    format!("{DOCUMENT_PREFIX}{rank}{TITLE_PREFIX}{title}) ")
}

/// One document of an observation, without a line end. `rank` counts from 1.
///
/// Title and text are not sanitized: see [`strip_tags`].
///
/// ```
/// use forage_trajectory::protocol::format_document;
///
/// assert_eq!(format_document(1, "Alien", "A film."), "Doc 1(Title: Alien) A film.");
/// ```
pub fn format_document(rank: usize, title: &str, text: &str) -> String {
    document_heading(rank, title) + text
}

/// Observation: the documents between `<information>` tags, with blank lines around them.
///
/// ```
/// use forage_trajectory::protocol::{format_document, format_observation};
///
/// let observation = format_observation(&format_document(1, "Alien", "A film."));
/// assert_eq!(observation, "\n\n<information>Doc 1(Title: Alien) A film.</information>\n\n");
/// ```
pub fn format_observation(documents: &str) -> String {
    format!("\n\n{}\n\n", INFORMATION.wrap(documents))
}

/// Sanitizer of retrieved text: removes all tags of the protocol, in any case, until none is left.
///
/// Without it a page could end the observation that shows it, or speak for the model (prompt
/// injection).
///
/// ```
/// use forage_trajectory::protocol::strip_tags;
///
/// assert_eq!(strip_tags("a <sea<search>rch>b</SEARCH> 1 < 2 <b>"), "a b 1 < 2 <b>");
/// ```
pub fn strip_tags(text: &str) -> String {
    strip_tags_named(text, &TAG_NAMES)
}

/// [`strip_tags`] with tags of one's own: `names` are in ASCII and without brackets.
///
/// ```
/// use forage_trajectory::protocol::strip_tags_named;
///
/// assert_eq!(strip_tags_named("<reason>a</reason> <b>", &["reason"]), "a <b>");
/// ```
pub fn strip_tags_named(text: &str, names: &[&str]) -> String {
    // A tag is complete with its `>`. Taking it off the end of what is kept so far brings the two
    // sides together, and the next `>` sees a tag that was spread around it: one pass is enough.
    let mut kept = String::with_capacity(text.len());
    for piece in text.split_inclusive('>') {
        kept.push_str(piece);
        if let Some(start) = start_of_last_tag(&kept, names) {
            kept.truncate(start);
        }
    }
    kept
}

/// Byte at which the tag begins that a text ends with; `None` where it ends with none.
fn start_of_last_tag(text: &str, names: &[&str]) -> Option<usize> {
    let before = text.strip_suffix('>')?.as_bytes();
    names.iter().find_map(|name| {
        let name_start = before.len().checked_sub(name.len())?;
        let (bracket, found) = before.split_at(name_start);
        if !found.eq_ignore_ascii_case(name.as_bytes()) {
            return None;
        }
        let bracket = bracket.strip_suffix(b"/").unwrap_or(bracket);
        bracket.strip_suffix(b"<").map(<[u8]>::len)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_has_its_name_and_its_kind() {
        let kinds = [
            SegmentKind::Think,
            SegmentKind::Search,
            SegmentKind::Information,
            SegmentKind::Answer,
        ];
        for ((name, kind), tags) in TAG_NAMES.iter().zip(kinds).zip(TAGS.chunks(2)) {
            assert_eq!(tags, [format!("<{name}>"), format!("</{name}>")]);
            let pair = kind.tags().unwrap();
            assert_eq!(tags, [pair.open, pair.close]);
            assert_eq!(pair.strip(&pair.wrap(" x ")), Some(" x "));
            assert_eq!(pair.strip("x"), None);
        }
        for kind in [SegmentKind::Prompt, SegmentKind::Warning, SegmentKind::Other] {
            assert_eq!(kind.tags(), None);
        }
    }

    #[test]
    fn tags_are_stripped_until_none_is_left() {
        for (text, expected) in [
            ("", ""),
            (">", ">"),
            ("search>", "search>"),
            ("/search>", "/search>"),
            ("é<ANSWER>b</aNSWER>é", "ébé"),
            ("<sea<search>rch>b</thi</think>nk>", "b"),
            ("<//think>", "<//think>"),
            ("< think>", "< think>"),
            ("<question>", "<question>"),
            ("1 < 2 <b> 3 > 2", "1 < 2 <b> 3 > 2"),
        ] {
            assert_eq!(strip_tags(text), expected, "{text}");
        }
        assert_eq!(
            strip_tags_named("<Answering steps>1 <think>", &["answering steps"]),
            "1 <think>"
        );
    }
}
