//! An error with its sources, as one line of text.

use std::error::Error;

/// Error and its sources in one line, joined by `: `, for data that keeps no error values.
///
/// ```
/// use forage_trajectory::{SearchError, error_chain};
///
/// let error = SearchError { query: "Alien".into(), source: "no route to host".into() };
/// assert_eq!(error_chain(&error), "search for `Alien` failed: no route to host");
/// ```
pub fn error_chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}
