//! Whole episodes, against the public interface only.

mod properties;
mod protocol;
mod support;
