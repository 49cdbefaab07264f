//! Error of entity linking.

use forage_trajectory::BoxError;

/// The titles of a corpus cannot be matched in its texts.
#[derive(Debug, thiserror::Error)]
#[error("the titles of the corpus cannot be linked")]
pub struct TitleLinkError(#[source] pub(super) BoxError);
