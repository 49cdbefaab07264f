//! How hits are shown to the agent, by the project that shows them so.
//!
//! | name | an observation |
//! |---|---|
//! | `plain` | `<information>Doc 1(Title: Alien) A film.` …`</information>`, a passage a line |
//! | `search-r1` | the same with the title as Search-R1's corpora have it: `Doc 1(Title: "Alien") A film.` |
//! | `verl` | `<information>{"result": "Doc 1 (Title: \"Alien\")\nA film.\n\nDoc 2 …"}</information>` |
//! | `skyrl` | `<information>{"result": "Doc 1: \"Alien\"\nA film.\n…"}</information>`, in ASCII |
//!
//! A model that was trained in one of these projects reads best what it has read there. verl puts
//! its object into a tool message; here all stand between the tags of the grammar, with the blank
//! lines around them that the project has.

use std::borrow::Cow;
use std::fmt::Write as _;

use forage_trajectory::Hit;
use forage_trajectory::protocol::{
    DOCUMENT_PREFIX, INFORMATION, TITLE_PREFIX, document_heading, format_observation, strip_tags,
};
use serde::{Deserialize, Serialize};

/// How hits are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObservationTemplate {
    /// Search-R1's, without the quotes around titles.
    #[default]
    Plain,
    /// Search-R1, verl-tool and slime.
    SearchR1,
    /// verl's `SearchTool`: JSON.
    Verl,
    /// `SkyRL`'s search environment: JSON whose other letters than ASCII are escaped.
    #[serde(rename = "skyrl")]
    SkyRl,
}

/// A hit as it is shown.
pub(crate) struct Shown {
    /// Never shown without some of the text after it.
    pub(crate) heading: String,
    pub(crate) text: String,
    /// What comes after the text.
    pub(crate) end: &'static str,
}

impl ObservationTemplate {
    /// Every template.
    pub const ALL: [Self; 4] = [Self::Plain, Self::SearchR1, Self::Verl, Self::SkyRl];

    /// A hit at its rank, from 1, without the tags of the grammar.
    pub(crate) fn show(self, rank: usize, hit: &Hit) -> Shown {
        let (title, text) = (strip_tags(&hit.title), strip_tags(&hit.text));
        let (title, text) = (title.trim(), text.trim());
        if self == Self::Plain {
            let heading = document_heading(rank, title);
            return Shown { heading, text: text.to_owned(), end: "\n" };
        }
        // A passage without a title is its text alone, and its first line is taken for one.
        let (first, rest) = if title.is_empty() {
            let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
            (Cow::Borrowed(first), rest)
        } else {
            (Cow::Owned(format!("\"{title}\"")), text)
        };
        let (heading, end) = match self {
            Self::Plain | Self::SearchR1 => (document_heading(rank, &first), "\n"),
            Self::Verl => (format!("{DOCUMENT_PREFIX}{rank} {TITLE_PREFIX}{first})\n"), "\n\n"),
            Self::SkyRl => (format!("{DOCUMENT_PREFIX}{rank}: {first}\n"), "\n"),
        };
        Shown { heading, text: rest.to_owned(), end }
    }

    /// Puts what is shown between the tags.
    pub(crate) fn wrap(self, body: &str) -> String {
        match self {
            Self::Plain | Self::SearchR1 => format_observation(body),
            Self::Verl => format_observation(&format!("{{\"result\": {}}}", json(body))),
            Self::SkyRl => {
                let body = ascii(&json(&format!("{body}\n")));
                format!("\n{}\n", INFORMATION.wrap(&format!("{{\"result\": {body}}}")))
            }
        }
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// JSON in ASCII, as Python writes it.
fn ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(ascii, "\\u{unit:04x}").expect("a string takes everything");
            }
        }
    }
    ascii
}
