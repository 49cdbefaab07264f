//! Builder of trajectories by hand, for the tests of a reward.
//!
//! ```
//! use forage_reward_sdk::prelude::*;
//!
//! let hit = Hit { title: "Alien".into(), text: "Directed by Ridley Scott.".into(), ..Hit::default() };
//! let trajectory = Trajectory::default()
//!     .think("I need the director of Alien.")
//!     .search("director of Alien", [hit])
//!     .think("It says so.")
//!     .answer("Ridley Scott");
//! assert_eq!(trajectory.searches.len(), 1);
//! assert_eq!(trajectory.answer.as_deref(), Some("Ridley Scott"));
//! ```

use std::fmt::Write;

use crate::wire::{Hit, Kind, Origin, Outcome, Question, Search, Segment, Trajectory};

impl Question<'_> {
    /// Question with golden answers and without evidence.
    pub fn new<'g>(text: &str, golden_answers: impl IntoIterator<Item = &'g str>) -> Self {
        Self {
            id: "q".into(),
            text: text.to_owned().into(),
            golden_answers: golden_answers
                .into_iter()
                .map(|answer| answer.to_owned().into())
                .collect(),
            ..Self::default()
        }
    }
}

impl<'a> Trajectory<'a> {
    /// Appends a `<think>` block.
    #[must_use]
    pub fn think(self, content: &str) -> Self {
        self.block(Origin::Policy, Kind::Think, "think", content)
    }

    /// Appends an executed search, with its hits as an observation.
    #[must_use]
    pub fn search(mut self, query: &str, hits: impl IntoIterator<Item = Hit<'a>>) -> Self {
        let hits: Vec<Hit<'a>> = hits.into_iter().collect();
        let mut page = String::new();
        for (idx, hit) in hits.iter().enumerate() {
            writeln!(page, "Doc {}(Title: {}) {}", idx + 1, hit.title, hit.text)
                .expect("a string takes all text");
        }
        let segment = self.segments.len();
        self.searches.push(Search { query: query.to_owned().into(), hits, segment, failure: None });
        self.block(Origin::Policy, Kind::Search, "search", query).block(
            Origin::Environment,
            Kind::Information,
            "information",
            &page,
        )
    }

    /// Appends an answer, which ends the trajectory.
    #[must_use]
    pub fn answer(mut self, content: &str) -> Self {
        self.answer = Some(content.trim().to_owned().into());
        self.outcome = Outcome::Answered;
        self.block(Origin::Policy, Kind::Answer, "answer", content)
    }

    /// Appends any segment, with this text.
    #[must_use]
    pub fn segment(mut self, origin: Origin, kind: Kind, text: &str) -> Self {
        self.push(origin, kind, text, text);
        self
    }

    fn block(mut self, origin: Origin, kind: Kind, tag: &str, content: &str) -> Self {
        self.push(origin, kind, &format!("<{tag}> {} </{tag}>", content.trim()), content);
        self
    }

    /// Appends a segment, in which each word counts as one token.
    fn push(&mut self, origin: Origin, kind: Kind, text: &str, content: &str) {
        let start = self.segments.last().map_or(0, |segment| segment.tokens.end);
        self.segments.push(Segment {
            origin,
            kind,
            text: text.to_owned().into(),
            content: content.trim().to_owned().into(),
            tokens: start..start + text.split_whitespace().count(),
        });
    }
}
