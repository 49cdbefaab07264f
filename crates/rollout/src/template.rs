//! Layouts of observations, named after the project that uses them.
//!
//! | name | observation |
//! |---|---|
//! | `plain` | `<information>Doc 1(Title: Alien) A film.` …`</information>`, one passage on each line |
//! | `search-r1` | the same with quoted titles, as in the corpora of Search-R1: `Doc 1(Title: "Alien") A film.` |
//! | `verl` | `<information>{"result": "Doc 1 (Title: \"Alien\")\nA film.\n\nDoc 2 …"}</information>` |
//! | `skyrl` | `<information>{"result": "Doc 1: \"Alien\"\nA film.\n…"}</information>`, in ASCII |
//!
//! A model that was trained in one of these projects does best with the layout it was trained on.
//! verl puts its object into a tool message; here every layout is between `<information>` tags,
//! with the blank lines of the project around them.

use std::borrow::Cow;
use std::fmt::Write as _;

use forage_trajectory::Hit;
use forage_trajectory::protocol::{
    DOCUMENT_PREFIX, INFORMATION, TITLE_PREFIX, document_heading, format_observation, strip_tags,
};
use serde::{Deserialize, Serialize};

/// Layout of observations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObservationTemplate {
    /// The layout of Search-R1, without quotes around titles: see
    /// [`format_document`](forage_trajectory::protocol::format_document).
    #[default]
    Plain,
    /// The layout of Search-R1, verl-tool and slime.
    SearchR1,
    /// The JSON of `SearchTool` in verl.
    Verl,
    /// The JSON of the search environment of `SkyRL`, in which all characters but ASCII are
    /// escaped.
    #[serde(rename = "skyrl")]
    SkyRl,
}

/// Formatted hit.
pub(crate) struct FormattedHit {
    /// Rank and title; never shown without some of the text after it.
    pub(crate) heading: String,
    pub(crate) text: String,
    /// Separator after the text.
    pub(crate) end: &'static str,
}

impl ObservationTemplate {
    /// All layouts.
    pub const ALL: [Self; 4] = [Self::Plain, Self::SearchR1, Self::Verl, Self::SkyRl];

    /// Formats a hit at its rank, from 1, without the tags of the protocol.
    pub(crate) fn format(self, rank: usize, hit: &Hit) -> FormattedHit {
        let (title, text) = (strip_tags(&hit.title), strip_tags(&hit.text));
        let (title, text) = (title.trim(), text.trim());
        if self == Self::Plain {
            let heading = document_heading(rank, title);
            return FormattedHit { heading, text: text.to_owned(), end: "\n" };
        }
        // Without a title, the first line of the text takes its place.
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
        FormattedHit { heading, text: rest.to_owned(), end }
    }

    /// Wraps the formatted hits in `<information>` tags.
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
