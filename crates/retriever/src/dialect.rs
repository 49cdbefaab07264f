//! Dialects of the `/retrieve` protocol: every search-agent project has forked it.
//!
//! | dialect | request | answer |
//! |---|---|---|
//! | `search-r1` | `{"queries", "topk", "return_scores": true}` | `{"result": [[{"document": {"id", "contents"}, "score"}]]}` |
//! | `slime` | the same with `"return_scores": false` | `{"result": [[{"id", "contents"}]]}` |
//! | `skyrl` | `{"query", "topk", "return_scores"}`, one query | as `search-r1`, one list |
//! | `rllm` | `{"query", "top_k"}` | `{"query", "method", "results": [{"id", "content", "score"}], "num_results"}` |
//! | `zerosearch` | `{"query", "top_k"}` | `[{"text"}]` |
//! | `flashrag` | `POST /batch_search`, `{"query": [..], "top_n", "return_score": true}` | `[[[{"id", "contents"}]], [[score]]]` |
//! | `r1-searcher` | `POST /queries`, `{"queries", "k"}` | `{"queries", "answers": [["text"]]}` |
//!
//! verl, verl-tool, `ASearcher` and ROLL speak `search-r1`; `ReCall` and `ReSearch` speak
//! `flashrag`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Dialect of the `/retrieve` protocol, by the project that it comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Search-R1, the common dialect.
    #[default]
    SearchR1,
    /// slime: as `search-r1`, without scores.
    Slime,
    /// `SkyRL`: as `search-r1`, with one query in a request.
    #[serde(rename = "skyrl")]
    SkyRl,
    /// rLLM: one query in a request, and a flat list of results.
    Rllm,
    /// `ZeroSearch`: one query in a request, and texts without ids or scores.
    #[serde(rename = "zerosearch")]
    ZeroSearch,
    /// `FlashRAG`: documents and scores in two lists.
    #[serde(rename = "flashrag")]
    FlashRag,
    /// R1-Searcher: texts without ids or scores.
    #[serde(rename = "r1-searcher")]
    R1Searcher,
}

/// Error: no dialect has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no dialect is called `{name}`; there are `search-r1`, `slime`, `skyrl`, `rllm`, `zerosearch`, \
     `flashrag` and `r1-searcher`"
)]
pub struct UnknownDialect {
    /// Name that was asked for.
    pub name: String,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 7] = [
        Self::SearchR1,
        Self::Slime,
        Self::SkyRl,
        Self::Rllm,
        Self::ZeroSearch,
        Self::FlashRag,
        Self::R1Searcher,
    ];

    /// Name in run files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SearchR1 => "search-r1",
            Self::Slime => "slime",
            Self::SkyRl => "skyrl",
            Self::Rllm => "rllm",
            Self::ZeroSearch => "zerosearch",
            Self::FlashRag => "flashrag",
            Self::R1Searcher => "r1-searcher",
        }
    }

    /// Whether a request has one query and not a list of them.
    pub const fn is_single(self) -> bool {
        matches!(self, Self::SkyRl | Self::Rllm | Self::ZeroSearch)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        let found = Self::ALL.into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| UnknownDialect { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.name().parse(), Ok(dialect));
            assert_eq!(serde_json::to_string(&dialect).unwrap(), format!("\"{dialect}\""));
        }
        assert!("verl".parse::<Dialect>().is_err());
    }
}
